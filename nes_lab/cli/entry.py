"""Run the command that the user typed. If the user made a mistake, print one message and return exit status 2.

To add a command: write ``cli/NAME.py`` with a function ``run_command(words)`` that returns the exit status, and enter the
command in ``VERBS``. This file imports no large package, so ``nes-lab --help`` answers at once.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from types import FrameType

from nes_lab.errors import NesLabError, OptionError, closest
from nes_lab.import_spec import current_folder_importable
from nes_lab.packages import needed_for

__all__ = ["VERBS", "main"]

VERBS = {
    "demo": ("demo", "train dense and compressed networks on handwritten digits, compare them, write a report"),
    "plan": ("plan", "show how a backbone would be compressed to a budget, and what each layer would cost"),
    "compress": ("compress", "compress a backbone to a budget and save it in a folder"),
    "fit": ("fit", "compress a pretrained backbone, fit its epitomes to its weights, and save it in a folder"),
    "export": ("export", "export a saved or trained network as ONNX or torch.export"),
    "tune": ("tune", "measure which execution plans are fastest here for a saved network, and store the choice"),
    "optimize": ("optimize", "find the fastest exact form of a saved or trained network on this machine"),
    "calibrate-device": (
        "calibrate_device",
        "measure once how fast this machine computes, to plan with strategy speed",
    ),
    "zoo": ("zoo", "test that backbones can be compressed, trained, materialized, saved and loaded"),
    "recipes": ("recipes", "list the recipes that train accepts by name, or print one"),
    "train": ("train", "train a recipe, or the experiment described in a YAML file"),
    "sweep": ("sweep", "train many settings of one experiment, on this machine or on a Ray cluster"),
    "resume": ("resume", "continue a run that was cancelled, failed or lost"),
    "runs": ("runs", "list runs; pack a run into a file, or import one from another machine"),
    "watch": ("watch", "show runs live in the terminal"),
    "report": ("report", "write the report of a run as one HTML file"),
    "cancel": ("cancel", "stop a run after it has saved a checkpoint"),
    "rm": ("rm", "delete finished or queued runs and their files"),
    "data": ("data", "check a data set before training on it"),
    "doctor": ("doctor", "check what this machine has, and say how to install what is missing"),
}
_HIDDEN = {"_run": "worker"}
INTERRUPTED, MISTAKE = 130, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of the ``nes-lab`` program.

    Args:
        argv: The words after the program's name; None: the arguments of this process.

    Returns:
        The exit status: 0 for success, 1 if the command reports a failure, 2 for a user's mistake, 130 after Ctrl-C.
    """
    with _note_interrupts() as interrupts, current_folder_importable():  # for package.module:function
        try:
            return _run_and_report_errors(list(sys.argv[1:] if argv is None else argv))
        except Exception:
            if not interrupts:
                raise
            return _report_interrupt()


@contextlib.contextmanager
def _note_interrupts() -> Iterator[list[int]]:
    """Record each Ctrl-C in a list while the ``with`` block runs. The block receives the list."""
    # Catching KeyboardInterrupt is not enough: during an import, a package such as numpy may turn it into another
    # error.
    interrupts: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    default = signal.default_int_handler
    replace = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is default
    if replace:
        signal.signal(signal.SIGINT, note)
    try:
        yield interrupts
    finally:
        if replace:
            signal.signal(signal.SIGINT, default)


def _report_interrupt() -> int:
    print("\ninterrupted", file=sys.stderr)
    return INTERRUPTED


def _run_and_report_errors(words: list[str]) -> int:
    try:
        status = _dispatch(words)
        sys.stdout.flush()
        return status
    except NesLabError as error:
        return _report_mistake(str(error))
    except KeyboardInterrupt:
        return _report_interrupt()
    except BrokenPipeError:  # the reader of the output has ended, as `| head` does
        _drop_output()
        return 0
    except OSError as error:  # a full disk, a folder that cannot be written
        _drop_output()
        where = f"{error.filename}: " if error.filename else ""
        return _report_mistake(f"{where}{error.strerror or error}")
    except SystemExit as stop:  # from the parser, which has already printed its message
        return stop.code if isinstance(stop.code, int) else MISTAKE


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if words else MISTAKE
    if words[0] in ("-V", "--version"):
        print(_version())
        return 0
    verb, *rest = words
    module = VERBS[verb][0] if verb in VERBS else _HIDDEN.get(verb)
    if module is None:
        raise OptionError(f"{verb!r} is not a command.{closest(verb, VERBS)} Commands: {', '.join(VERBS)}.")
    with needed_for(f"nes-lab {verb}"):
        return importlib.import_module(f"nes_lab.cli.{module}").run_command(rest)


def _help() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}} {text}" for verb, (_, text) in VERBS.items()]
    return "\n".join(
        [
            "usage: nes-lab COMMAND [options]",
            "",
            "Compress neural networks by sampling their weights from small learned tensors, called epitomes.",
            "",
            *lines,
            "",
            "nes-lab COMMAND --help lists the options of a command.",
            "Runs are stored in $NES_LAB_HOME/runs, or in data/runs if NES_LAB_HOME is not set.",
        ]
    )


def _version() -> str:
    try:
        return f"nes-lab {version('nes-lab')}"
    except PackageNotFoundError:
        return "nes-lab, not installed"


def _drop_output() -> None:
    """Make Python discard printed text that standard output no longer accepts, for example because a pipe was closed.

    Without this call, Python would report a second error at its exit.
    """
    # Python tries to write the text again at its exit. After this call it writes to the null device.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)


def _report_mistake(message: str) -> int:
    print(f"nes-lab: {message}", file=sys.stderr)
    return MISTAKE
