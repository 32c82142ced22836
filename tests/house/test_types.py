"""Type checkers see a user's mistakes (types/mistakes.py), and report nothing on right uses (types/right.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

FILES = Path(__file__).with_name("types")


@cache
def reported() -> dict[tuple[str, int], str]:
    """Run pyright once on both files; return file and line of each error with its text."""
    pyright = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", "-p", str(FILES)]
    run = subprocess.run(pyright, capture_output=True, text=True, timeout=120)
    texts: dict[tuple[str, int], str] = {}
    for error in json.loads(run.stdout)["generalDiagnostics"]:
        place = (Path(error["file"]).name, error["range"]["start"]["line"] + 1)
        texts[place] = texts.get(place, "") + error["message"]
    return texts


def test_mistakes_are_reported():
    lines = enumerate((FILES / "mistakes.py").read_text().splitlines(), start=1)
    wrong = {number: line.partition("  # wrong: ")[2] for number, line in lines if "  # wrong: " in line}
    found = {number: text for (file, number), text in reported().items() if file == "mistakes.py"}
    assert {n: found.get(n, "nothing reported") for n, text in wrong.items() if text not in found.get(n, "")} == {}
    assert found.keys() - wrong.keys() == set()


def test_right_uses_are_not_reported():
    assert {place: text for place, text in reported().items() if place[0] == "right.py"} == {}
