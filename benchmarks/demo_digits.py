"""Train epitome networks and narrower networks of equal multiply-adds on handwritten digits, and draw the README's picture.

This runs the demo in a temporary folder and writes its numbers to results/demo_digits.json. If Chromium is installed, it draws
docs/images/accuracy_vs_madds.png. ``--redraw`` only draws the picture.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from nes_lab.figures.accuracy_vs_madds import accuracy_vs_madds
from nes_lab.figures.report import Section, report_html
from nes_lab.progress_bar import ProgressEvent
from nes_lab.runs.replace import write_target

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "demo_digits.json"
PICTURE = HERE.parent / "docs" / "images" / "accuracy_vs_madds.png"
WIDTH, HEIGHT, TOP = 900, 640, 140  # TOP: height of the heading above the figure, which is cut off
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run")
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--virtual-time-budget=8000",
)


def measure() -> None:
    from nes_lab.experiment.demo import run_demo
    from nes_lab.runs.store import RunStore

    with tempfile.TemporaryDirectory() as folder:
        result = run_demo(RunStore(Path(folder) / "runs"), seeds=3, on_progress=print_progress)
        results = json.loads(result.results.read_text(encoding="utf-8"))
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=HERE, check=True).stdout
    results["facts"] |= {"commit": commit.strip(), "script": "benchmarks/demo_digits.py"}
    RESULTS.parent.mkdir(exist_ok=True)
    write_target(RESULTS, json.dumps(results, indent=1) + "\n")


def print_progress(event: ProgressEvent) -> None:
    left = event.get("seconds_left")
    estimate = "" if left is None else f", {left:.0f} s left"
    print(f"\r{event.get('finished')} of {event['total']} runs{estimate}    ", end="", flush=True)


def draw() -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("neither chromium nor google-chrome is on PATH: the picture was not drawn", file=sys.stderr)
        return
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["runs"]
    with tempfile.TemporaryDirectory() as folder:
        page, shot = Path(folder) / "page.html", Path(folder) / "shot.png"
        write_target(page, report_html("", [Section("", figure=accuracy_vs_madds(rows))]))
        size = f"--window-size={WIDTH},{HEIGHT + TOP}"
        command = [
            browser,
            *FLAGS,
            *QUIET,
            f"--user-data-dir={folder}/profile",
            size,
            f"--screenshot={shot}",
            page.as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        crop(shot, PICTURE)


def crop(shot: Path, picture: Path) -> None:
    from PIL import Image

    picture.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(shot) as image:
        image.crop((0, TOP, image.width, TOP + HEIGHT - 96)).convert("P", palette=Image.Palette.ADAPTIVE).save(
            picture, optimize=True
        )


if __name__ == "__main__":
    if "--redraw" not in sys.argv:
        measure()
    draw()
