"""Draw every page of the app into build/screenshots: light and dark, wide and narrow, with the bundled demo and one live run.

The pages are those that ``app/lab.py`` lists, so a new page is drawn without a change here. This needs Chromium.

Usage: ``python -m benchmarks.screenshots [page ...]``; by default all pages and the live run. ``--readme`` writes the picture of the
README, docs/images/epitomes.png, too.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "build" / "screenshots"
PICTURE = ROOT / "docs" / "images" / "epitomes.png"
WIDTHS = {"wide": 1440, "narrow": 390}
THEMES = ("light", "dark")
LIVE = "live"
"""Name of the picture of a run that trains."""

TALLEST, WINDOW = 6000, 900
SETTLE_MS, PATIENCE_MS = 1500, 240_000
DRAWN = ".js-plotly-plot .main-svg, .nes-explorer[data-drawn], .dvn-scroller, .stTextInput"
HEIGHT = "Math.ceil(document.querySelector('.stMainBlockContainer').getBoundingClientRect().height)"


def main() -> int:
    """Draw the pages that were asked for, and print where the pictures are."""
    words = [word for word in sys.argv[1:] if word != "--readme"]
    names = words or [*page_names(), LIVE]
    unknown = set(names) - {*page_names(), LIVE}
    if unknown:
        print(f"there is no page {sorted(unknown)}; there are {page_names()}", file=sys.stderr)
        return 2
    pictures = draw(names, TARGET)
    if "--readme" in sys.argv and "epitomes" in names:
        shrink(TARGET / "epitomes-light-wide.png", PICTURE)
    print(f"{len(pictures)} pictures in {TARGET}")
    return 0


def page_names() -> list[str]:
    """Return the names of the pages that the app has, in the order of its menu."""
    source = (ROOT / "app" / "lab.py").read_text(encoding="utf-8")
    return re.findall(r'st\.Page\("views/(\w+)\.py"', source)


def draw(names: list[str], target: Path) -> list[Path]:
    """Draw pages in all themes and widths.

    Args:
        names: Names of pages; ``live`` is a run that trains.
        target: Folder of the pictures.
    """
    from tests.app.browser import browse, serve

    target.mkdir(parents=True, exist_ok=True)
    pictures = []
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        with serve(home, home / "server.log") as url, browse() as (page, _):
            page.set_default_timeout(PATIENCE_MS)
            for name in (name for name in names if name != LIVE):
                address = f"{url}/{'' if name == 'start' else name}"
                pictures += [shoot(page, address, name, target, *look) for look in looks()]
            if LIVE in names:
                run = launch(home)
                pictures += [shoot(page, f"{url}/run?run={run.id}", LIVE, target, *look) for look in looks()]
                run.cancel()
                run.wait(60)
    return pictures


def looks() -> list[tuple[str, str]]:
    """Return all pairs of a theme and a width."""
    return [(theme, width) for theme in THEMES for width in WIDTHS]


def launch(home: Path) -> Any:
    """Start a run that trains for longer than the pictures take, and wait for its first measurements."""
    from nes_lab.config import load_config
    from nes_lab.experiment.train import train
    from nes_lab.recipes.registry import recipe

    os.environ["NES_LAB_HOME"] = str(home)
    tree = recipe("digits").tree()
    tree["training"] |= {"epochs": 200}
    run = train(load_config(tree | {"label": "a run that trains"}), detach=True, check=False)
    while not run.snapshot_steps()[2:] and run.state in ("queued", "running"):
        run.progress()
    return run


def shoot(page: Any, address: str, name: str, target: Path, theme: str, width: str) -> Path:
    """Draw one page, as high as its content is, and return the path of the picture."""
    from tests.app.browser import settle

    page.set_viewport_size({"width": WIDTHS[width], "height": WINDOW})
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.goto(address)
    settle(page)
    if name == "explain":  # it computes only when it is asked
        page.wait_for_timeout(SETTLE_MS)
        page.get_by_role("button", name="Explain").click()
    page.locator(DRAWN).first.wait_for()
    page.wait_for_timeout(SETTLE_MS)
    height = min(max(page.evaluate(HEIGHT), WINDOW), TALLEST)
    page.set_viewport_size({"width": WIDTHS[width], "height": height})
    page.wait_for_timeout(SETTLE_MS)
    path = target / f"{name}-{theme}-{width}.png"
    page.screenshot(path=str(path))
    return path


def shrink(source: Path, target: Path) -> None:
    """Write a picture with 128 colors, which is small enough for the repository."""
    Image.open(source).convert("RGB").quantize(128).save(target, optimize=True)


if __name__ == "__main__":
    raise SystemExit(main())
