"""A notebook in a real JupyterLab, driven by a real browser: saving, dragging, linked selection, themes, a narrow window."""

from __future__ import annotations

import json
import re

import pytest

from tests.app.browser import browse
from tests.notebooks.lab import open_notebook, run_all, run_new_cell, save, serve_lab, set_theme
from tests.notebooks.places import FOLDER

NOTEBOOK = FOLDER / "01_epitome_by_hand.ipynb"
SLIDER = ".jupyter-widgets .noUi-handle"
READOUT = ".jupyter-widgets .widget-readout"
LATE = "error: [anywidget] Failed to initialize model."
"""What anywidget says when a busy browser needs more than 2 s to load a widget, which is drawn all the same."""


def bars(page):
    """Outlines of the bars of the filter and of its gradient, as the explorer's plot has painted them."""
    plot = page.locator(".jp-OutputArea-output:has(.noUi-handle) .js-plotly-plot")
    painted = ".bars .point path"
    return plot.evaluate(
        "(plot, painted) => [...plot.querySelectorAll(painted)].map(p => p.getAttribute('d'))", painted
    )


@pytest.mark.slow
@pytest.mark.timeout(600)  # a minute on an idle machine
@pytest.mark.browser
def test_notebook_by_hand_runs_in_jupyterlab(tmp_path):
    count = sum(cell["cell_type"] == "code" for cell in json.loads(NOTEBOOK.read_text())["cells"])
    with serve_lab(NOTEBOOK, tmp_path) as address, browse() as (page, faults):
        open_notebook(page, address)
        save(page)
        for kind in (".ipynb", ".py"):
            saved = tmp_path / "notebooks" / NOTEBOOK.with_suffix(kind).name
            assert saved.read_text() == NOTEBOOK.with_suffix(kind).read_text(), "saving it unchanged changes no file"
        run_all(page, count)
        assert not page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count()
        page.locator(".jp-Cell", has_text="2. Drag the start").first.scroll_into_view_if_needed()
        slider = page.locator(SLIDER)
        slider.scroll_into_view_if_needed()
        page.wait_for_selector(".jp-OutputArea-output:has(.noUi-handle) .bars .point path", state="attached")
        assert page.locator(READOUT).inner_text() == "3.25"
        before = bars(page)
        slider.focus()
        slider.press("ArrowRight")
        page.wait_for_function(
            "([readout, text]) => document.querySelector(readout).textContent === text", arg=[READOUT, "3.30"]
        )
        for _ in range(40):  # the kernel reads the patch, the plot is painted again
            page.wait_for_timeout(500)
            inside = bars(page)
            if inside != before:
                break
        cells, values, slopes = slice(0, 8), slice(8, 11), slice(11, 14)
        assert inside[cells] == before[cells]
        assert inside[values] != before[values], "the filter follows the start"
        assert inside[slopes] == before[slopes], "its gradient is constant inside a cell"
        for _ in range(14):
            slider.press("ArrowRight")
        for _ in range(40):
            page.wait_for_timeout(500)
            if page.locator(READOUT).inner_text() == "4.00" and bars(page)[slopes] != before[slopes]:
                break
        assert page.locator(READOUT).inner_text() == "4.00"
        assert bars(page)[slopes] != before[slopes], "another cell has another gradient"
        check_explorer(page)
        check_budgets(page)
        set_theme(page, "JupyterLab Dark")
        page.wait_for_timeout(2000)
        assert ink(page, ".nes-plot .xtick text") > 200, "figures of widgets have light letters in the dark theme"
        page.set_viewport_size({"width": 820, "height": 1000})
        page.wait_for_timeout(1500)
        assert not cut_off(page), "nothing is cut off in a narrow window"
        assert not [fault for fault in faults if fault != LATE]  # a module with a mistake says something else too


EXPLORER = """import nes_lab
layer = nes_lab.EpitomeLinear(16, 32, epitome_shape=(16, 8), patch_channels=(8, 4), routing="stride")
nes_lab.widgets.EpitomeExplorer(layer)"""
BUDGETS = """import torch
network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 64))
nes_lab.widgets.BudgetExplorer(network, torch.zeros(1, 64))"""


def check_explorer(page):
    """Point at a patch of the weight: the window in the epitome follows. A click keeps the patch."""
    cell = run_new_cell(page, EXPLORER)
    weight, epitome = (cell.locator(f"canvas[data-part={name}]") for name in ("weight", "epitome"))
    weight.wait_for()
    weight.hover(position={"x": 5, "y": 5})
    first, words = epitome.get_attribute("aria-label"), cell.locator("[data-part=words]").inner_text()
    box = weight.bounding_box()
    weight.hover(position={"x": box["width"] - 5, "y": box["height"] - 5})
    cell.locator("canvas[aria-label*='Patch 3, 3 is chosen']").wait_for()
    assert epitome.get_attribute("aria-label") != first, "the window in the epitome follows"
    assert cell.locator("[data-part=words]").inner_text() != words, "the words follow"
    weight.click(position={"x": 5, "y": 5})
    cell.locator("[data-part=release]").wait_for()  # a click keeps the patch


def check_budgets(page):
    """Drag the point in the plane: the kernel plans, and the sliders follow."""
    cell = run_new_cell(page, BUDGETS)
    point = cell.locator(".nes-handle[aria-label^=plan]")
    point.wait_for()
    readouts = cell.locator(".widget-readout")
    before = readouts.all_inner_texts()
    point.press("ArrowDown")
    point.press("Shift+ArrowDown")
    page.wait_for_function(
        "([cell, before]) => cell.querySelector('.widget-readout').textContent !== before",
        arg=[cell.element_handle(), before[0]],
    )
    assert float(readouts.first.inner_text()) < 100, "the params have a limit now"


def ink(page, letters):
    """How light letters are, from 0 to 255."""
    color = page.locator(letters).last.evaluate("node => getComputedStyle(node).fill")
    return sum(int(part) for part in re.findall(r"\d+", color)[:3]) / 3


def cut_off(page):
    """Widgets on the screen, and parts of them, that reach beyond the right edge of the notebook."""
    return page.evaluate(
        """() => {
          const edge = document.querySelector(".jp-Notebook").getBoundingClientRect().right;
          const parts = document.querySelectorAll(".nes-plot, .nes-ex section, .widget-readout, .nes-handle");
          return [...parts].filter((part) => part.getBoundingClientRect().right > edge + 1).map((part) => part.className);
        }"""
    )
