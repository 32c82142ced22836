"""The panel of the accuracy study: one network at a time, one line per contender, and no first looks."""

from __future__ import annotations

from typing import Any

import pytest

from nes_lab.errors import OptionError
from nes_lab.figures.measured_study import measured_study, studied_networks
from nes_lab.records import measured_accuracy


def row(network: str, contender: str, madds: float, top1: list[float], **more: Any) -> dict[str, Any]:
    return {"network": network, "data": "CIFAR-10", "contender": contender, "madds": madds, "top1": top1, **more}


ROWS = [
    row("ResNet-14", "width", 13e6, [79.0, 79.4]),
    row("ResNet-14", "width", 6e6, [74.0, 76.0], stored_bytes=170_000),
    row("ResNet-14", "tiled epitomes on both axes", 13e6, [80.0]),
    row("MobileNetV2", "width", 40e6, [70.0]),
]


def test_a_line_joins_the_budgets_of_a_contender_of_one_network() -> None:
    traces = measured_study(rows=ROWS).to_dict()["data"]
    assert [trace["name"] for trace in traces] == ["narrower network", "tiled epitomes on both axes"]
    assert list(traces[0]["x"]) == [6e6, 13e6] and list(traces[0]["y"]) == [75.0, 79.2]
    assert list(traces[0]["error_y"]["array"]) == pytest.approx([2**0.5, 0.2828], abs=1e-3)
    assert studied_networks(ROWS) == ["ResNet-14 on CIFAR-10", "MobileNetV2 on CIFAR-10"]
    (other,) = measured_study("MobileNetV2 on CIFAR-10", rows=ROWS).to_dict()["data"]
    assert list(other["y"]) == [70.0]


def test_costs_that_rows_lack_are_left_out_and_said() -> None:
    (trace,) = measured_study(cost="stored_bytes", rows=ROWS).to_dict()["data"]
    assert list(trace["x"]) == [170_000]
    assert "The study has no params yet." in str(measured_study(cost="params", rows=ROWS).layout)
    assert "The study has no rows yet." in str(measured_study(rows=[]).layout)


def test_an_unknown_network_or_cost_is_refused_by_name() -> None:
    with pytest.raises(
        OptionError, match="network='VGG'; the study has 'ResNet-14 on CIFAR-10', 'MobileNetV2 on CIFAR-10'"
    ):
        measured_study("VGG", rows=ROWS)
    with pytest.raises(OptionError, match="cost"):
        measured_study(cost="watts", rows=ROWS)


def test_first_looks_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (ROWS[0] | {"status": "first look"}, ROWS[2] | {"status": "study cpu"})
    monkeypatch.setattr(measured_accuracy, "measured", lambda: rows)
    (trace,) = measured_study().to_dict()["data"]
    assert trace["name"] == "tiled epitomes on both axes"
