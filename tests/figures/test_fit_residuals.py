"""The picture of a fit shows the report's numbers."""

from __future__ import annotations

import json

import pytest

from nes_lab.errors import OptionError
from nes_lab.figures.fit_residuals import fit_residuals
from nes_lab.figures.theme import apply_theme, figure_json
from nes_lab.records.fit_report import FitReport, LayerFit


def _report(errors=True, layers=5):
    rows = [
        LayerFit(
            name=f"layer<{i}>.conv",
            routing="free",
            scope="separable",
            method="averages",
            starts="searched",
            norm="bn" if i % 2 else "",
            weight_energy=float(i + 1),
            residual_before=0.7,
            residual_after=0.1 * i,
            error_before=0.6 if errors and i else None,
            error_after=0.05 * i if errors and i else None,
            iterations=3,
            seconds=0.1,
        )
        for i in range(layers)
    ]
    return FitReport(tuple(rows), "search", False, 2, 0, 0, 1.0)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("errors", [False, True])
def test_fit_residuals_draws_residuals_in_percent(errors, dark):
    report = _report(errors)
    figure = apply_theme(fit_residuals(report.rows()), dark)
    spec = figure_json(figure)
    after = [t for t in figure.data if t.name == "fitted"]
    assert len(after) == (2 if errors else 1)
    assert list(after[0].x) == pytest.approx([0, 10, 20, 30, 40]) and list(after[0].y) == [0, 1, 2, 3, 4]
    if errors:
        assert list(after[1].x) == pytest.approx([5, 10, 15, 20]) and list(after[1].y) == [1, 2, 3, 4]
    assert f"{100 * report.residual:.1f} % after" in spec["layout"]["title"]["subtitle"]["text"]
    assert len(spec["layout"]["meta"]["alt"]) > 20 and spec["layout"]["uirevision"] == "keep"
    titles = [v.get("title", {}).get("text") for k, v in spec["layout"].items() if k[1:].startswith("axis")]
    assert sum(bool(t) for t in titles) >= 2
    assert "layer<0>" not in json.dumps(spec), "names are escaped"


def test_fit_residuals_stays_small_and_refuses_no_rows():
    assert len(json.dumps(figure_json(fit_residuals(_report(layers=300).rows())))) < 2_000_000
    with pytest.raises(OptionError, match="report has no rows"):
        fit_residuals([])
