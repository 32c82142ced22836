"""Parse a command line: the flags of a command, and changes of the configuration such as ``--training.lr 0.1``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TypeVar

import tyro

from nes_lab.config import knobs
from nes_lab.errors import OptionError
from nes_lab.renamed import warn_renamed

__all__ = ["parse", "present_flags", "split_overrides"]

Options = TypeVar("Options")


def parse(
    options: type[Options],
    verb: str,
    words: Sequence[str],
    description: str | None = None,
    renamed: Mapping[str, str] | None = None,
) -> Options:
    """Parse the flags of a command, and return them as an instance of a dataclass.

    If a flag is wrong, print the mistake and exit with status 2.

    Args:
        options: The dataclass. Each of its fields is a flag, and the field's docstring is the help text.
        verb: Name of the command, which the help shows.
        words: The words that follow the command's name.
        description: Text at the top of the help; None: the docstring of ``options``.
        renamed: Flags of older versions, each with the flag that replaces it; None: no flag was renamed.
    """
    config = (tyro.conf.FlagCreatePairsOff,)
    args = present_flags(words, renamed or {})
    return tyro.cli(options, prog=f"nes-lab {verb}", args=args, config=config, description=description)


def present_flags(words: Sequence[str], renamed: Mapping[str, str]) -> list[str]:
    """Replace flags of older versions with today's flags, and warn about each replaced flag.

    Args:
        words: The words that follow the command's name.
        renamed: Old flag -> the flag that replaces it. The old flag may include a value, such as ``--starts plan``. An
            empty replacement removes the old flag.

    Examples:
        >>> import warnings
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     present_flags(["--weights=fit", "--starts", "plan"], {"--weights": "--initial-weights", "--starts plan": "--keep"})
        ['--initial-weights=fit', '--keep']
    """
    present: list[str] = []
    waiting = list(words)
    while waiting:
        flag, given, value = waiting.pop(0).partition("=")
        pair = f"{flag} {value if given or not waiting else waiting[0]}"
        old = pair if pair in renamed else flag
        if old not in renamed:
            present.append(flag + given + value)
            continue
        warn_renamed(old, renamed[old] or "the default, without a flag")
        if old == flag:
            present.append(renamed[old] + given + value)
            continue
        present += [renamed[old]] if renamed[old] else []
        waiting = waiting if given else waiting[1:]
    return present


def split_overrides(
    words: Sequence[str], own: Sequence[str], valued: Sequence[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """Separate the flags of a command from changes of the configuration.

    A change is written ``--section.field value`` or ``--section.field=value``.

    Args:
        words: The words that follow the command's name.
        own: Flags of the command that take no value.
        valued: Flags of the command that take one value.

    Returns:
        The words that are not changes of the configuration, and the new values of the changed fields, by dotted path.

    Raises:
        OptionError: If a value is missing, a field is given twice, or a flag is misspelled.

    Examples:
        >>> split_overrides(["a.yaml", "--training.epochs", "3", "--detach"], ["--detach"])
        (['a.yaml', '--detach'], {'training.epochs': '3'})
    """
    known = {knob.path for knob in knobs()}
    switches = {knob.path for knob in knobs() if isinstance(knob.default, bool)}
    rest: list[str] = []
    overrides: dict[str, str] = {}
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
            raise OptionError(f"--{name} needs a value: --{name} VALUE")
        if path in overrides:
            raise OptionError(f"--{name} is given twice, with {overrides[path]!r} and {value!r}; give it once")
        overrides[path] = value
    return rest, overrides


def _is_switch(path: str, following: str, switches: set[str]) -> bool:
    """Return True if the command line names a yes/no field of the configuration, but gives no value for it.

    Args:
        path: Dotted path of the field.
        following: The word that follows the field on the command line.
        switches: Dotted paths of all yes/no fields.
    """
    return path in switches and following.lower() not in ("true", "false", "yes", "no", "on", "off", "0", "1")
