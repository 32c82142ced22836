"""Which execution of each layer is fastest on this device: measured, not estimated.

``tune``: time the executions of every layer, set the fastest ones, and compare the complete network; this is ``nes_lab.tune``.
``layer_inputs``: record the shapes and memory layouts that each layer is called with.
"""
