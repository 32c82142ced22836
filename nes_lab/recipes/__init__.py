"""Named experiments (recipes), in YAML files that come with the library.

``registry``: find recipes by name, and read an experiment from a recipe or from your own YAML file.
``chips``: name experiments to begin with, which fill the form of the app.
"""
