"""Parts of benchmarks/fit_resnet56.py and benchmarks/fit_mobilenet.py."""
