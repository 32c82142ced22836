"""Count the params and multiply-adds of a model, and measure its time and memory.

``count``: count params, multiply-adds and the execution plan of every layer.
``probe``: run a model once on an example input, and restore its state.
``measure``: measure the latency of several models in turn, and the peak memory of a step.
``timing``: time candidates round by round until the ratios of their times are precise enough.
"""
