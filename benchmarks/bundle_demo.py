"""Make app/demo/, the finished demo that comes with the app, from the runs of one ``nes-lab demo``.

Numbers, curves and plans are those of the runs. To stay under 3 MB, the bundle leaves out most checkpoints and some snapshots:

- the narrow networks of the first seed keep their last checkpoint, so that one can export them and look at their predictions;
- runs of the first seed keep eight snapshots, with rounded epitomes except in the last; those of other seeds keep the first and the last;
- what tells about the machine (process, host, folder) is left out.

Usage: ``python -m benchmarks.bundle_demo [folder of runs]``; by default the newest demo in ``$NES_LAB_HOME/runs``.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from nes_lab.runs import layout
from nes_lab.runs.bundled import BUNDLED_GROUP
from nes_lab.runs.files import read_json, sha256_of, write_bytes
from nes_lab.runs.info import RunInfo
from nes_lab.runs.replace import write_target
from nes_lab.runs.snapshots import read_snapshot, snapshot_path, snapshot_steps, write_snapshot
from nes_lab.runs.store import RunStore

TARGET = Path(__file__).resolve().parents[1] / "app" / "demo"
MOST_BYTES = 3_000_000
SNAPSHOTS = 8
"""Snapshots that a run of the first seed keeps."""

WITH_CHECKPOINT = ("dense, width 0.5", "epitome, tiled (0.5)", "epitome, free (0.5)", "epitome, learner (0.5)")
STATUS = ("state", "step", "total", "attempt", "reason", "heartbeat")
COPIED = (layout.CONFIG, layout.SUMMARY, layout.PLAN, layout.COST)
LINES = (layout.METRICS, layout.EVENTS)
READ_ONLY_TEXT = """\
The runs in this folder are the finished demo that comes with NES Lab. The app shows them, and nothing writes into this folder.
They were made by nes-lab demo, and put here by benchmarks/bundle_demo.py.
"""


def main() -> int:
    """Write the bundle, and refuse one that is too large."""
    store = RunStore(sys.argv[1] if len(sys.argv) > 1 else None)
    runs = [info for info in store.list() if info.group.startswith("demo-")]
    group = runs[0].group if runs else ""
    runs = [info for info in runs if info.group == group and info.state == "finished"]
    if not runs:
        print(f"there is no finished demo in {store.root}; run nes-lab demo first", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as place:
        fresh = Path(place) / "demo"
        fresh.mkdir()
        write_target(fresh / layout.READ_ONLY, READ_ONLY_TEXT)
        for info in runs:
            bundle(store.path(info.id), info, fresh / info.id)
        size = sum(path.stat().st_size for path in fresh.rglob("*") if path.is_file())
        if size > MOST_BYTES:
            print(f"the bundle would have {size:,} bytes, more than {MOST_BYTES:,}", file=sys.stderr)
            return 1
        shutil.rmtree(TARGET, ignore_errors=True)
        shutil.copytree(fresh, TARGET)
    print(f"{len(runs)} runs of {group}, {size:,} bytes, in {TARGET}")
    return 0


def bundle(source: Path, info: RunInfo, target: Path) -> None:
    """Copy what the app shows of one run."""
    target.mkdir()
    first_seed = info.summary.get("seed") == 0
    run = read_json(source / layout.RUN)
    kept = first_seed and info.config["label"] in WITH_CHECKPOINT
    notes = ["This run comes with NES Lab and can only be read."]
    notes += ["Only its last checkpoint is there."] if kept else ["Its checkpoints are left out, to keep it small."]
    about = {key: run[key] for key in ("schema_version", "id", "label", "created")}
    _write(target / layout.RUN, about | {"group": BUNDLED_GROUP, "notes": notes})
    _write(target / layout.STATUS, {key: read_json(source / layout.STATUS)[key] for key in STATUS})
    for name in COPIED:
        if (source / name).exists():
            _write(target / name, read_json(source / name))
    for name in LINES:
        rows = (json.loads(line) for line in (source / name).read_text(encoding="utf-8").splitlines())
        write_bytes(target / name, b"".join(_compact(row) for row in rows))
    bundle_snapshots(source / layout.SNAPSHOTS, target / layout.SNAPSHOTS, SNAPSHOTS if first_seed else 2)
    (target / layout.CHECKPOINTS).mkdir()
    if kept:
        bundle_checkpoint(source / layout.CHECKPOINTS, target / layout.CHECKPOINTS)
    else:
        _write(target / layout.CHECKPOINTS / layout.MANIFEST, {"schema_version": 1, "checkpoints": []})


def bundle_snapshots(source: Path, target: Path, most: int) -> None:
    """Copy snapshots at equal distances, with rounded epitomes. The last snapshot of many is exact."""
    steps = snapshot_steps(source)
    if not steps:
        return
    target.mkdir()
    chosen = sorted({steps[round(place * (len(steps) - 1) / (most - 1))] for place in range(most)})
    for step in chosen:
        exact = step == steps[-1] and most > 2
        layers = read_snapshot(snapshot_path(source, step))
        write_snapshot(snapshot_path(target, step), layers, "exact" if exact else "rounded")


def bundle_checkpoint(source: Path, target: Path) -> None:
    """Copy the last checkpoint: the weights, and of the state only what a network needs that is not trained further."""
    entry = read_json(source / layout.MANIFEST)["checkpoints"][-1]
    files: dict[str, Any] = entry["files"]
    for kind in ("weights", "settings"):
        shutil.copyfile(source / files[kind]["name"], target / files[kind]["name"])
    state = target / files["state"]["name"]
    saved = torch.load(source / state.name, weights_only=True)
    torch.save({key: saved[key] for key in ("routing",) if key in saved}, state)
    files["state"] |= {"sha256": sha256_of(state), "size": state.stat().st_size}
    _write(target / layout.MANIFEST, {"schema_version": 1, "checkpoints": [entry]})


def _write(path: Path, content: Any) -> None:
    write_bytes(path, _compact(content))


def _compact(content: Any) -> bytes:
    return (json.dumps(content, separators=(",", ":")) + "\n").encode()


if __name__ == "__main__":
    raise SystemExit(main())
