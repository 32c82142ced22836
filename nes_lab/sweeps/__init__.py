"""Train many variants of one experiment as one Optuna study, with local processes or on a Ray cluster.

``sweep``: run or continue a sweep, and read its results.
``space``: list the trials of a sweep and check their experiments.
``study``: store in an Optuna study which trials exist, which run each has, and its result.
``trials``: run the trials of a sweep: resume open ones, start new ones, record results.
``executors``: the protocol of an executor, which trains the runs of trials, and the one for local processes.
``ray_executor``: train the runs of trials as tasks of a Ray cluster.
``ray_task``: train one run in a Ray worker.
``linked_process``: start a training process that the system kills when its parent dies.
``result``: the result of a sweep as plain data: trials, means over seeds, and the Pareto front.
"""
