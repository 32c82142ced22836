"""Notebook 08 compares what networks look at, and says whether its predictions came true."""

import json
import re

import pytest

from docs.site.executed import executed
from tests.house.tree import ROOT
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


def test_prose_repeats_the_committed_comparison_of_ways_to_size_layers():
    rows = json.loads((ROOT / "benchmarks" / "results" / "fit_sizes.json").read_text())["rows"]
    kept = {name: f"{row['norms']:.1f} %" for name, row in rows.items()}
    notebook = (FOLDER / "08_what_did_it_look_at.py").read_text()
    text = " ".join(notebook.replace("\n# ", " ").split())
    assert (
        f"{kept['weighed']} for the weighed plan, {kept['searched']} by residuals alone, {kept['loss']} by the loss on labeled "
        f"images, and {kept['uniform']} for one ratio"
    ) in text
    guide = " ".join((ROOT / "docs" / "attribution.md").read_text().split())
    times = rows["weighed"]["madds"] / rows["uniform"]["madds"]
    assert f"takes {times:.2f} times the multiply-adds" in guide
    assert f"keep least ({kept['loss']}, against {kept['uniform']} with one ratio)" in guide
    assert min(rows, key=lambda name: rows[name]["norms"]) == "loss"
