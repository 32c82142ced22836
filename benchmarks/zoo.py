"""Check one model of every timm family, and write docs/zoo.md from the rows.

Each model is planned, compressed, trained for one step, saved and loaded. Its row is written to results/zoo.json at once, so that a
second call continues where the first stopped.
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
from nes_lab.runs.replace import write_target
from nes_lab.zoo.check import check_backbone
from nes_lab.zoo.result import ZooRow

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "zoo.json"
PAGE = HERE.parent / "docs" / "zoo.md"
SEED = 0
SMALLER = {"deepseek_vit": 224, "gemma4_vit": 256, "hieradet_sam2": 448, "qwen3_vit": 256}
"""Image side of models whose default, 546 to 896 pixels, would take minutes per forward on two cores; the row has a note."""


def main() -> None:
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument(
        "--only", nargs="*", default=None, metavar="FAMILY", help="check only these families, also if they have a row"
    )
    words.add_argument("--redo", action="store_true", help="check the families again that did not pass")
    words.add_argument("--page", action="store_true", help="only write docs/zoo.md from the rows in the result file")
    words.add_argument(
        "--families", action="store_true", help="search for the smallest model of each family again (minutes)"
    )
    options = words.parse_args()
    if options.families:
        find_smallest_models()
    if not (options.page or options.families):
        run(options.only, options.redo)
    write_target(PAGE, page(read()))


def read() -> dict[str, dict[str, Any]]:
    """Return the row of each family, with the date and the versions it was made with."""
    return json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.exists() else {}


def run(only: list[str] | None, redo: bool) -> None:
    from rich.progress import Progress

    known = families()
    unknown = [name for name in only or () if name not in known]
    if unknown:
        raise SystemExit(f"--only {unknown[0]}: timm has no such family; choose from {', '.join(known)}")
    rows = read()
    names = [n for n in known if n in only] if only else [n for n in known if is_pending(rows.get(n), redo)]
    names.sort(key=lambda name: known[name].params)
    facts = {"torch": version("torch"), "timm": version("timm"), "commit": commit(), "seed": SEED}
    with Progress() as bar:
        task = bar.add_task("families", total=len(names))
        for name in names:
            bar.update(task, description=f"{name}: {known[name].model}")
            row = check_in_process(known[name])
            rows = read() | {name: row.to_dict() | facts | {"when": f"{datetime.now(UTC):%Y-%m-%d %H:%M}"}}
            write(rows)
            bar.console.print(f"{name:26}{row}")
            bar.advance(task)


def is_pending(row: dict[str, Any] | None, redo: bool) -> bool:
    return row is None or (redo and row["status"] != "passed")


def write(rows: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    write_target(RESULTS, json.dumps({"rows": dict(sorted(rows.items()))}, indent=1) + "\n")


def commit() -> str:
    answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=HERE)
    return answer.stdout.strip() or os.environ.get("NES_LAB_COMMIT", "")


def check_in_process(family: Family) -> ZooRow:
    """Check a family in a new process, whose memory is freed; if the process is killed, return a row that says so."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(theirs, family))
    process.start()
    theirs.close()
    try:
        return ZooRow.from_dict(ours.recv())
    except EOFError:
        process.join()
        reason = (
            f"the process ended with exit code {process.exitcode} (-9 means killed, most likely because memory ran out)"
        )
        return ZooRow(family.model, "failed", stage="create", reason=reason, family=family.name)
    finally:  # also when this script is interrupted: no process stays behind
        process.terminate()
        process.join()


def child(pipe: Connection, family: Family) -> None:
    warnings.simplefilter("ignore")
    side = SMALLER.get(family.name)
    row = check_backbone(family.model, seed=SEED, input_size=None if side is None else (3, side, side))
    pipe.send(row.to_dict() | {"family": family.name})
    pipe.close()


def find_smallest_models() -> None:
    import timm
    from rich.progress import track

    write_list([smallest_model(name) for name in track(timm.list_modules(), "families")], timm.__version__)


if __name__ == "__main__":
    main()
