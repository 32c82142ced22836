"""Files are written by nes_lab/runs/replace.py, or by a file that is listed here with its reason."""

import ast

import pytest

from tests.house.tree import ROOT

REASONS = {
    "nes_lab/runs/replace.py": "the one that writes",
    "nes_lab/export/atomic_write.py": "replaces what replace.target_of returns",
    "nes_lab/export/pretrained.py": "writes into the temporary folder of atomic_write",
    "nes_lab/worker/client.py": "writes the log of a worker into a folder of its own",
    "nes_lab/runs/pack.py": "refuses a path at which anything exists",
    "nes_lab/runs/unpack.py": "writes into a new folder only",
    "nes_lab/datasets/uploads/unpack.py": "writes into a new folder only",
    "nes_lab/cli/environment_checks.py": "writes into a temporary folder",
    "nes_lab/experiment/process_pool.py": "appends to the log of a run of its own",
}
SOURCES = [path for part in ("nes_lab", "app", "benchmarks") for path in sorted((ROOT / part).rglob("*.py"))]


def writes(source: str) -> list[int]:
    """Return the lines that write a file by a call of Python's own."""
    return [node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and _writes(node)]


def _writes(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in ("write_text", "write_bytes"):
        return isinstance(call.func, ast.Attribute)
    if name == "replace" and isinstance(call.func, ast.Attribute):
        return ast.unparse(call.func.value) in ("os", "fresh", "temporary")
    modes = [word.value for word in [*call.args, *(k.value for k in call.keywords)] if isinstance(word, ast.Constant)]
    return name == "open" and any(isinstance(mode, str) and mode.strip("bt+") in ("w", "a", "x") for mode in modes)


def test_files_are_written_in_one_place():
    found = {path.relative_to(ROOT).as_posix(): writes(path.read_text(encoding="utf-8")) for path in SOURCES}
    unknown = {path: lines for path, lines in found.items() if lines and path not in REASONS}
    assert not unknown, f"{unknown}: call write_target of nes_lab/runs/replace.py"
    assert not [path for path in REASONS if not found.get(path)], "a reason for a file that writes nothing"


@pytest.mark.parametrize("text", ["p.write_text('')", "os.replace(a, b)", "open(p, 'w')", "p.open('ab')"])
def test_the_ways_to_write_are_seen(text):
    assert writes(text)
