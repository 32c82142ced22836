"""The command line: one file per verb, each parsing, calling the library once, and printing."""

from nes_lab.cli.entry import main

__all__ = ["main"]
