"""Executions: ways to compute the same epitome layer at different cost, one file each with its cost formula.

``base``: what every execution offers, the layer's form and operation, and the refusals that several executions share.
``registry``: all executions by name, and the choice of the cheapest.
``choice``: choose the execution of one layer, fixed or the cheapest for each input shape.
``inference_cache``: keep what was built from tensors while these stay the same.
``layer_taps``: turn a layer's starts into taps, and keep them while the starts stay the same.
``materialize``: sample the weight, then one dense operation; always available.
``wrapped``: fold the input channels onto the epitome's, then one operation with fewer input channels.
``factored``: fold the input, run with the epitome itself, expand the output.
``product_map``: multiply the input with every epitome cell once, then sum along windows.
"""
