"""Count the params and multiply-adds of a model, and measure its time and memory.

``count``: count params, multiply-adds and stored bytes of every layer.
``probe``: run a model once on an example input, and restore its training or evaluation mode.
``measure``: measure the latency of several models in turn, and the peak memory of a function call.
``timing``: time several functions in turn, round by round, until the ratios of their times are precise enough.
"""
