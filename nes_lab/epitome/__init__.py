"""Sample a weight from an epitome. Everything here works on tensors; there are no torch modules.

``sampling``: reads a weight from an epitome, and computes the adjoint of reading.
``taps``: turns starts into taps: the epitome cells that a weight axis reads, and the share of each.
``routing_map``: holds a layer's starts, and samples its weight with them.
``slices``: reads or folds an axis in a few contiguous slices.
``row_operations``: multiplies a sparse sampling matrix with one axis of a tensor.
``triton_rows``: runs the row operations on CUDA.
``triton_kernels``: the Triton kernels for that.
``constants``: keeps small tensors that depend only on shapes.
"""
