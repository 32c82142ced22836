"""Words of a command line to values: flags of a verb by tyro, ``--section.field value`` by the configuration."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TypeVar

import tyro

from nes_lab.config import knobs
from nes_lab.errors import OptionError

__all__ = ["parse", "split_overrides"]

Options = TypeVar("Options")


def parse(options: type[Options], verb: str, words: Sequence[str], description: str | None = None) -> Options:
    """Read the flags that a dataclass describes. A mistake prints what is wrong and exits with 2."""
    config = (tyro.conf.FlagCreatePairsOff,)
    return tyro.cli(options, prog=f"nes-lab {verb}", args=list(words), config=config, description=description)


def split_overrides(
    words: Sequence[str], own: Sequence[str], valued: Sequence[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """Part a verb's own words from ``--section.field value`` and ``--section.field=value``.

    Args:
        words: The command line.
        own: Flags of the verb that take no value.
        valued: Flags of the verb that take one.

    Returns:
        The verb's words, and the overrides by dotted path.

    Raises:
        OptionError: If a value is missing, a field is given twice, or a flag is misspelled.

    Examples:
        >>> split_overrides(["a.yaml", "--training.epochs", "3", "--detach"], ["--detach"])
        (['a.yaml', '--detach'], {'training.epochs': '3'})
    """
    known = {knob.path for knob in knobs()}
    switches = {knob.path for knob in knobs() if isinstance(knob.default, bool)}
    rest: list[str] = []
    found: dict[str, str] = {}
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("--") or word in own or word == "--":
            rest.append(word)
            continue
        if word.partition("=")[0] in valued:
            rest += [word] if "=" in word or not waiting else [word, waiting.pop(0)]
            continue
        name, given, value = word[2:].partition("=")
        path = name.replace("-", "_")
        if path not in known and (near := difflib.get_close_matches(f"--{name}", [*own, *valued], n=1, cutoff=0.75)):
            raise OptionError(f"--{name} is not a flag. Did you mean {near[0]!r}?")
        if not given and waiting and not waiting[0].startswith("--") and not _is_switch(path, waiting[0], switches):
            value = waiting.pop(0)
        elif not given and path in switches:
            value = "true"
        elif not given:
            raise OptionError(f"--{name} needs a value")
        if path in found:
            raise OptionError(f"--{name} is given twice: {found[path]!r} and {value!r}")
        found[path] = value
    return rest, found


def _is_switch(path: str, following: str, switches: set[str]) -> bool:
    """Whether a yes/no field stands without a value, so that the next word is not its own."""
    return path in switches and following.lower() not in ("true", "false", "yes", "no", "on", "off", "0", "1")
