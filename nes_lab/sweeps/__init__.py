"""Many runs of one experiment as one study of Optuna, trained by local processes or on a Ray cluster.

``sweep``: run or continue a sweep, and read its results.
``space``: list and check the trials of a sweep.
``study``: the Optuna study: which trials exist, which run each has, and its result.
``trials``: run the trials in this process: resume open ones, start new ones, record results.
``executors``: what trains the runs of trials; here, processes of this machine.
``ray_executor``: train the runs of trials as tasks of a Ray cluster.
``ray_task``: what a Ray worker does with one run.
``linked_process``: a training process that the system kills when its parent dies.
``result``: trials, their means over seeds, and the Pareto front, as plain data.
"""
