"""Define the command line ``nes-lab``, with one file per command.

The file of a command parses the command's flags, calls the library once, and prints the result.

Commands: ``plan``, ``compress``, ``fit``, ``export``, ``tune``, ``optimize``, ``calibrate-device``, ``zoo``, ``recipes``,
``train``, ``sweep``, ``resume``, ``runs``, ``watch``, ``report``, ``cancel``, ``rm``, ``data``, ``demo`` and ``doctor``. The
first line of each file says what its command does.

``calibrate_device``: run the command ``calibrate-device``.
``entry``: find the module of a command, run it, and turn a user's mistake into one message and an exit status.
``worker``: run the hidden command ``_run``, which trains a queued run in a background process.
``options``: parse flags, and changes of the configuration such as ``--training.lr 0.1``.
``plan_flags``: define the flags that ``plan``, ``compress`` and ``fit`` share.
``train_here``: train a run in this process, and show the run's progress and result.
``environment_checks``: check what the machine has, for ``doctor``.
``runs_move``: pack a run into one file, and import a packed run.
``watch_frames``: draw what ``watch`` shows.
``tables``, ``terminal_plot``, ``json_output``: print tables, curves and JSON.
"""

from nes_lab.cli.entry import main

__all__ = ["main"]
