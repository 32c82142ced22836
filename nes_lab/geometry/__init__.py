"""Shapes and starting indices, as numpy arrays; imports no torch.

``epitome_geometry``: shapes of weight, epitome and patch, and whether a patch fits.
``start_rules``: rules that set starting indices; to add one, register a function.
``coverage``: count how often each epitome cell is read.
``layer_snapshot``: a layer's epitome and starts at one moment.
"""
