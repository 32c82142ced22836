"""No maths in app/ and notebooks/: they show what the library computes."""

import pytest

from tests.house.thin import COMPUTING, offences
from tests.house.tree import ROOT

APP = sorted((ROOT / "app").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
# A story may make a tensor, an image or a model; figures and metrics it asks the library for.
IN_NOTEBOOKS = COMPUTING - {"torch", "timm", "numpy"}


def test_there_is_an_app_to_check():
    assert (ROOT / "app" / "main.py") in APP


@pytest.mark.parametrize("path", APP, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_app_computes_nothing(path):
    assert not offences(path.read_text(encoding="utf-8"))


def test_notebooks_define_and_compute_nothing():
    found = {}
    for path in NOTEBOOKS:
        if not path.name.startswith("01_"):  # 01 does it all by hand, on purpose
            found[path.name] = offences(path.read_text(encoding="utf-8"), computing=IN_NOTEBOOKS, may_define=False)
    assert not any(found.values()), found


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "from numpy import mean",
        "def f():\n    import plotly.express as px",
        "import captum.attr as a",
        "saved = dense - small",
        "share = 100 * small / dense",
        "ratio = small / dense",
        "x = y ** 2",
        "total += madds",
        "mean = sum(values) // 3",
        "millions = madds * 1e-6",
        "shown = madds / 1000",
    ],
)
def test_maths_is_noticed(source):
    assert offences(source)


@pytest.mark.parametrize(
    "source",
    [
        "column = columns[index % 3]",
        "page = page + 1",
        "half = len(rows) // 2",
        "text = 'a' + name + 'b'",
        "path = ROOT / 'views' / 'run.py'",
        "choices = ['all'] + names",
        "kind: int | None = None",
        "label = f'{done} of {total}'",
        "import streamlit as st\nfrom nes_lab.figures.layer_bars import layer_bars",
    ],
)
def test_layout_is_allowed(source):
    assert not offences(source)


@pytest.mark.parametrize("source", ["def f(): pass", "class A: pass", "f = lambda x: x"])
def test_definitions_are_noticed_where_they_are_not_allowed(source):
    assert offences(source, may_define=False) and not offences(source)
