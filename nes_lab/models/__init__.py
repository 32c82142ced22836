"""Create compressed networks by name, and do the work of the commands that plan, compress, fit, export and tune.

``create``: make a ready-made compressed network, or a dense backbone, by name; ``nes_lab.create_model`` is here.
``cards``: list the ready-made networks, with the backbone, input size and budget of each.
``source``: describe the dense network that planning, compressing or fitting starts from.
``jobs``: do the work of the commands ``nes-lab plan``, ``nes-lab compress`` and ``nes-lab fit``.
``folders``: export a saved model, or choose the fastest way to compute each layer, for ``nes-lab export`` and ``nes-lab tune``.
"""
