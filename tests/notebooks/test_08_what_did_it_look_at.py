"""Notebook 08 compares what networks look at, and says whether its predictions came true."""

import re

import pytest

from docs.site.executed import executed
from tests.notebooks.places import FOLDER
from tests.notebooks.test_notebooks import figures, printed


@pytest.mark.slow
def test_notebook_what_did_it_look_at_prints_and_draws_what_it_promises():
    notebook = executed(FOLDER / "08_what_did_it_look_at.ipynb")
    text = printed(notebook)
    accuracy = {
        name: float(value)
        for name, value in re.findall(r"^([\w -]+): ([\d.]+) % of the validation", text, re.MULTILINE)
    }
    assert list(accuracy) == ["dense", "other seed", "fitted", "fine-tuned"] and accuracy["dense"] > 90
    assert (
        len(
            re.findall(
                r"^(?:integrated_gradients|gradcam|occlusion): .* (?:as predicted|not as predicted) \(",
                text,
                re.MULTILINE,
            )
        )
        == 6
    )
    assert "the maps are right about their networks" in text and "right after the fit" in text
    maps, curves = figures(notebook)
    assert len(maps["layout"]["images"]) == 6 and len(curves["data"]) == 6
    assert "Warning" not in text
