"""Compute an epitome layer in one of several ways. These ways are called executions; they differ in cost, not in output.

``base``: defines what every execution offers, and describes a layer's shapes, its operation and its cost.
``registry``: lists all executions by name, and finds the cheapest for a layer.
``choice``: chooses the execution of one layer: the one that was set, or the cheapest for each input shape.
``inference_cache``: keeps values that were computed from tensors, as long as the tensors do not change.
``ready_calls``: keeps for each input shape how a layer is computed, ready to be called, after ``for_inference``.
``ready_steps``: prepares the steps of such a call: fold the input, apply the operation, expand the result.
``layer_taps``: turns a layer's starts (positions of patches) into taps: the epitome cells that are read, and the factor
of each.
``materialize``: an execution that samples the complete weight and applies one dense operation; always available.
``wrapped``: an execution that first adds up the input channels that read the same cell, then works with fewer channels.
``factored``: an execution that uses the epitome itself as the weight, with fewer input and output channels.
``factored_step``: computes a training step of ``factored`` as one operation of autograd, on a CPU.
``factored_again``: computes the gradients of such a step by operations that can be differentiated again.
``sliced_step``: computes ``factored`` where a rule sets the starts and channels are read in slices, with the fewest calls.
``as_matmul``: variants of the executions above that compute a 1x1 convolution as a matrix product.
``product_map``: an execution that multiplies the input with every epitome cell once, then sums the products.
"""
