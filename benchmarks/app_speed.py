"""Measure how long a user of the app waits: for plans, for pages, for the first run, and for the explorer to follow the pointer.

``python -m benchmarks.app_speed`` measures all and writes the result file. With a word, ``plans``, ``first-run`` or ``pages``, it measures
only that part, and prints the numbers.

Plans come from the worker that the app asks, over its socket. Pages are opened in Chromium, on a server with runs made by this script. The
result file has the device and the load of the machine; times on a busy machine are too long.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

from benchmarks.speed import commit, processor, say
from nes_lab.geometry.layer_snapshot import LayerSnapshot
from nes_lab.runs.layout import METRICS
from nes_lab.runs.replace import write_target
from nes_lab.runs.store import RunStore
from nes_lab.runs.writer import RunWriter
from nes_lab.worker.client import Refusal, Worker

RESULTS = Path(__file__).resolve().parent / "results" / "app_speed.json"
NETWORKS = ("mobilenetv2_100", "resnet50", "resnet152", "efficientnet_b7", "vit_large_patch16_224")
RUNS, ROWS = 200, 10_000
CELLS = 1000
"""Side of the large epitome, in cells: it has a million of them."""

TABLE, FIGURE = ".dvn-scroller", ".js-plotly-plot .main-svg"
PAGES = {
    "Runs, 200 runs": ("runs", TABLE),
    "Start": ("", TABLE),
    "Run, 200 runs": ("run", FIGURE),
    "Trade-off, 200 runs": ("trade_off", FIGURE),
}
"""Name of a page -> its path, and what it must have drawn. The first one meets a fresh server."""

HOVERS = 40


def main() -> int:
    """Measure everything and write the result file, or measure one part and print it."""
    began = datetime.now(UTC)
    parts = {"plans": lambda: list(plans(began)), "first-run": first_run, "pages": pages}
    for name in sys.argv[1:]:
        parts[name]()
    if len(sys.argv) > 1:
        return 0
    facts = {
        "script": "benchmarks/app_speed.py",
        "date": began.strftime("%Y-%m-%d"),
        "commit": commit(),
        "device": processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    results = facts | {name: measure() for name, measure in parts.items()}
    results |= {"load_after": round(os.getloadavg()[0], 1)}
    write_target(RESULTS, json.dumps(results, indent=1) + "\n")
    return 0


def drawn_network(day: datetime) -> str:
    """Return a timm network that is drawn by the day, among those for images of 224 pixels."""
    from nes_lab.backbones.registry import backbone_names

    names = [name for name in backbone_names() if name.endswith("224")]
    return names[day.toordinal() % len(names)]


def plans(day: datetime) -> Iterator[dict[str, Any]]:
    """Time the answers of a worker: for a new network, another option, another budget, and a budget that cannot be met."""
    worker = Worker("plans")
    begin = time.perf_counter()
    worker.ask("ping", {})
    yield {"question": "start of the worker", "seconds": round(time.perf_counter() - begin, 2)}
    for name in (*NETWORKS, drawn_network(day)):
        questions = {
            "new network": {"params": "60%"},
            "another option": {"params": "60%", "routing": "learner"},
            "another budget": {"params": "55%", "routing": "learner"},
            "refused budget": {"params": 1000, "routing": "learner"},
        }
        row: dict[str, Any] = {"network": name}
        for what, compression in questions.items():
            question = {"backbone": {"name": name}, "compression": compression, "input_shape": [3, 224, 224]}
            begin = time.perf_counter()
            try:
                worker.ask("plan", question | {"classes": 1000})
            except Refusal as error:
                row["refused because"] = str(error)[:80]
            row[what] = round(time.perf_counter() - begin, 3)
        say(str(row))
        yield row
    worker.close()


def first_run() -> dict[str, float]:
    """Time "Try it" on the page Start of a new server: from the click until the run is finished, and the processor time of its process."""
    from tests.app.browser import browse, serve, settle

    with tempfile.TemporaryDirectory() as folder:
        home, processor_seconds = Path(folder), 0.0
        store = RunStore(home / "runs")
        with serve(home, home / "server.log") as url, browse() as (page, _):
            page.goto(url)
            settle(page)
            button = page.get_by_role("button", name="Try it")
            begin = time.perf_counter()
            button.click()
            while not (infos := store.list()) or not infos[0].is_final:
                page.wait_for_timeout(100)  # the browser goes on drawing
                if infos and infos[0].pid is not None:
                    with suppress(psutil.Error):
                        used = psutil.Process(infos[0].pid).cpu_times()
                        processor_seconds = used.user + used.system
            seconds = time.perf_counter() - begin
            (info,) = infos
            assert info.state == "finished", info
    row = {"seconds": round(seconds, 1), "processor seconds of the training": round(processor_seconds, 1)}
    say(str(row))
    return row


def pages() -> dict[str, Any]:
    """Time pages in a browser, on a server of its own with many runs and one large epitome."""
    from tests.app.browser import browse, serve, settle

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        store = RunStore(home / "runs")
        first = _run(store, "run 0", rows=ROWS)
        for number in range(1, RUNS):
            run_id = _run(store, f"run {number}", rows=0)
            shutil.copy(store.root / first / METRICS, store.root / run_id / METRICS)
        large = _run(store, "large epitome", rows=2, cells=CELLS)
        found: dict[str, Any] = {"runs": RUNS, "rows per run": ROWS, "cells of the epitome": CELLS**2}
        with serve(home, home / "server.log") as url, browse(width=1400) as (page, faults):
            for name, (path, drawn) in PAGES.items():
                begin = time.perf_counter()
                page.goto(f"{url}/{path}")
                settle(page)
                page.locator(drawn).first.wait_for()
                found[f"{name}, painted after s"] = round(time.perf_counter() - begin, 2)
            begin = time.perf_counter()
            page.goto(f"{url}/epitomes?run={large}")
            page.locator(".nes-explorer[data-drawn]").wait_for()
            found["Epitomes, a million cells, painted after s"] = round(time.perf_counter() - begin, 2)
            found["hover, pointer event to drawn frame, ms"] = _hover(page)
            assert not faults, faults
        say(str(found))
        return found


def _hover(page: Any) -> dict[str, float]:
    """Move the pointer over the weight, and read what the explorer measured inside the page."""
    node, weight = page.locator(".nes-explorer"), page.locator('[data-part="weight"]')
    box, times = weight.bounding_box(), []
    for place in np.random.default_rng(0).uniform(0.05, 0.95, size=(HOVERS, 2)):
        node.evaluate("node => { delete node.dataset.hoverMs; }")
        page.mouse.move(box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"])
        page.wait_for_function("document.querySelector('.nes-explorer').dataset.hoverMs")
        times.append(float(node.get_attribute("data-hover-ms")))
    return {"median": round(median(times), 1), "largest": max(times), "moves": HOVERS}


def _run(store: RunStore, label: str, rows: int, cells: int = 16) -> str:
    """Write a finished run by hand, with many rows of metrics and one layer."""
    run_id = store.create({"compression": {"madds": "60%"}}, label=label)
    random = np.random.default_rng(0)
    starts = (random.uniform(0, cells / 2, size=2), random.uniform(0, cells / 2, size=2))
    epitome = random.normal(size=(cells, cells)).astype(np.float32)
    shape, patch = (cells, cells), (cells // 2, cells // 2)
    with RunWriter(store, run_id) as writer:
        writer.snapshot(0, {"layer": LayerSnapshot("layer", epitome, starts, shape, shape, patch, routing="free")})
        for step in range(rows):
            writer.metric(step=step, split="train", loss=1 / (step + 1), top1=50.0)
        writer.summary(params=1000, madds=10_000, top1=50.0, best_top1=50.0)
        writer.status("finished", step=rows, total=rows)
    return run_id


if __name__ == "__main__":
    sys.exit(main())
