"""The claim "a run survives": every fault injected by tests/faults, counted; and docs/faults.md drawn from the counts.

The suite is run (minutes); ``--page`` only draws. Nothing is written unless every test passed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.zoo import commit

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "faults.json"
PAGE = HERE.parent / "docs" / "faults.md"
SMALL = 75  # a fault done so often is a small one


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--page", action="store_true", help="draw docs/faults.md from the counts there are")
    if not words.parse_args().page:
        found = json.dumps(run(), indent=1, ensure_ascii=False) + "\n"
        fresh = RESULTS.with_suffix(".part")
        fresh.write_text(found, encoding="utf-8")
        os.replace(fresh, RESULTS)
    PAGE.write_text(page(read()), encoding="utf-8")


def read() -> dict[str, Any]:
    """The counts, with when and with what they were made."""
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def run() -> dict[str, Any]:
    """Run the suite, and return what it counted."""
    with tempfile.TemporaryDirectory() as folder:
        tally = Path(folder) / "tally.json"
        environment = os.environ | {"NES_LAB_FAULTS_TALLY": str(tally), "OMP_NUM_THREADS": "1"}
        began = time.monotonic()
        suite = [sys.executable, "-m", "pytest", "-q", "-rs", "tests/faults"]
        done = subprocess.run(suite, cwd=HERE.parent, env=environment, check=False)
        if done.returncode:
            raise SystemExit(f"tests/faults did not pass ({done.returncode}); nothing was written")
        faults = json.loads(tally.read_text(encoding="utf-8"))
    return {
        "when": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit(),
        "torch": version("torch"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "seconds": round(time.monotonic() - began),
        "faults": sorted(faults, key=lambda row: row["fault"].lower()),
    }


def page(found: dict[str, Any]) -> str:
    """docs/faults.md for these counts."""
    rows = found["faults"]
    total = {name: sum(row[name] for row in rows) for name in ("injected", "resumed", "identical", "lost")}
    small = sum(row["injected"] for row in rows if row["injected"] >= SMALL)
    total |= {"small": small, "others": total["injected"] - small}
    lines = [f"| {_cell(row['fault'])} | {_cell(row['answer'])} | {_numbers(row)} |" for row in rows]
    return TEXT.format(**{**found, "commit": found["commit"][:12], "rows": "\n".join(lines)}, **total)


TEXT = """\
# What a run survives

A run is a process of its own and a directory that only it writes to; the app, the command line, notebooks and sweeps only read
that directory. So there is little that can be lost. To know, `tests/faults` breaks things on purpose, and counts. This page is
written by `python -m benchmarks.faults`.

**{injected:,} faults injected; {resumed} runs resumed, {identical} of them bit for bit as an undisturbed run; {lost} data lost.**
{small:,} of the faults are small ones, done by the dozen: values for a config, random clicks, runs in a list. The other {others:,} are
single acts on processes, disks, checkpoints, data and names.

* *Resumed*: the run was taken up after the fault and trained to its end. Where the answer is a refusal, there is nothing to resume.
* *Bit for bit*: final weights (bytes), and every row of metrics but for times and speeds, equal those of a run that nobody
  disturbed. CPU, one thread, digits, epitomes with free and with learned starts.
* *Lost*: a checkpoint that was whole, or a row of metrics up to it, that could not be found again. Steps after the last checkpoint
  are done anew; they are not counted as lost.

| fault | what happens | injected | resumed | bit for bit | lost |
|---|---|---|---|---|---|
{rows}

## How

* **Checkpoints** are written beside the old ones, listed with their SHA-256, announced last. A flipped bit is found before torch
  reads the file; the checkpoint before is taken, with an event that says so; if none is whole the run says so and does not begin anew.
* **States are concluded, not believed**: a run is *lost* when its process is gone (pid, start time, machine and the machine's last
  start are compared; a zombie does not count) or has been silent for three heartbeats. A thread beats, so a long validation is no
  silence. Of another machine's process only the heartbeat is known, and 45 s of patience allow for clocks that differ.
* **One writer**: a lock of the kernel, gone with its process. A stopped process keeps it, so nobody writes beside it when it wakes.
* **The queue** goes on after SIGKILL with nobody looking: while runs wait, one small process sleeps until a place is free. There is
  no daemon: an empty queue has none.
* **Nothing is unpickled**: weights are safetensors, the rest is read by torch with `weights_only`; ids and paths stay inside the
  root; links are not followed.

Not injected here: a machine that loses power (files are synced before they are announced), a real CUDA device out of memory (its
error is raised in its place), network file systems.

Measured {when} with torch {torch}, Python {python}, {system}, in {seconds} s, commit {commit}.
"""


def _numbers(row: dict[str, Any]) -> str:
    went_on = [f"{row['resumed']}", f"{row['identical']}"] if row["resumed"] else ["", ""]
    return " | ".join([f"{row['injected']:,}", *went_on, str(row["lost"])])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
