"""Train networks of equal cost by equal recipes, and write what they reach: epitomes, narrower networks and other contenders.

A study is an ordered list of trainings in benchmarks/accuracy_parts/NAME.yaml. Each training adds its row to results/accuracy_NAME.jsonl
when it ends. A stopped study continues where it was: finished trainings are skipped, an interrupted one resumes from its checkpoint.

    NES_LAB_SHARED=FOLDER python -m benchmarks.accuracy --size cpu --minutes 120 --jobs 2
    python -m benchmarks.accuracy --size cpu --list      # the trainings, and which of them are done
    python -m benchmarks.accuracy --page                 # only write docs/evidence.md and its figures
    python -m benchmarks.accuracy --readme               # the sentences for README
    python -m benchmarks.accuracy --advice               # the rows that plans quote as advice
    python -m benchmarks.accuracy --size smoke           # the pipeline on scikit-learn's digits, in a few minutes
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.accuracy_parts.cells import study_cells
from benchmarks.accuracy_parts.rows import Row, add_row, read_rows
from benchmarks.accuracy_parts.study import Study, Training, read_study, trainings
from nes_lab.errors import MissingPackageError
from nes_lab.packages import need
from nes_lab.runs.allocator import allocator_settings
from nes_lab.runs.replace import write_target

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "evidence.md"
PARTS = Path(__file__).resolve().parent / "accuracy_parts"
POLL_SECONDS = 0.5


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/accuracy.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--size", default="cpu", choices=sorted(path.stem for path in PARTS.glob("*.yaml")), help="the study"
    )
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop after this time; trainings can continue later"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, help="trainings at the same time; each uses its share of the cores"
    )
    parser.add_argument("--threads", type=int, help="threads of each training; the default is its share of the cores")
    parser.add_argument("--only", default="", help="only trainings whose id contains this text")
    parser.add_argument("--list", action="store_true", help="list the trainings and end")
    parser.add_argument("--page", action="store_true", help="write docs/evidence.md from the results and end")
    parser.add_argument("--advice", action="store_true", help="write the rows that plans quote as advice, and end")
    parser.add_argument("--readme", action="store_true", help="print the sentences that README quotes, and end")
    parser.add_argument("--train", default="", metavar="ID", help="train this one here, and add its row")
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("NES_LAB_SHARED") or ROOT.parent / "shared"))
    parser.add_argument("--results", type=Path, help="another result file")
    parser.add_argument("--runs", type=Path, help="folder of the runs; the default is build/accuracy/NAME")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    options.results = options.results or result_file(options.size)
    options.runs = options.runs or ROOT / "build" / "accuracy" / options.size
    study = read_study(PARTS / f"{options.size}.yaml")
    return do(study, options)


def do(study: Study, options: argparse.Namespace) -> int:
    """Do what the options ask for, and return the exit code."""
    if options.list:
        return show(study, options)
    if options.page:
        return write_page()
    if options.advice:
        return write_advice()
    if options.readme:
        print(*readme_text(), sep="\n")
        return 0
    need("pydantic", "training a network of the study")
    if options.train:
        return train_here(study, options)
    status = run_all(study, options)
    if options.size != "smoke":
        write_page()
    return status


def write_page() -> int:
    """Write docs/evidence.md and its figures from the result files of all studies but the smoke test."""
    from benchmarks.accuracy_parts.figure import draw, study_figure
    from benchmarks.accuracy_parts.page import evidence_page

    found = read_results()
    pictures = {}
    for study, rows in found:
        picture = PAGE.parent / "images" / f"evidence_{study.name}.png"
        figure = study_figure(study_cells(study, rows))
        if (figure is not None and draw(figure, picture)) or picture.exists():
            pictures[study.name] = f"images/{picture.name}"
    write_target(PAGE, evidence_page(found, pictures))
    return 0


def write_advice() -> int:
    """Write nes_lab/planning/measured_accuracy.jsonl from the committed rows of the study of CPUs."""
    from benchmarks.accuracy_parts.advice_rows import advice_rows, as_lines
    from nes_lab.records.measured_accuracy import measured

    study = read_study(PARTS / "cpu.yaml")
    cells = study_cells(study, read_rows(result_file(study.name)))
    write_target(ROOT / "nes_lab" / "planning" / "measured_accuracy.jsonl", as_lines(advice_rows(cells, measured())))
    return 0


def read_results() -> list[tuple[Study, dict[str, Row]]]:
    """Return all studies but the smoke test, each with its committed rows by id."""
    studies = [read_study(path) for path in sorted(PARTS.glob("*.yaml")) if path.stem != "smoke"]
    return [(study, read_rows(result_file(study.name))) for study in studies]


def readme_text() -> list[str]:
    """Return the sentences that README quotes from the committed rows; none if no budget is complete."""
    from benchmarks.accuracy_parts.verdicts import readme_sentences

    return list(readme_sentences([cell for study, rows in read_results() for cell in study_cells(study, rows)]))


def result_file(size: str) -> Path:
    """Return the result file of a study."""
    return ROOT / "benchmarks" / "results" / f"accuracy_{size}.jsonl"


def show(study: Study, options: argparse.Namespace) -> int:
    """Print every training with its accuracy on held-out images, or that it was not run."""
    rows = read_rows(options.results)
    listed = [training for training in trainings(study, rows) if options.only in training.id]
    for training in listed:
        print(f"{training.id:60} {_outcome(rows.get(training.id))}")
    print(f"{sum(training.id in rows for training in listed)} of {len(listed)} trainings are done")
    return 0


def _outcome(row: Row | None) -> str:
    return "not run" if row is None else f"{row['holdout_top1']:.2f} %, {row['seconds']:.0f} s"


def train_here(study: Study, options: argparse.Namespace) -> int:
    """Train the network with the id ``--train`` in this process, and add its row."""
    from benchmarks.accuracy_parts.train import NotFinished, train_one

    found = [training for training in trainings(study, read_rows(options.results)) if training.id == options.train]
    if not found:
        raise SystemExit(f"--train {options.train!r} is not in the study {study.name}; --list shows all ids")
    try:
        add_row(options.results, train_one(found[0], study, options.shared, options.runs))
    except NotFinished as stopped:
        print(stopped, file=sys.stderr)
        return 3
    return 0


def run_all(study: Study, options: argparse.Namespace) -> int:
    """Run the trainings that are not done, in order, several at a time, until the time is over.

    Returns:
        0 if all are done, 3 if some are left, 1 if a training failed.
    """
    end = time.monotonic() + options.minutes * 60
    running: dict[str, subprocess.Popen] = {}
    failed: set[str] = set()
    try:
        while True:
            for name, process in list(running.items()):
                if process.poll() is not None:
                    del running[name]
                    failed |= {name} if process.returncode not in (0, 3) else set()
            rows = read_rows(options.results)
            waiting = [
                t for t in trainings(study, rows) if options.only in t.id and t.id not in {*rows, *running, *failed}
            ]
            ready = [training for training in waiting if training.lr is not None]
            if time.monotonic() >= end or not (running or ready):
                break
            if ready and len(running) < options.jobs:
                running[ready[0].id] = start(ready[0], options)
            else:
                time.sleep(POLL_SECONDS)
    finally:
        stop(running)
    left = [
        t
        for t in trainings(study, read_rows(options.results))
        if options.only in t.id and t.id not in read_rows(options.results)
    ]
    print(
        f"{len(left)} trainings are left{', failed: ' + ', '.join(sorted(failed)) if failed else ''}", file=sys.stderr
    )
    return 1 if failed else 3 if left else 0


def start(training: Training, options: argparse.Namespace) -> subprocess.Popen:
    """Start one training in a process of its own."""
    print(training.id, file=sys.stderr, flush=True)
    threads = options.threads or max(1, (os.cpu_count() or 1) // options.jobs)
    command = [sys.executable, "-m", "benchmarks.accuracy", "--size", options.size, "--train", training.id]
    command += ["--shared", str(options.shared), "--results", str(options.results), "--runs", str(options.runs)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)} | allocator_settings()
    return subprocess.Popen(command, cwd=ROOT, env=environment)


def stop(running: dict[str, subprocess.Popen]) -> None:
    """Ask the trainings that still run to stop at their next step, and wait for them."""
    for process in running.values():
        process.send_signal(signal.SIGTERM)
    for process in running.values():
        process.wait()


if __name__ == "__main__":
    if "--train" not in sys.argv:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the trainings stop too
    try:
        sys.exit(main())
    except MissingPackageError as missing:
        sys.exit(str(missing))
