"""Compute the shapes of epitome layers and their starting indices with numpy. No file here imports torch.

``epitome_geometry``: the shapes of weight, epitome and patch, and the check that a patch fits.
``start_rules``: the rules that set starting indices; to add one, register a function.
``coverage``: counts how often a weight reads each epitome cell.
``layer_snapshot``: a copy of a layer's epitome and starts at one moment.
"""
