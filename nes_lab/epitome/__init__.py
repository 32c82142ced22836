"""Sample a weight from an epitome: functions of tensors, without modules or files.

``sampling``: read a weight from an epitome, and the adjoint of reading.
``taps``: which epitome cells a weight axis reads, and how much of each.
``routing_map``: a table of starts, and the weight it samples.
``slices``: read and fold an axis in a few contiguous slices.
``row_operations``: products with a sparse sampling matrix along one axis.
``triton_rows``, ``triton_kernels``: the row operations on CUDA: launches, kernels.
``constants``: small tensors that depend on shapes alone, kept per device.
"""
