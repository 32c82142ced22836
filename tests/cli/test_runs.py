"""``nes-lab runs``: what it prints."""

from nes_lab.cli import main
from nes_lab.runs.store import RunStore


def test_runs_prints_labels_without_control_characters(capsys):
    RunStore().create({}, label="\x1b[2Jgone [red]x[/red]")
    assert main(["runs"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[red]x[/red]" in out
