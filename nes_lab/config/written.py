"""Write a configuration as a command, as Python code and as YAML. Only the fields that differ from their defaults are written.

Tests: tests/config/test_written.py.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pprint import pformat
from textwrap import indent
from typing import Any

from nes_lab.config.changed import changed_fields
from nes_lab.config.load import knobs
from nes_lab.packages import needed_for

__all__ = ["as_command", "as_python", "as_yaml", "given_fields"]


def given_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without the fields that have their default or are empty, and without empty sections.

    Examples:
        >>> given_fields({"label": "", "seed": 0, "compression": {"madds": "60%", "params": None, "routing": "learner"}})
        {'compression': {'madds': '60%', 'routing': 'learner'}}
    """
    changed = changed_fields(config)
    tree: dict[str, Any] = {}
    for knob in knobs():
        section, _, field = knob.path.rpartition(".")
        values = config.get(section) if section else config
        value = values.get(field) if isinstance(values, Mapping) else None
        if knob.path in changed and value not in (None, "", [], ()):
            (tree.setdefault(section, {}) if section else tree)[field] = (
                list(value) if isinstance(value, tuple) else value
            )
    return tree


def as_command(config: Mapping[str, Any]) -> str:
    """Return the command that starts a run with a configuration.

    Examples:
        >>> print(as_command({"seed": 3, "compression": {"madds": "60%"}}))
        nes-lab train --seed 3 --compression.madds 60%
    """
    given = given_fields(config)
    start = given.pop("start", None)
    words = ["nes-lab", "train", *(() if start is None else ("--from", str(start)))]
    for path, text in changed_fields(given).items():
        words += [f"--{path}", text]
    return shlex.join(words)


def as_python(config: Mapping[str, Any]) -> str:
    """Return Python code that starts a run with a configuration.

    Examples:
        >>> print(as_python({"seed": 3}))
        import nes_lab
        <BLANKLINE>
        run = nes_lab.train(
            {'seed': 3}
        )
    """
    code = indent(pformat(given_fields(config), sort_dicts=False), "    ")
    return f"import nes_lab\n\nrun = nes_lab.train(\n{code}\n)"


def as_yaml(config: Mapping[str, Any]) -> str:
    """Return the content of a YAML file with a configuration.

    Examples:
        >>> print(as_yaml({"training": {"epochs": 3}}).strip())
        training:
          epochs: 3
    """
    with needed_for("writing YAML"):
        import yaml
    return yaml.safe_dump(given_fields(config), sort_keys=False)
