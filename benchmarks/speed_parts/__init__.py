"""The parts of benchmarks/speed.py: what is measured, how it is timed and kept, and the page made of it."""
