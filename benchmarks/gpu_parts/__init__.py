"""Parts of benchmarks/gpu.py.

- ``sizes``: the shapes and batch sizes of a full and of a tiny measurement.
- ``networks``: a ResNet-50 of torch alone, dense and with epitomes.
- ``layers``: epitome to weight, folds, and single compiled layers.
- ``steps``: training steps, their memory, CUDA graphs and the time to compile.
"""
