"""Count the params and multiply-adds of a model, and measure its time and memory.

``count``: count params, multiply-adds and stored bytes of every layer.
``calls``: record with which input shapes modules are called.
``example_input``: describe an example input without its data, and make an input from the description.
``meter``: count the multiply-adds of each module while a model runs.
``op_madds``: formulas for operations that torch's counter counts as 0.
``unseen``: find the weights whose products the counter does not see.
``not_counted``: name the modules whose params or multiply-adds cannot be counted.
``left_as_it_was``: run a network to look at it, and leave it and the global state bit for bit as they were.
``global_state``: the random states and settings that a network's forward method may change.
``probe``: run a model once on an example input, in evaluation mode, and leave it as it was.
``batch_pair``: check that a pair in a list of batches is an input and its labels, not two arguments of the network.
``measure``: measure the latency of several models in turn, and the peak memory of a function call.
``timing``: time several functions in turn, round by round, until the ratios of their times are precise enough.
"""
