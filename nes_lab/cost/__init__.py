"""What a model costs: params and multiply-adds counted, time and memory measured.

``count``: count params, multiply-adds and the execution plan of every layer.
``probe``: run a model once to look at it, and leave it as it was.
``measure``: measure the latency of models in turn, and the peak memory of a step.
``timing``: time candidates round by round until their ratios are known well enough.
"""
