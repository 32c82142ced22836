"""Draw docs/images/watch.png: `nes-lab watch` with real runs on digits, in a wide and a narrow terminal.

This needs Chromium and takes about a minute.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops
from rich.console import Console

from nes_lab.cli.watch import Watcher
from nes_lab.config import load_config
from nes_lab.runs import launcher
from nes_lab.runs.info import RunInfo
from nes_lab.runs.replace import write_target
from nes_lab.runs.store import RunStore

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "watch.png"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
    "--no-first-run",
]


def main() -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("neither chromium nor google-chrome is on PATH")
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder) / "runs")
        pages = pictures(store)
        page = Path(folder) / "page.html"
        write_target(
            page,
            "<body style='margin:8px;background:white;display:flex;flex-direction:column;gap:8px'>" + "".join(pages),
        )
        shot = [f"--screenshot={PICTURE}", "--window-size=1240,1400", f"file://{page}"]
        subprocess.run([browser, *FLAGS, *shot], check=True, capture_output=True)
    crop(PICTURE)


def crop(path: Path, margin: int = 8) -> None:
    """Crop the white space below the drawing."""
    picture = Image.open(path).convert("RGB")
    box = ImageChops.difference(picture, Image.new("RGB", picture.size, "white")).getbbox()
    assert box is not None, "nothing was drawn"
    picture.crop((0, 0, picture.width, min(picture.height, box[3] + margin))).save(path, optimize=True)


def pictures(store: RunStore) -> list[str]:
    """Make runs that finish, fail, are killed, train and wait; return pictures of two terminals that show them."""
    begin(store, "dense", lambda info: info.state == "finished", compression=None, epochs=8)
    begin(
        store, "no images", lambda info: info.state == "failed", data={"name": "image_folder", "root": "/data/photos"}
    )
    begin(store, "killed", lambda info: info.step > 30)
    os.kill(store.list()[0].pid or 0, signal.SIGKILL)
    at_work, waiting = (store.create(config(epochs=60), label=text) for text in ("free starts", "waits for its turn"))
    try:
        launcher.launch(store, at_work)
        launcher.launch(store, waiting)
        until(store, at_work, lambda info: info.step > 300)
        wide = screen(Watcher(store, []), 132, "nes-lab watch")
        narrow = screen(Watcher(store, [at_work]), 60, f"nes-lab watch {at_work[-6:]}")
    finally:
        launcher.cancel(store, waiting)
        launcher.cancel(store, at_work)
        until(store, at_work, lambda info: info.state == "cancelled")
        time.sleep(1.0)
    return [f"<div style='width:1220px'>{wide}</div>", f"<div style='width:620px'>{narrow}</div>"]


def config(**training: Any) -> dict[str, Any]:
    compression = training.pop("compression", {"madds": "60%", "routing": "free"})
    data = training.pop("data", {})
    training = {"threads": 1, "epochs": 20, "log_every_steps": 4} | training
    return load_config({"data": data, "compression": compression, "training": training}).to_dict()


def begin(store: RunStore, label: str, far_enough: Callable[[RunInfo], bool], **training: Any) -> str:
    run_id = store.create(config(**training), label=label)
    launcher.launch(store, run_id)
    until(store, run_id, far_enough)
    return run_id


def until(store: RunStore, run_id: str, what: Callable[[RunInfo], bool]) -> None:
    end = time.monotonic() + 300
    while not what(info := store.get(run_id)):
        if time.monotonic() > end or info.state in ("lost", "failed", "finished"):
            raise SystemExit(f"{info}\n{store.log_tail(run_id)}")
        time.sleep(0.1)


def screen(watcher: Watcher, width: int, title: str) -> str:
    console = Console(width=width, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(watcher.frame(width, 40))
    return console.export_svg(title=title)


if __name__ == "__main__":
    main()
