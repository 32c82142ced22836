"""``optimize``: every form computes the same, and the fastest one that is allowed is returned. Times are scripted where one is chosen."""

from __future__ import annotations

import copy
import pickle
import sys

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.errors import OptionError
from nes_lab.models import compiled, fast_forms
from nes_lab.models.compiled import CompiledNetwork
from nes_lab.records.optimize_report import FORMS

OPTIMIZE = sys.modules["nes_lab.models.optimize"] if nes_lab.optimize else None
QUICK = ["eager", "onnx", "materialized"]


def _net() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    dense = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 24, 1),
        nn.Flatten(),
        nn.Linear(384, 10),
    )
    x = torch.randn(2, 3, 4, 4)
    dense(x)  # statistics of the norm
    return nes_lab.compress(dense.eval(), madds="60%", example_input=x[:1], round_to=4), x


@pytest.fixture
def clock(monkeypatch):
    def use(**ms):
        def rounds(contenders, device, seconds, **options):
            for call in contenders.values():
                call()
            given = {name: ms.get(name.replace(", ", "_"), 9.0) for name in contenders}
            return {n: list(t) if isinstance(t, list) else [t] * 11 for n, t in (given | {"as given": 4.0}).items()}

        monkeypatch.setattr(OPTIMIZE, "time_rounds", rounds)

    return use


def test_every_form_computes_the_same_and_the_network_stays(clock, tmp_path):
    net, x = _net()
    before = copy.deepcopy(net.state_dict())
    expected = net(x)
    for name in QUICK:
        clock(**{name: 1.0})
        fast, report = nes_lab.optimize(net, x, keep_madds=False, seconds=0.1, forms=QUICK)
        assert report.chosen == report.fastest == name and "chosen" in str(report)
        for form in (fast, copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):  # noqa: S301
            assert torch.allclose(form(x), expected, atol=1e-5) and not form.training
        assert nes_lab.OptimizeReport.from_json(report.to_json()) == report
        if name == "onnx":
            assert not fast(x).requires_grad
            assert fast.session.get_inputs()[0].shape[1:] == [3, 4, 4]
            entry = fast.session.get_session_options().get_session_config_entry("session.intra_op.allow_spinning")
            assert entry == "0"  # else it holds the cores while the next form is timed
            assert torch.allclose(fast(x[:1]), expected[:1], atol=1e-5)  # another batch size
            assert fast.save(tmp_path / "net.onnx").stat().st_size == len(fast.file)
            with pytest.raises(OptionError, match=r"2, 3, 5, 4.*ONNX Runtime cannot run"):
                fast(torch.randn(2, 3, 5, 4))
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_keep_madds_chooses_within_the_plan_and_names_the_fastest(clock):
    net, x = _net()
    clock(materialized=1.0, eager=2.0, onnx=3.0)
    _, report = nes_lab.optimize(net, x, seconds=0.1, forms=QUICK)
    assert (report.chosen, report.fastest, report.dense_form) == ("eager", "materialized", "materialized")
    assert report.madds_limit == 2 * net.nes_lab_plan.predicted.madds >= report.form("eager").madds
    assert report.form("materialized").madds > report.madds_limit and report.over_dense.median == 2.0
    assert "keep_madds=False allows it" in str(report) and "above the planned multiply-adds" in str(report)
    assert nes_lab.optimize(net, x, False, seconds=0.1, forms=QUICK)[1].chosen == "materialized"


def test_the_given_network_is_returned_if_no_form_is_clearly_faster(clock):
    net, x = _net()
    clock(eager=[1.0, 9.0, 2.0, 8.0, 3.0, 7.0, 3.5, 3.9, 6.0, 5.0, 4.1], materialized=4.0)
    fast, report = nes_lab.optimize(net, x, False, seconds=0.1, forms=["eager", "materialized"])
    assert report.chosen == "as given" and type(fast) is type(net) and len(list(fast)) == len(list(net))
    assert "no other form that is allowed is clearly faster" in str(
        report
    ).lower() and "too busy to tell it from as given" in str(report)


def test_a_form_with_other_outputs_cannot_win(clock, monkeypatch):
    net, x = _net()
    clock(eager=0.1)
    wrong = nn.Sequential(*net[:-1], nn.Linear(384, 10)).eval()
    monkeypatch.setitem(fast_forms.MAKERS, "eager", lambda maker: wrong)
    _, report = nes_lab.optimize(net, x, seconds=0.1, forms=["eager"])
    assert report.chosen == "as given" and "differs from PyTorch" in report.form("eager").why_not


def test_forms_that_this_machine_lacks_are_listed_with_the_reason(clock, monkeypatch):
    net, x = _net()
    clock(eager=1.0)
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    monkeypatch.setattr(fast_forms, "find_spec", lambda name: None if name == "onnxruntime" else True)
    _, report = nes_lab.optimize(net, x, seconds=0.1)
    assert report.chosen == "eager" and len(report.forms) == len(FORMS)
    for name in ("compiled", "materialized, compiled"):
        assert "needs a C++ compiler" in report.form(name).why_not
    for name in ("onnx", "materialized, onnx"):
        assert "onnxruntime is not installed; install it with: pip install" in report.form(name).why_not
    dense = nes_lab.optimize(nn.Linear(4, 4), torch.randn(1, 4), seconds=0.1, forms=["eager", "materialized"])[1]
    assert "no epitome layers" in dense.form("materialized").why_not and dense.dense_form is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": 3}, "network is a int"),
        ({"network": nn.Linear(2, 2, device="meta")}, "meta device"),
        ({"keep_madds": "no"}, "keep_madds='no'; give True or False"),
        ({"seconds": 0}, "seconds=0; give a positive number"),
        ({"forms": ["onxx"]}, "forms='onxx'"),
        ({"forms": "onnx"}, "give a list"),
        ({"network": CompiledNetwork(nn.Linear(2, 2))}, "give the network from which it was made"),
        ({"example": torch.randn(1, 9)}, "cannot run it"),
    ],
)
def test_mistakes_are_named(arguments, message):
    given = {"network": nn.Linear(2, 2), "example": torch.randn(1, 2), "forms": ["eager"], "seconds": 0.1} | arguments
    with pytest.raises(OptionError, match=message):
        nes_lab.optimize(**given)


@pytest.mark.slow
def test_compiled_forms_compile_once():
    net, x = _net()
    expected = net(x).detach()
    fast = CompiledNetwork(nes_lab.fuse(net))
    assert torch.allclose(fast(x), expected, atol=1e-5)
    from torch._dynamo.utils import counters

    counters.clear()
    with torch.inference_mode():
        assert torch.allclose(fast(torch.clone(x)), expected, atol=1e-5)  # an inference tensor
    with torch.enable_grad():
        assert not fast(x).requires_grad
    assert counters["stats"]["unique_graphs"] == 0
