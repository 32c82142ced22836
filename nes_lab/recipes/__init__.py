"""Named experiments (recipes), in YAML files that come with the library.

``registry``: find recipes by name, and read the experiment of a recipe or of a file.
"""
