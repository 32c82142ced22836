"""nes_lab.fit fits a shared epitome once, to all layers that read it, and reports the residual of each."""

from __future__ import annotations

import pytest
import torch

import nes_lab
from nes_lab.nn.flat_fit import FlatFit
from tests.shared_epitomes import dense_net, owners

X = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("share", ["layer", "network"])
@pytest.mark.parametrize("snap", [False, True])
def test_fit_reports_the_residual_of_every_layer(share: str, snap: bool) -> None:
    model = dense_net().eval()
    budget = nes_lab.Budget(params="85%")
    plan = nes_lab.plan_for_budget(model, budget, X[:1], share=share, windows=2, routing="free", snap=snap)
    student, report = nes_lab.fit(model, plan, search_starts=True)
    assert [layer.name for layer in report.layers] == ["0", "2", "7"]
    assert owners(student) == len(plan.epitomes)
    assert nes_lab.count(student, X[:1]).counts == plan.predicted
    for layer in report.layers:
        weight, sampled = (net.get_submodule(layer.name).weight for net in (model, student))
        error = ((weight - sampled).norm() / weight.norm()).item()
        assert layer.residual_after == pytest.approx(error, abs=1e-4) and layer.residual_after < layer.residual_before
        assert layer.starts == "searched"
        assert layer.method == "alternating least squares" and layer.iterations >= 1
    assert report.verified


@pytest.mark.parametrize(
    "params", ["85%", "45%"]
)  # of few cells, the plan's starts are fitted only when the search has lost
def test_the_report_says_that_the_plans_starts_were_kept(params: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(maps, targets, *rest):
        return list(maps), FlatFit(torch.zeros(1), (), (), (float("inf"),))

    model = dense_net().eval()
    options = {"share": "network", "windows": 2, "routing": "free", "overrides": {"2": {"routing": "tiled"}}}
    for given in (options, {**options, "overrides": {}}):
        plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params=params), X[:1], **given)
        kept, without = nes_lab.fit(model, plan)
        with monkeypatch.context() as patch:
            patch.setattr("nes_lab.fitting.flat_epitomes.search_flat_starts", lose)
            net, report = nes_lab.fit(model, plan, search_starts=True)
        assert torch.equal(net.eval()(X), kept.eval()(X)) and report.residual == without.residual
        said = [layer.starts for layer in report.layers]
        assert said[0] == said[2] == "plan; the search found none better"
        assert ("search" not in said[1]) == bool(given["overrides"])


def test_calibration_corrects_the_mean_of_outputs() -> None:
    model = dense_net().eval()
    plan = nes_lab.plan_for_budget(
        model, nes_lab.Budget(params="50%"), X[:1], share="network", windows=2, routing="random"
    )
    with_data, without = (nes_lab.fit(model, plan, calibration=c)[0].eval() for c in ([X], None))
    errors = [(net(X) - model(X)).mean(0).norm() for net in (with_data, without)]
    assert errors[0] < 0.5 * errors[1]
    report = nes_lab.fit(model, plan, calibration=[X])[1]
    assert all(layer.error_after is not None and layer.error_after < 1 for layer in report.layers)
