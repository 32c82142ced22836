"""Sample a weight from an epitome. Everything here works on tensors; there are no torch modules.

``sampling``: expands an axis from epitome cells to channels, and folds it from channels to epitome cells.
``taps``: turns starts (positions of patches in the epitome) into taps: the epitome cells that each index along a weight
axis reads, and the factor of each cell.
``flat_windows``: samples a weight from a flat epitome, as sums of windows.
``routing_map``: holds a layer's starts, and samples its weight with them.
``slices``: expands or folds an axis in a few contiguous slices.
``row_operations``: multiplies a sparse sampling matrix with one axis of a tensor.
``axis_reading``: expands and folds a channel axis in a training step on a CPU, with few calls.
``learned_cells``: keeps which cells are read while starts are learned, and turns starts into factors.
``array_views``: reads small tensors as numpy arrays that share their memory.
``empty_copy``: base class of caches that are empty after a module was copied.
``triton_rows``: runs these multiplications on CUDA.
``triton_kernels``: defines the Triton kernels that ``triton_rows`` launches.
``transforms``: says whether torch transforms the code, as ``torch.func.vmap`` does.
``compiled_taps``: turns learned starts into taps in compiled code on a CPU.
``constants``: keeps small tensors that depend only on shapes.
"""
