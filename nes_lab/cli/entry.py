"""Find the verb, run it, and turn a user's mistake into one message and exit status 2.

Nothing heavy is imported here: ``nes-lab --help`` and ``nes-lab runs`` answer at once.
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

__all__ = ["VERBS", "main"]

VERBS = {
    "demo": ("demo", "train and compare small networks on real digits; writes a report"),
    "plan": ("plan", "compress a backbone to a budget, on paper: what is replaced, what it costs"),
    "compress": ("compress", "compress a backbone to a budget; writes a folder"),
    "fit": ("fit", "compress a pretrained backbone, each epitome fitted to its weight; writes a folder"),
    "export": ("export", "write such a folder's network, or a run's, as ONNX or torch.export"),
    "tune": ("tune", "choose the fastest execution plans of such a folder's network, by measurement"),
    "zoo": ("zoo", "take backbones all the way: plan, compress, train a step, materialize, save, load"),
    "recipes": ("recipes", "list the recipes that train takes by name, or print one"),
    "train": ("train", "train a recipe, or the experiment of a YAML file"),
    "sweep": ("sweep", "train many settings: here, or on a Ray cluster"),
    "resume": ("resume", "go on with a run that was cancelled, failed or lost"),
    "runs": ("runs", "list runs"),
    "watch": ("watch", "see runs live in the terminal"),
    "report": ("report", "write a run's self-contained HTML report"),
    "cancel": ("cancel", "stop a run after a checkpoint"),
    "rm": ("rm", "delete runs that have ended"),
    "data": ("data", "check a data set before anything is trained on it"),
    "doctor": ("doctor", "see what this machine has, what is missing, and how to get it"),
}
_HIDDEN = {"_run": "worker"}
_EXTRAS = {
    "timm": "train",
    "torchvision": "train",
    "sklearn": "train",
    "yaml": "train",
    "psutil": "train",
    "plotly": "train",
    "streamlit": "app",
    "captum": "explain",
    "accelerate": "train",
    "optuna": "sweep",
    "ray": "cluster",
    "onnx": "export",
    "onnxscript": "export",
    "onnxruntime": "export",
    "huggingface_hub": "export",
}
INTERRUPTED, MISTAKE = 130, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after the program's name; by default those of this process.

    Returns:
        The exit status: 0, 2 for a user's mistake, 130 for an interrupted training.
    """
    with _interrupts() as seen:
        try:
            return _answer(list(sys.argv[1:] if argv is None else argv))
        except Exception:
            if not seen:
                raise
            return _interrupted()


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Note Ctrl-C: a package that is being imported may hide it behind an error of its own, as numpy does."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    usual = signal.default_int_handler
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is usual
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        if ours:
            signal.signal(signal.SIGINT, usual)


def _interrupted() -> int:
    print("\ninterrupted", file=sys.stderr)
    return INTERRUPTED


def _answer(words: list[str]) -> int:
    try:
        status = _dispatch(words)
        sys.stdout.flush()
        return status
    except NesLabError as error:
        return _complain(str(error))
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _complain(f"{error.name} is not installed: pip install 'nes-lab[{extra}]'")
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        _drop_output()
        return 0
    except OSError as error:  # a full disk, a folder that cannot be written
        _drop_output()
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}")
    except SystemExit as stop:  # from the parser, which has said what it had to say
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
    return importlib.import_module(f"nes_lab.cli.{module}").run_command(rest)


def _help() -> str:
    lines = [f"  {verb:<8} {text}" for verb, (_, text) in VERBS.items()]
    return "\n".join(
        [
            "usage: nes-lab COMMAND [options]",
            "",
            "Compress networks by sampling their weights from small learned tensors.",
            "",
            *lines,
            "",
            "nes-lab COMMAND --help lists a command's options. Runs live in $NES_LAB_HOME/runs, else in data/runs.",
        ]
    )


def _version() -> str:
    try:
        return f"nes-lab {version('nes-lab')}"
    except PackageNotFoundError:
        return "nes-lab, not installed"


def _drop_output() -> None:
    """Send what is still to be written nowhere, so that leaving does not fail on it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)


def _complain(message: str) -> int:
    print(f"nes-lab: {message}", file=sys.stderr)
    return MISTAKE
