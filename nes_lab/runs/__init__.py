"""Write and read run directories, and start, queue and stop training processes. Nothing here imports torch.

``layout``: name the files of a run, and check the ids of runs.
``states``: define the states of a run: whether active or final, how they look, what the user can do.
``store``: create, list, read and delete runs.
``writer``: write to a run: status, metrics, events and checkpoints.
``info``: read one run and find out its state.
``files``: write and read JSON, rows and logs so that a crash leaves nothing half-written.
``lock``: allow one writer per run, by a file lock.
``process``: tell whether the process of a run is alive, silent or gone.
``claims``: let only one process work on a run.
``queue``: keep the runs that wait, in the order in which they came.
``queue_runner``: start waiting runs when their turn comes, as a separate process.
``launcher``: start, queue and cancel training processes.
``spawn``: start the processes themselves, detached.
``checkpoints``: commit, rotate, verify and find checkpoints.
``snapshots``: save epitomes and starts several times during training.
``current_metrics``: select the rows of metrics that are valid after a run was resumed.
``run_progress``: read epoch, loss, accuracy, speed and time left of a run.
``query``: show many runs as one table, with the Pareto front and means over seeds.
``compare``: tell whether a difference in accuracy is more than noise.
"""
