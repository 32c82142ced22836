"""``nes-lab demo``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nes_lab.cli.options import parse

__all__ = ["run"]


@dataclass(frozen=True)
class Demo:
    """Train dense and compressed networks of equal multiply-adds on real digits, compare them, write a report."""


def run(words: Sequence[str]) -> int:
    """Run the demo."""
    parse(Demo, "demo", words)
    from nes_lab.experiment_demo import main

    return int(main() or 0)
