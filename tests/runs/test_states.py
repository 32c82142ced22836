"""The table of run states, and the faces that draw it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

from nes_lab.cli.tables import TONES
from nes_lab.runs.states import STATES, StateName, Tone


def test_states_are_resumable_only_when_no_process_works_and_then_say_what_to_do() -> None:
    for state in STATES.values():
        assert not (state.active and (state.final or state.resumable))
        assert state.resumable == bool(state.advice)


def test_tones_have_a_color_in_the_terminal_and_in_the_app() -> None:
    tree = ast.parse(Path("app/components/state_colors.py").read_text(encoding="utf-8"))
    (colors,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "STATE_COLORS"
    )
    assert set(get_args(Tone)) == set(TONES) == set(ast.literal_eval(colors))


def test_states_are_the_words_of_the_type() -> None:
    assert tuple(STATES) == get_args(StateName)
