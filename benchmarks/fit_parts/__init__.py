"""Parts of benchmarks/fit_resnet56.py."""
