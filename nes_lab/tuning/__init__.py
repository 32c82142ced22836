"""Choose the fastest execution (way to compute the layer) for each epitome layer, by timing all of them on this device.

``tune``: time the executions of every layer, set the fastest ones, and time the complete network. This is ``nes_lab.tune``.
``device_table``: measure the times of this device once, and keep them for the strategy ``speed``.
``layer_inputs``: record the shapes and memory layouts of the inputs of each epitome layer.
"""
