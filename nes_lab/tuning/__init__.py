"""Choose the fastest execution of each epitome layer on this device by measuring times.

``tune``: time the executions of every layer, set the fastest ones, and time the complete network; this is ``nes_lab.tune``.
``layer_inputs``: record the shapes and memory layouts that each layer is called with.
"""
