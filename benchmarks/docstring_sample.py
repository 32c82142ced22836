"""Draw a random sample of docstrings for a reader, and store the verdicts: how clear are they on first reading?

::

    python -m benchmarks.docstring_sample draw --seed 7 > texts.json      # the reader gets numbered texts, nothing else
    python -m benchmarks.docstring_sample record verdicts.json --seed 7   # {"1": "clear", "2": "twice", ...} -> results

A reader who knows torch and the README's vocabulary reads each text once, without the code around it, and says ``clear``
(understood on first reading), ``twice`` (needs a second reading) or ``riddle`` (not understood after that).
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import sys
from collections import Counter
from functools import cache
from pathlib import Path

from nes_lab.runs.replace import write_target

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "docstring_sample.json"
VERDICTS = ("clear", "twice", "riddle")
COUNT = 150


@cache
def docstrings() -> list[tuple[str, str]]:
    """Return the docstrings of all modules, classes and functions of the library and the app, as ``(file:name, text)``."""
    texts = []
    for path in sorted([*(ROOT / "nes_lab").rglob("*.py"), *(ROOT / "app").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            if isinstance(node, kinds) and (text := ast.get_docstring(node)):
                texts.append((f"{path.relative_to(ROOT).as_posix()}:{getattr(node, 'name', '')}", text))
    return texts


def draw(seed: int, count: int = COUNT) -> list[tuple[str, str]]:
    """Return ``count`` docstrings drawn without replacement."""
    return random.Random(seed).sample(docstrings(), count)


def record(verdicts: dict[str, str], seed: int, reader: str, notes: dict[str, str] | None = None) -> dict:
    """Combine the texts with their verdicts; refuse a missing or unknown verdict."""
    sample = draw(seed)
    rows = []
    for number, (place, text) in enumerate(sample, 1):
        verdict = verdicts.get(str(number))
        if verdict not in VERDICTS:
            raise SystemExit(f"text {number}: the verdict is {verdict!r}; it must be one of {', '.join(VERDICTS)}")
        note = {"note": notes[str(number)]} if notes and str(number) in notes else {}
        rows.append({"number": number, "place": place, "verdict": verdict, **note, "text": text})
    counts = Counter(row["verdict"] for row in rows)
    total = {name: counts[name] for name in VERDICTS}
    return {"seed": seed, "docstrings": len(docstrings()), "reader": reader, "counts": total, "sample": rows}


def main() -> None:
    """Draw a sample, or record its verdicts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("draw", "record"))
    parser.add_argument("verdicts", nargs="?", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--notes", type=Path, help="what stopped the reader, by number")
    parser.add_argument("--reader", default="someone who had not seen the code")
    options = parser.parse_args()
    if options.action == "draw":
        json.dump({str(n): text for n, (_, text) in enumerate(draw(options.seed), 1)}, sys.stdout, indent=1)
        return
    verdicts = json.loads(options.verdicts.read_text(encoding="utf-8"))
    notes = json.loads(options.notes.read_text(encoding="utf-8")) if options.notes else None
    result = record(verdicts, options.seed, options.reader, notes)
    write_target(RESULTS, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(result["counts"])


if __name__ == "__main__":
    main()
