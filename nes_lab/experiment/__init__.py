"""Train runs, from a configuration to the summary of a finished run.

``build``: turn a config into data, backbone, plan, compressed network and teacher; check a config before a run is created.
``attempt``: train a run once, from its start or a checkpoint, and write metrics, checkpoints and the summary.
``train``: create a run from a configuration, and train it here or in the background (``nes_lab.train``).
``create_run``: create a run after all checks.
``start_from``: prepare a run that starts from a saved network, another run, or a network in memory.
``start_facts``: say what a run would start from, before it is created.
``start_outputs``: compare the outputs of such a network with the classes of the data; replace its classifier.
``initial_network``: store a run's initial network, from which its training begins, in the run's folder.
``run``: a run as an object (``nes_lab.Run``).
``open_runs``: open a run by its id, list runs, import a run.
``open_data``: load a data set by its name, for users.
``memory``: hold what a run needs and only this process has.
``void_settings``: find the settings that have no effect beside data or a loss in memory.
``weights_notes``: say where trained weights and the data of a run may disagree.
``load_data``: load the data of a run, prepared for its weights if the configuration asks for it.
``same_network``: compare a network with one that was made again by name.
``same_settings``: compare the configuration of a run with the one it was trained with.
``same_data``: compare the data of a run with the data it was trained with.
``given_again``: compare what is given to continue a run with what the run was created with.
``alarms``: say what is wrong with a run while it trains.
``train_here``: train a run in this process, and write how it ended.
``run_experiment``: train or resume a run, in one process or in several that train together.
``ranks``: train one run in several processes.
``trained``: load or save the network of a run's newest or best checkpoint.
``machine``: measure what a training takes of its machine.
``network_forms``: compare the dense, trained, fused and tuned forms of a run's network.
``optimize_run``: find the fastest exact form of a run's network.
``predictions``: predict the validation data of a run, and find what is confused.
``explanation``: say on which images a run's network and a dense one disagree, and which parts they look at.
``uploaded_images``: decode images that a user uploads, and prepare them for a run's network.
``kept_answers``: keep what a worker found out about a run in the run's folder.
``process_pool``: train many runs in a few processes of this machine.
``demo``: train dense networks and epitome networks of equal multiply-adds on digits, and compare them.
``demo_results``: measure the latencies of the demo's networks and compare their accuracies.
"""
