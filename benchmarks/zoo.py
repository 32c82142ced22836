"""The claim "architecture-agnostic": one model of every timm family taken all the way, and docs/zoo.md drawn from the rows.

Each row is written to results/zoo.json as it is done; a second call goes on where the first stopped. ``--only`` names families,
``--redo`` runs again what did not pass, ``--page`` only draws, ``--families`` looks for the smallest models anew (minutes).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.zoo_page import page
from nes_lab.backbones.families import Family, families, smallest_model, write_list
from nes_lab.zoo.check import check_backbone
from nes_lab.zoo.result import ZooRow

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "zoo.json"
PAGE = HERE.parent / "docs" / "zoo.md"
SEED = 0
SMALLER = {"deepseek_vit": 224, "gemma4_vit": 256, "hieradet_sam2": 448, "qwen3_vit": 256}
"""Side of the image where a default of 546 to 896 pixels would take minutes per forward on two cores; the rows say so."""


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--only", nargs="*", default=None, metavar="FAMILY", help="these families alone, again")
    words.add_argument("--redo", action="store_true", help="run again what did not pass")
    words.add_argument("--page", action="store_true", help="draw docs/zoo.md from the rows there are")
    words.add_argument("--families", action="store_true", help="look for the smallest model of each family anew")
    options = words.parse_args()
    if options.families:
        look_for_families()
    if not (options.page or options.families):
        run(options.only, options.redo)
    PAGE.write_text(page(read()), encoding="utf-8")


def read() -> dict[str, dict[str, Any]]:
    """Family -> its row, with when and with what it was made."""
    return json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.exists() else {}


def run(only: list[str] | None, redo: bool) -> None:
    from rich.progress import Progress

    known = families()
    unknown = [name for name in only or () if name not in known]
    if unknown:
        raise SystemExit(f"--only {unknown[0]}: no such family; choose among {', '.join(known)}")
    rows = read()
    names = [n for n in known if n in only] if only else [n for n in known if wanted(rows.get(n), redo)]
    names.sort(key=lambda name: known[name].params)
    facts = {"torch": version("torch"), "timm": version("timm"), "commit": commit(), "seed": SEED}
    with Progress() as bar:
        task = bar.add_task("families", total=len(names))
        for name in names:
            bar.update(task, description=f"{name}: {known[name].model}")
            row = apart(known[name])
            rows = read() | {name: row.to_dict() | facts | {"when": f"{datetime.now(UTC):%Y-%m-%d %H:%M}"}}
            write(rows)
            bar.console.print(f"{name:26}{row}")
            bar.advance(task)


def wanted(row: dict[str, Any] | None, redo: bool) -> bool:
    return row is None or (redo and row["status"] != "passed")


def write(rows: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    fresh = RESULTS.with_suffix(".part")
    fresh.write_text(json.dumps({"rows": dict(sorted(rows.items()))}, indent=1) + "\n", encoding="utf-8")
    os.replace(fresh, RESULTS)


def commit() -> str:
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=HERE)
    return found.stdout.strip() or os.environ.get("NES_LAB_COMMIT", "")


def apart(family: Family) -> ZooRow:
    """The row of a family, made in a process of its own: its memory comes back, and a killed one is a row too."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(theirs, family))
    process.start()
    theirs.close()
    try:
        return ZooRow.from_dict(ours.recv())
    except EOFError:
        process.join()
        reason = f"its process ended with code {process.exitcode} (-9: killed, most likely for memory)"
        return ZooRow(family.model, "failed", stage="create", reason=reason, family=family.name)
    finally:  # also when this script is interrupted: nothing stays behind
        process.terminate()
        process.join()


def child(pipe: Connection, family: Family) -> None:
    warnings.simplefilter("ignore")
    side = SMALLER.get(family.name)
    row = check_backbone(family.model, seed=SEED, input_size=None if side is None else (3, side, side))
    pipe.send(row.to_dict() | {"family": family.name})
    pipe.close()


def look_for_families() -> None:
    import timm
    from rich.progress import track

    write_list([smallest_model(name) for name in track(timm.list_modules(), "families")], timm.__version__)


if __name__ == "__main__":
    main()
