"""A notebook in a real JupyterLab, driven by a real browser: figures are painted, the slider moves them."""

from __future__ import annotations

import json

import pytest

from tests.app.browser import browse
from tests.notebooks.lab import open_notebook, run_all, save, serve_lab
from tests.notebooks.places import FOLDER

NOTEBOOK = FOLDER / "01_epitome_by_hand.ipynb"
SLIDER = ".jupyter-widgets .noUi-handle"
READOUT = ".jupyter-widgets .widget-readout"


def bars(page):
    """Outlines of the bars of the filter and of its gradient, as the explorer's plot has painted them."""
    plot = page.locator(".jp-OutputArea-output:has(.noUi-handle) .js-plotly-plot")
    painted = ".bars .point path"
    return plot.evaluate(
        "(plot, painted) => [...plot.querySelectorAll(painted)].map(p => p.getAttribute('d'))", painted
    )


@pytest.mark.slow
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
        page.wait_for_timeout(1500)  # the kernel reads the patch, the plot is painted again
        inside = bars(page)
        cells, values, slopes = slice(0, 8), slice(8, 11), slice(11, 14)
        assert inside[cells] == before[cells]
        assert inside[values] != before[values], "the filter follows the start"
        assert inside[slopes] == before[slopes], "its gradient is constant inside a cell"
        for _ in range(14):
            slider.press("ArrowRight")
        page.wait_for_timeout(1500)
        assert page.locator(READOUT).inner_text() == "4.00"
        assert bars(page)[slopes] != before[slopes], "another cell has another gradient"
        assert not faults
