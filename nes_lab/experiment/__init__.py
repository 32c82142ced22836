"""Train runs, from a configuration to the summary of a finished run.

``build``: turn a config into data, backbone, plan, compressed network and teacher; check a config before there is a run.
``attempt``: make one attempt at a run: build, train, and write metrics, checkpoints, snapshots and the summary.
``run``: train or resume a run, in one process or as one of several.
``trained``: save the network of a run's newest or best checkpoint.
``process_pool``: train many runs in a few processes of this machine.
``demo``: train dense, narrower and epitome networks of equal multiply-adds on digits, and compare them.
``demo_results``: measure the latencies of the demo's networks and compare their accuracies.
"""
