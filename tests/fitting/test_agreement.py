"""Fitted against dense: what the report says of outputs, for networks that still know all, little, or no classes at all."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab import Budget
from nes_lab.fitting.agreement import LARGEST_ERROR, measure_agreement
from nes_lab.records.fit_report import FitReport
from tests.fitting.networks import batches, full_size_plan, network, output_error, plan


class Named(nn.Module):
    """Returns its logits in a dict, beside a tensor of integers that is no output to compare."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.net(x)
        return {"classes": logits.argmax(1), "logits": logits}


def test_fit_reports_that_outputs_agree_if_epitomes_are_as_large_as_weights() -> None:
    _, report = nes_lab.fit(network(), full_size_plan("free"), calibration=batches(40), verify=False)
    assert (report.agreement, report.compared_examples) == (1.0, 512)
    assert report.output_error is not None and report.output_error < 1e-4 and not report.needs_training
    assert "same top-1 prediction as the dense network for 100.0 % of 512 examples" in report.comparison


@pytest.mark.parametrize("argument", ["calibration", "norms"])
def test_fit_says_train_it_if_the_network_knows_little(argument: str) -> None:
    x, net = torch.cat(batches()), copy.deepcopy(network())
    with torch.no_grad():
        net[9].bias -= net(x).mean(0)  # otherwise the bias decides, and every network predicts the same class
    student, report = nes_lab.fit(net, plan("40%"), **{argument: batches()})
    with torch.no_grad():
        same = (student(x).argmax(1) == net(x).argmax(1)).double().mean()
    assert report.agreement == pytest.approx(float(same)) and report.agreement < 0.9
    assert report.output_error == pytest.approx(output_error(net, student, x), rel=1e-4)
    for text in (str(report), repr(report), report._repr_html_()):
        assert "Train it before use" in text
    assert FitReport.from_json(report.to_json()) == report


def test_fit_without_batches_says_that_agreement_is_not_measured() -> None:
    _, report = nes_lab.fit(network(), plan("40%"))
    assert report.agreement is None and report.output_error is None and not report.needs_training
    assert "agreement with the dense network: not measured" in str(report)
    old = {k: v for k, v in report.to_dict().items() if k not in ("agreement", "output_error", "compared_examples")}
    assert FitReport.from_dict(old) == report


def test_measure_agreement_of_outputs_that_are_not_finite_is_as_bad_as_it_can_be() -> None:
    nothing, broken = nn.Identity(), nn.Hardtanh(float("-inf"), float("inf"))
    for dense, x in ((nothing, torch.full((2, 3), float("nan"))), (broken, torch.full((2, 3), float("inf")))):
        assert measure_agreement(dense, nothing, "norms", [x], lambda event: None).output_error == LARGEST_ERROR


def test_fit_reads_an_iterator_once_and_compares_its_first_batches() -> None:
    reports = [nes_lab.fit(network(), plan("40%"), calibration=given)[1] for given in (batches(40), iter(batches(40)))]
    assert reports[0].calibration_batches == reports[1].calibration_batches == 40
    assert reports[0].agreement == reports[1].agreement and reports[1].compared_examples == 512


def test_fit_compares_outputs_in_a_dict_and_outputs_that_are_no_classes() -> None:
    x = batches(2)
    of_layers = {f"net.{name}": layer for name, layer in plan("40%").to_dict()["layers"].items()}
    named = nes_lab.CompressionPlan.from_dict(
        plan("40%").to_dict() | {"layers": of_layers, "order": [], "epitomes": {}}
    )
    expected, report = (
        nes_lab.fit(net, p, calibration=x)[1] for net, p in ((network(), plan("40%")), (Named(), named))
    )
    assert report.agreement == expected.agreement
    maps = nn.Sequential(*list(network())[:7]).eval()
    small_plan = nes_lab.plan_for_budget(maps, Budget(params="30%"), x[0], round_to=2)
    student, report = nes_lab.fit(maps, small_plan, calibration=x)
    assert report.agreement is None and not report.needs_training
    assert replace(report, output_error=0.31).needs_training
    assert report.output_error == pytest.approx(output_error(maps, student, torch.cat(x)), rel=1e-4)
