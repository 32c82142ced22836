"""Run sweeps: train many variants of one experiment, with local processes or on a Ray cluster.

Each variant is a trial: it has its own settings, and one run trains it. An Optuna study stores the trials of a sweep.

``sweep``: run or continue a sweep, and read its results.
``space``: list the trials of a sweep and check their experiments.
``study``: store the trials of a sweep in an Optuna study, each with its run and its result.
``trials``: run the trials of a sweep: resume unfinished trials, start new ones, record results.
``form``: turn what a user enters into a form into the configuration of a sweep.
``launch``: start a sweep as a process of its own, stop it and continue it.
``overview``: read which sweeps there are, whether they run, and how far they are.
``words``: name fields, settings and objectives of a sweep for people.
``importances``: ask Optuna which of the varied settings mattered most.
``executors``: train the runs of a sweep with processes on this machine. A class that trains runs is called an executor.
``ray_executor``: train the runs of a sweep as tasks of a Ray cluster.
``ray_task``: train one run as a task of Ray.
``linked_process``: start a training process that Linux kills when its parent process dies.
``result``: the result of a sweep as plain data: trials, means over seeds, and the Pareto front.
"""
