"""Messages of errors are shown in the words of the app: no command, and no name of a configuration file."""

from __future__ import annotations

import re

import pytest

from app.components.tables import grid_column, grid_rows
from app.labels import in_words
from nes_lab.records.columns import columns
from nes_lab.records.table import Table
from tests.house.tree import ROOT


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("there is no run 'a' in /x. nes-lab runs lists them.", "The page Runs lists them."),
        ("set data.download to true to fetch it", "switch on Download to fetch it"),
        ("run a is running in process 7; nes-lab cancel a stops it", "the button Cancel on its page stops it"),
        ("nothing to resume. nes-lab resume a --epochs N trains it further", "Train further on its page"),
        (
            "madds=874.8 k cannot be met with round_to=8, scope='joint'",
            "Round channels to: 8, What has its own starts: each patch",
        ),
        (
            "pretrained=True: the weights of 'a' could not be downloaded (no connection); "
            "give checkpoint= with the path of a .safetensors file of the weights",
            "the weights of 'a' could not be downloaded (no connection); connect this computer to the internet",
        ),
        ("config: training.lr=-1: give a positive number", "Learning rate: -1"),
    ],
)
def test_commands_and_names_of_files_become_those_of_the_app(message, shown):
    assert shown in in_words(message) and "nes-lab" not in in_words(message)


def test_percentages_have_one_form():
    table = Table(
        columns("name", "ratio", "progress"), [{"name": "fc", "ratio": 0.588, "progress": 0.5}, {"name": "b"}]
    )
    rows = grid_rows(table)
    assert rows[0] == {"name": "fc", "ratio": pytest.approx(58.8), "progress": 50.0} and rows[1]["ratio"] is None
    forms = [grid_column(column)["type_config"]["format"] for column in table.columns[1:]]
    assert forms == ["%.1f %%", "%.0f %%"] and table.cells(table.rows[0]) == ["fc", "58.8 %", "50 %"]
    sources = [
        path for folder in ("app", "nes_lab") for path in (ROOT / folder).rglob("*.py") if "cli" not in path.parts
    ]
    old = re.compile(r":\.\d%\}|tickformat=\"\.\d%|format=\"percent\"")  # these write 58.8% without a space
    allowed = {"renamed.py", "still_picture.py"}  # words for a terminal; figures of others
    assert not [
        path.name for path in sources if old.search(path.read_text(encoding="utf-8")) and path.name not in allowed
    ]
