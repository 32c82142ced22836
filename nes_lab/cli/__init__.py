"""The command line: one file per command, which parses, calls the library once, and prints.

Commands: ``plan``, ``compress``, ``fit``, ``export``, ``tune``, ``zoo``, ``recipes``, ``train``, ``sweep``, ``resume``, ``runs``,
``watch``, ``report``, ``cancel``, ``rm``, ``data``, ``demo`` and ``doctor``. Each first line says what the command does.

``entry``: find the module of a command, run it, and turn mistakes into one message and an exit status.
``worker``: the hidden command ``_run``, which trains a queued run in a background process.
``options``: parse flags and config overrides.
``plan_flags``: the flags that ``plan``, ``compress`` and ``fit`` share.
``train_here``: train a run in this process, with progress and a last line.
``ranks``: train one run in several processes.
``environment_checks``: what ``doctor`` checks.
``watch_frames``: what ``watch`` draws.
``tables``, ``terminal_plot``, ``json_output``: tables, curves and JSON on a terminal.
"""

from nes_lab.cli.entry import main

__all__ = ["main"]
