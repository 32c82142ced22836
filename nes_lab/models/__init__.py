"""From a name to a compressed network or a folder.

``create``: make a ready-made compressed network, or a dense backbone, by name; ``nes_lab.create_model`` is here.
``cards``: the ready-made networks: backbone, input size and budget of each.
``source``: the dense network that a job starts from, as names and files.
``jobs``: plan, compress or fit a backbone and save it, as ``nes-lab plan``, ``compress`` and ``fit`` do.
``folders``: export or tune a saved model, as ``nes-lab export`` and ``tune`` do.
"""
