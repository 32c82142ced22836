"""Compute the shapes of epitome layers, and their starts (positions in the epitome where patches begin), with numpy.

No file here imports torch.

``epitome_geometry``: the shapes of weight, epitome and patch, and the check that a patch fits.
``flat_geometry``: the shapes of a flat epitome, which layers of any shape can share.
``start_rules``: the rules that set the starts; to add a rule, register a function.
``stored_types``: the type in which a saved model stores integer starts.
``coverage``: counts how often each epitome cell is read when the weight is sampled.
``flat_reads``: says which weights read each cell of a flat epitome, across the layers that share it.
``layer_snapshot``: a copy of a layer's epitome and starts, taken during training.
"""
