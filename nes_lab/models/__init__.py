"""Create compressed networks by name, and do the work of the commands that plan, compress, fit, export, tune and optimize.

``create``: make a ready-made compressed network, or a dense backbone, by name; ``nes_lab.create_model`` is here.
``cards``: list the ready-made networks, with the backbone, input size and budget of each.
``source``: describe the dense network that planning, compressing or fitting starts from.
``jobs``: do the work of the commands ``nes-lab plan``, ``nes-lab compress`` and ``nes-lab fit``.
``optimize``: find the fastest exact form of a network on this machine (``nes_lab.optimize``).
``fast_forms``: make these forms: eager, compiled, in ONNX Runtime, and with dense layers.
``compiled``: compile a network with frozen weights.
``folders``: export, tune or optimize a saved model, for ``nes-lab export``, ``nes-lab tune`` and ``nes-lab optimize``.
"""
