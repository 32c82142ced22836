"""Compute an epitome layer in one of several ways. These ways are called executions; they differ in cost, not in output.

``base``: defines what every execution offers, and what a layer's form, operation and cost are.
``registry``: lists all executions by name, and finds the cheapest for a layer.
``choice``: chooses the execution of one layer: a fixed one, or the cheapest for each input shape.
``inference_cache``: caches values that are computed from tensors until the tensors change.
``layer_taps``: turns a layer's starts into taps, and caches the taps until the starts change.
``materialize``: an execution that samples the weight and applies one dense operation; always available.
``wrapped``: an execution that folds the input channels, then applies one operation with fewer input channels.
``factored``: an execution that folds the input, applies the epitome itself, and expands the output.
``product_map``: an execution that multiplies the input with every epitome cell once, then sums along windows.
"""
