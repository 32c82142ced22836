"""The run directory: who writes it, who reads it, and what its states mean. Torch-free.

``layout``: names of a run's files, and ids of runs.
``states``: the states of a run: whether active or final, how they look, what to do.
``store``: create, list, read and delete runs.
``writer``: the one process that writes to a run.
``info``: one run as its files and its process show it.
``files``: write and read JSON, rows and logs so that a crash leaves nothing half-written.
``lock``: one writer per run, by a file lock.
``process``: is the process of a run alive, silent or gone?
``claims``: which process may work on a run.
``queue``: the runs that wait, first in, first out.
``queue_runner``: a process that starts waiting runs when their turn comes.
``launcher``: start, queue and cancel training processes.
``spawn``: start the processes themselves, detached.
``checkpoints``: commit, rotate, verify and find checkpoints.
``snapshots``: epitomes and starts of a moment in training.
``current_metrics``: which rows of metrics count after a run was resumed.
``run_progress``: epoch, loss, accuracy, speed and time left of a run.
``query``: many runs as one table, the Pareto front, means over seeds.
``compare``: is a difference in accuracy more than noise?
"""
