"""Count the faults that tests/faults injects, and write docs/faults.md from the counts.

This runs the tests, which takes minutes, and writes nothing unless all of them pass. ``--page`` only writes the page.
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

from benchmarks.silent_faults import kinds_table
from benchmarks.zoo import commit
from nes_lab.runs.replace import write_target

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "faults.json"
PAGE = HERE.parent / "docs" / "faults.md"
SMALL = 75  # a fault that is injected at least this often counts as a small one


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--page", action="store_true", help="write docs/faults.md from the counts in the result file")
    if not words.parse_args().page:
        counts = json.dumps(run(), indent=1, ensure_ascii=False) + "\n"
        write_target(RESULTS, counts)
    write_target(PAGE, page(read()))


def read() -> dict[str, Any]:
    """Return the counts, with the date and the versions they were made with."""
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def run() -> dict[str, Any]:
    """Run tests/faults and return its counts."""
    with tempfile.TemporaryDirectory() as folder:
        tally = Path(folder) / "tally.json"
        environment = os.environ | {"NES_LAB_FAULTS_TALLY": str(tally), "OMP_NUM_THREADS": "1"}
        began = time.monotonic()
        suite = [sys.executable, "-m", "pytest", "-q", "-rs", "tests/faults"]
        done = subprocess.run(suite, cwd=HERE.parent, env=environment, check=False)
        if done.returncode:
            raise SystemExit(f"tests/faults failed (exit status {done.returncode}); nothing was written")
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


def page(counts: dict[str, Any]) -> str:
    """Return docs/faults.md for these counts."""
    rows = counts["faults"]
    total = {name: sum(row[name] for row in rows) for name in ("injected", "resumed", "identical", "lost")}
    small = sum(row["injected"] for row in rows if row["injected"] >= SMALL)
    total |= {"small": small, "others": total["injected"] - small}
    lines = [f"| {_cell(row['fault'])} | {_cell(row['answer'])} | {_numbers(row)} |" for row in rows]
    return TEXT.format(
        **{**counts, "commit": counts["commit"][:12], "rows": "\n".join(lines), "kinds": kinds_table()}, **total
    )


TEXT = """\
# What a run survives

A run is one process, and it has a directory that only this process writes to. The app, the command line, notebooks and sweeps only
read that directory, so little can be lost. `tests/faults` checks this: it breaks things on purpose and counts what happens.
`python -m benchmarks.faults` writes this page.

**{injected:,} faults were injected. {resumed} runs were resumed; {identical} of them ended bit for bit like a run without a fault. Data
losses: {lost}.** {small:,} of the faults are small and come in large numbers: values in a config, random clicks, runs in a list. The
other {others:,} are single faults in processes, disks, checkpoints, data and names.

* *Resumed*: the run was resumed after the fault and trained to its end. If NES Lab refuses the input, there is nothing to resume.
* *Bit for bit*: the bytes of the final weights, and every row of metrics except times and speeds, equal those of a run without a
  fault (digits on a CPU with one thread; epitomes with free and with learned starts).
* *Lost*: an intact checkpoint, or a row of metrics before it, is missing afterwards. Steps after the last checkpoint are repeated and do
  not count as lost.

| fault | what happens | injected | resumed | bit for bit | lost |
|---|---|---|---|---|---|
{rows}

## How

* **Checkpoints** are written as new files. Their SHA-256 is stored, and the list of checkpoints is updated last. A flipped bit is
  noticed before torch reads the file. The run then continues from the checkpoint before it and records an event that says so. If no
  checkpoint is intact, the run fails with a message; it never starts again from scratch.
* **States are derived from evidence**: a run is *lost* if its process has ended or has sent no heartbeat for three intervals. The process
  is identified by its pid, its start time, the machine and the time when that machine was started; a zombie counts as ended. A
  thread sends the heartbeats, so a long validation does not interrupt them. For a process on another machine, only the heartbeat is
  known. It may be 45 s late, because clocks differ.
* **One writer**: a file lock that the operating system releases when its process ends. A stopped process keeps the lock, so no
  other process writes to the run before it continues.
* **The queue** continues after SIGKILL by itself: while runs wait, one small process sleeps until there is room for the next. If
  no run waits, no such process runs.
* **Nothing is unpickled**: weights are stored as safetensors, and torch reads the rest with `weights_only`. Ids and paths stay
  inside the root folder of the runs, and links are not followed.

These faults are not injected: a power failure (files are synced to disk before they are listed), a real CUDA device out of memory (the
tests raise its error instead), and faults of network file systems.

Measured on {when} with torch {torch}, Python {python}, {system}, in {seconds} s, at commit {commit}.

## Wrong numbers without a word

The faults above are loud. Worse is a number that is wrong while nothing says so. These kinds were found with networks, data and tools of
others. Each has tests, which lie in the folder `tests`. Most of them compare with another way to the same number: the materialized network,
a loop of cells, timm's own code, the bytes before and after. Where a kind could come back with the next addition, a test walks the
list by itself: public functions, fields of a configuration, kinds of layers, ways to change a parameter, data sets.

{kinds}
"""


def _numbers(row: dict[str, Any]) -> str:
    resumed = [f"{row['resumed']}", f"{row['identical']}"] if row["resumed"] else ["", ""]
    return " | ".join([f"{row['injected']:,}", *resumed, str(row["lost"])])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
