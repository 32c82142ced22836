"""Every notebook is one text in two files, carries no outputs, and runs from top to bottom."""

from __future__ import annotations

import re

import jupytext
import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from docs.site.executed import execute, executed
from tests.notebooks.places import FOLDER, SOURCES

PAIRING = "run .venv/bin/jupytext --update --to ipynb notebooks/{0}.py && .venv/bin/nbstripout notebooks/{0}.ipynb"
IDS = {"ids": lambda path: path.stem}


def cells(notebook):
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def printed(notebook):
    """All text that the cells printed or showed."""
    texts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            texts.append(output.get("text") or data.get("text/markdown") or data.get("text/plain", ""))
    return "\n".join(texts)


def figures(notebook):
    """The plotly figures of a notebook, without those inside widgets."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    specs = [
        output.data.get("application/vnd.plotly.v1+json")
        for output in outputs
        if "data" in output and "application/vnd.jupyter.widget-view+json" not in output.data
    ]
    return [spec for spec in specs if spec is not None]


@pytest.fixture(scope="module")
def by_hand():
    return executed(FOLDER / "01_epitome_by_hand.ipynb")


def test_notebooks_exist():
    assert [path.stem for path in SOURCES][:1] == ["01_epitome_by_hand"]
    assert {path.stem for path in SOURCES} == {path.stem for path in FOLDER.glob("[0-9]*.ipynb")}


def test_the_landing_notebook_lists_every_notebook():
    """``make lab`` opens it. Its titles are those of the notebooks."""
    text = (FOLDER / "index.py").read_text()
    listed = {name: " ".join(title.split()) for title, name in re.findall(r"\[(\d\d · [^]]+)\]\((\w+)\.ipynb\)", text)}
    assert list(listed) == sorted(listed)
    assert {path.stem for path in SOURCES} == set(listed), "list it in notebooks/index.py, then pair the files again"
    for path in SOURCES:
        assert f"# # {listed[path.stem]}" in path.read_text().splitlines()


@pytest.mark.parametrize("source", [*SOURCES, FOLDER / "index.py"], **IDS)
def test_notebooks_and_their_python_files_hold_the_same_cells(source):
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    assert cells(jupytext.read(source)) == cells(notebook), PAIRING.format(source.stem)
    assert notebook.metadata.jupytext.formats == "ipynb,py:percent"


@pytest.mark.parametrize("source", SOURCES, **IDS)
def test_notebooks_begin_with_their_own_title_and_have_no_other(source):
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    markdown = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    titles = re.findall(r"^# .*", markdown, re.MULTILINE)
    assert titles == [notebook.cells[0].source.partition("\n")[0]]
    assert titles[0].startswith(f"# {source.stem[:2]} · ")


@pytest.mark.parametrize("source", [*SOURCES, FOLDER / "index.py"], **IDS)
def test_notebooks_are_valid_and_without_output(source):
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(notebook)
    dirty = [c.source for c in notebook.cells if c.get("outputs") or c.get("execution_count") is not None]
    assert not dirty, PAIRING.format(source.stem)
    assert "widgets" not in notebook.metadata


def test_notebook_by_hand_runs_and_prints_what_it_promises(by_hand):
    code = [cell for cell in by_hand.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    text = printed(by_hand)
    assert "weight: [0.5   1.5   3.    2.75  1.75  0.625]" in text
    assert "the same at 101 starts" in text
    assert re.search(r"start 1\.2 -> 3\.39\d\d, loss 4\.705 -> ", text)
    assert "start 0.0 -> 0.0000" in text
    assert "equal to the dense convolution under: materialize, factored, wrapped" in text
    assert "errors" not in text and "Warning" not in text


def test_notebook_by_hand_counts_the_cost_of_its_executions(by_hand):
    # 3x3 on 12 x 12: dense 144*9*16*32; factored 144*9*8*16 + 2*(16 + 32)*144 for fractional starts; snapped without.
    text = printed(by_hand)
    assert "| dense convolution | 4,640 | 100% | 663,552 | 100% |" in text
    assert "| factored | 1,192 | 26% | 179,712 | 27% |" in text
    assert "madds now 165,888, for the plan factored" in text


def test_notebook_by_hand_says_what_is_stored_and_when_nothing_is_saved(by_hand):
    text = printed(by_hand)
    assert "| cells of the epitome | 1152 |" in text and "| **in total** | **1,192** |" in text
    assert "fold 4,608 + convolve 165,888 + expand 9,216 = 179,712" in text and "as predicted" in text
    assert "rank of the 32 x 144 weight: separable 16, joint 32" in text
    # 4 channels, 1x1: 2 x 2 products, 2 x 4 to fold and 2 x 4 to expand, against 4 x 4
    for row in (
        "very thin layer, fractional starts | 125%",
        "depthwise | 100%",
        "joint scope | 100%",
        "patches of one channel | 27%",
    ):
        assert f"| {row} |" in text
    assert "a tiled layer is a narrower layer with copied channels" in text


def test_notebook_by_hand_draws_its_figures(by_hand):
    titles = [spec["layout"]["title"]["text"] for spec in figures(by_hand)]
    assert titles == [
        "2 patches read from 8 cells",
        "A patch and its gradient over all starts",
        "A start learned by gradient descent",
        "A start learned by gradient descent",
        "Epitome of conv",
        "One patch of conv",
        "Routing map of conv",
        "Coverage of conv",
        "One patch of joint",
        "Steps of computing the layer",
    ]
    assert all(spec["data"] for spec in figures(by_hand))
    widgets = [
        o
        for c in by_hand.cells
        for o in c.get("outputs", ())
        if "application/vnd.jupyter.widget-view+json" in o.get("data", {})
    ]
    assert len(widgets) == 3, "the slider, the playground and the explorer"


def test_notebook_runner_notices_a_failing_cell():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("assert 1 == 2, 'not equal'")])
    with pytest.raises(CellExecutionError, match="not equal"):
        execute(notebook)
