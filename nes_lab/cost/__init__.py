"""Count the params and multiply-adds of a model, and measure its time and memory.

``count``: count params, multiply-adds and stored bytes of every layer.
``meter``: count the multiply-adds of each module while a model runs.
``op_madds``: formulas for operations that torch's counter counts as 0.
``unseen``: find the weights whose products the counter does not see.
``not_counted``: name the modules whose params or multiply-adds cannot be counted.
``probe``: run a model once on an example input, and restore its training or evaluation mode.
``measure``: measure the latency of several models in turn, and the peak memory of a function call.
``timing``: time several functions in turn, round by round, until the ratios of their times are precise enough.
"""
