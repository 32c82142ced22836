"""Write and read the folders of training runs, and start, queue and stop training processes. Nothing here imports torch.

``layout``: name the files of a run, and check the ids of runs.
``states``: define the states of a run, such as ``running`` or ``failed``, and what the user can do in each.
``store``: create, list, read and delete runs.
``writer``: write the status, metrics, events and checkpoints of a run.
``handle``: one run as an object: its files, waiting for it, cancelling it.
``info``: read one run and find out its state.
``imports``: let the processes of a run find the user's own functions that its configuration names.
``files``: write and read JSON files, files of JSON lines and logs so that a crash does not damage them.
``replace``: replace a file in one step, and refuse a path that is a device or another special file.
``lock``: allow one writer per run, by a file lock.
``process``: tell whether the process that trains a run is alive, gives no sign of life, or has ended.
``claims``: reserve a run for the one process that trains it or is about to train it.
``extensions``: record and read the extensions of a run: more epochs than it was planned with.
``extend``: give a run more epochs.
``put_back``: give a queued run its former status again, because it was refused before it began.
``archive``: define the file that carries a run to another machine, and check such a file.
``pack``: pack a run into one file.
``unpack``: import a run that was packed on another machine.
``bin``: put deleted runs into a bin, and take them out again.
``annotate``: change the label, the tags and the note of a run.
``relabel``: give a run another label.
``bundled``: name the group of runs that come with the app, and refuse to change them.
``queue``: keep the runs that wait, in the order in which they came.
``queue_order``: move waiting runs in the queue, and say in words which runs wait.
``queue_runner``: start waiting runs when their turn comes, as a separate process.
``launcher``: decide which waiting run starts next; start and cancel runs.
``spawn``: start processes that continue when the terminal or the app is closed.
``allocator``: set up the memory allocator of processes that train, so that a step does not fetch its pages again.
``checkpoints``: save, check and find checkpoints, and delete old ones.
``checkpoint_score``: say how good a checkpoint is in validation, and find the best one.
``references``: find the runs and the dense network that a run's network can be compared with.
``same_layer``: find runs whose network has the same layer, to draw them side by side.
``snapshots``: save epitomes, and the positions at which layers read them, several times during training.
``current_metrics``: select the valid rows of metrics of a run that was resumed.
``deciding_metric``: find out which number decides how good a run is.
``run_progress``: read epoch, loss, accuracy, speed and time left of a run.
``kept_curve``: keep at most 300 points of a run's curves beside its metrics.
``short_curve``: make a short curve of a run's accuracy for a table.
``details``: read the short curves and the disk use of many runs, in the background where it takes long.
``overview``: make a table of runs for people, and filter runs.
``run_against``: compare one run with another one, settings and results.
``result_rows``: give the results of a run names and units for people.
``flatten``: turn the nested configuration of a run into a flat list of fields.
``measures``: name the numbers that are compared: what a network costs, and how good it is.
``settings``: average runs that differ only in their seed.
``difference``: tell whether the means of two networks differ by more than noise.
``verdict``: say which setting is best within limits, and what cannot be told apart from it.
``best_setting``: the verdict about runs, in one call (``nes_lab.best_setting``).
``compare_settings``: compare the settings of finished runs, over their seeds.
``method_table``: sum up each method: its runs, and its best result within limits.
``compared_settings``: make a table of the settings in which some runs differ, with names for people.
``query``: make a table of many runs, average over seeds, find the Pareto front, and compare configurations.
``compare``: compare the accuracies of two networks with equally many multiply-adds.
"""
