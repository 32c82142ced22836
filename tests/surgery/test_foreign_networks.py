"""Networks of other people's making: small ones with every habit that real ones have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import nes_lab
from nes_lab import Budget
from nes_lab.errors import BudgetError, PlanError
from nes_lab.nn.conv import EpitomeConv2d, EpitomeConv3d
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.linear import EpitomeLinear
from tests.foreign_networks import Attending, Boxes, Grouped, TiedHead, Twice, TwoInputs, Volume, Wave, numbers

W = 32


def _there_and_back(model: nn.Module, x: Any, params: str = "70%", **options: Any) -> tuple[Any, nn.Module, nn.Module]:
    """Plan, compress, count, forward, backward, materialize; what is promised of each holds."""
    model = model.eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    plan = nes_lab.plan_for_budget(model, Budget(params=params), x, round_to=4, **options)
    small = nes_lab.compress(model, plan)
    report = nes_lab.count(small, x)
    assert (report.params, report.madds) == (plan.predicted.params, plan.predicted.madds)
    assert report.params <= float(params[:-1]) / 100 * plan.dense.params
    plain = nes_lab.materialize(small)
    for training in (False, True):
        a, b = (numbers(_run(net.train(training), x)) for net in (small, plain))
        for s, t in zip(a, b, strict=True):
            assert (s - t).abs().max() <= 1e-4 * t.abs().max().clamp_min(1e-3)
    sum(t.square().sum() for t in a).backward()
    assert all(layer.epitome.grad.any() for layer in small.modules() if isinstance(layer, EpitomeLayer))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert plain.state_dict().keys() == model.state_dict().keys()
    assert [type(m) for m in plain.modules()] == [type(m) for m in model.modules()]
    return plan, small, plain


def _run(model: nn.Module, x: Any) -> Any:
    torch.manual_seed(0)
    return model(**x) if isinstance(x, dict) else model(*x) if isinstance(x, tuple | list) else model(x)


def test_one_dimensional_audio():
    plan, _, _ = _there_and_back(Wave(), torch.randn(1, 1, 800))
    assert {p.kind for p in plan.layers.values()} == {"conv1d", "linear"}


def test_volumes():
    plan, small, _ = _there_and_back(Volume(), torch.randn(1, 4, 4, 8, 8))
    assert isinstance(small.body[0], EpitomeConv3d) and plan.predicted.madds < plan.dense.madds
    for execution in small.body[0].available_executions():
        small.body[0].execution = execution
        nes_lab.count(small, torch.randn(1, 4, 4, 8, 8))


def test_grouped_convolutions_are_compressed_and_depthwise_ones_stay():
    plan, small, _ = _there_and_back(Grouped(), torch.randn(1, 16, 8, 8))
    assert isinstance(small.grouped, EpitomeConv2d) and small.grouped.groups == 4
    assert "depthwise" in plan.kept["depthwise"]
    assert "wrapped" in small.grouped.available_executions() and "factored" not in small.grouped.available_executions()


@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_of_torch(batch_first):
    """The input projection is a bare parameter; the output projection is used without being called."""
    x = torch.randn(1, 6, W)
    plan, small, plain = _there_and_back(Attending(batch_first), x, "80%")
    assert "in_proj_weight belongs to MultiheadAttention itself" in plan.kept["attention"]
    assert plan.kept_layers["attention"].dense.params == 3 * W * W + 3 * W
    assert isinstance(small.attention.out_proj, EpitomeLinear)
    assert plan.layers["attention.out_proj"].execution == "materialize"
    assert type(plain.attention.out_proj) is type(
        nn.MultiheadAttention(W, 4).out_proj
    )  # no dynamic quantizer may take it


def _encoder(**options: Any) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(W, 4, 64, dropout=0.0, batch_first=True, **options)
    encoder = nn.TransformerEncoder(layer, 2)
    for parameter in encoder.parameters():  # layers that nn.TransformerEncoder copies begin alike
        nn.init.normal_(parameter, 0, 0.2) if parameter.ndim > 1 else None
    return encoder


def test_transformer_encoders_on_their_fast_path_and_off_it():
    x = torch.randn(2, 6, W)
    plan, small, _ = _there_and_back(_encoder(), x, "80%")
    assert plan.layers["layers.0.linear1"].execution == "materialize"  # the fast path uses its weight
    with torch.no_grad():
        slow = small.train()(x)
        fast = small.eval()(x)
    assert torch.allclose(slow, fast, atol=1e-5)


def test_transformer_encoders_with_padded_sequences_as_nested_tensors():
    x, mask = torch.randn(2, 6, W), torch.zeros(2, 6, dtype=torch.bool)
    mask[1, 4:] = True
    model = _encoder().eval()
    plan = nes_lab.plan_for_budget(model, Budget(params="80%"), {"src": x, "src_key_padding_mask": mask})
    small = nes_lab.compress(model, plan)
    plain = nes_lab.materialize(small)
    with torch.no_grad():
        a, b = small(x, src_key_padding_mask=mask), plain(x, src_key_padding_mask=mask)
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            c = small(x, src_key_padding_mask=mask)
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
    assert torch.allclose(a, b, atol=1e-5) and torch.allclose(a[~mask], c[~mask], atol=1e-5)


def test_tied_embeddings_stay_and_stay_tied():
    ids = torch.arange(6).view(1, 6)
    plan, small, plain = _there_and_back(TiedHead(), {"input_ids": ids}, "80%")
    assert plan.kept["lm_head"] == "its weight is tied to that of 'embedding'"
    assert "looked up" in plan.kept["embedding"]
    for model in (small, plain):
        assert model.lm_head.weight is model.embedding.weight


def test_a_module_called_twice_is_counted_twice_and_stored_once():
    model, x = Twice(), torch.randn(1, W)
    report = nes_lab.count(model, x)
    assert report.madds == 2 * W * W + W * W and report.params == 2 * (W * W + W)
    assert next(r.madds for r in report.by_layer if r.name == "shared") == 2 * W * W
    plan, small, plain = _there_and_back(model, x)
    assert small.shared is small.parts["again"] and isinstance(small.shared, EpitomeLayer)
    assert plain.shared is plain.parts["again"]
    assert plan.layers["shared"].dense.madds == 2 * W * W


def test_several_inputs_as_tuple_and_as_dict():
    a, b = torch.randn(1, W), torch.randn(1, W)
    first = _there_and_back(TwoInputs(), (a, b))[0]
    second = _there_and_back(TwoInputs(), {"right": b, "left": a})[0]
    assert first.layers == second.layers


def test_lists_of_images():
    """As detection networks take them; the plan's input shape is that of the first image."""
    plan = _there_and_back(Boxes(), ([torch.randn(3, 12, 12), torch.randn(3, 8, 8)],))[0]
    assert plan.input_shape == (3, 12, 12)


def test_layers_called_by_keyword():
    class Keywords(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(W, W)

        def forward(self, x):
            return self.fc(input=x)

    x = torch.randn(1, W)
    small = _there_and_back(Keywords(), x)[1]
    assert nes_lab.tune(small, x, seconds=0.05).executions.keys() == {"fc"}


def _computed(wrap: Any) -> nn.Module:
    return nn.Sequential(wrap(nn.Linear(W, W)), nn.Linear(W, W))


@pytest.mark.parametrize(
    "wrap",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.spectral_norm,
        lambda layer: prune.identity(layer, "weight"),
    ],
)
def test_computed_weights_are_kept_with_a_reason(wrap):
    model = _computed(wrap)
    plan = nes_lab.plan_for_budget(model, Budget(params="80%"), torch.randn(1, W))
    assert "computed by a hook or parametrization" in plan.kept["0"] and list(plan.layers) == ["1"]
    nes_lab.materialize(nes_lab.compress(model, plan))(torch.randn(1, W))


def test_other_kinds_are_kept_with_a_reason():
    model = nn.Sequential(
        nn.ConvTranspose2d(8, 16, 2, stride=2),
        nn.Conv2d(16, 16, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(16, 16, 1),
    )
    plan = _there_and_back(model, torch.randn(1, 8, 4, 4), "95%")[0]
    assert "transposed" in plan.kept["0"] and "circular" in plan.kept["1"] and list(plan.layers) == ["2"]


def test_recurrent_layers_are_named_as_what_holds_the_budget():
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(W, 2 * W, batch_first=True), nn.Linear(2 * W, W)

        def forward(self, x):
            return self.head(self.lstm(x)[0])

    model = Tagger()
    with pytest.raises(BudgetError, match=r"lstm .* \(dense: weight_hh_l0 belongs to LSTM itself"):
        nes_lab.plan_for_budget(model, Budget(params="50%"), torch.randn(1, 5, W))


def test_a_forward_put_on_a_layer_itself_is_respected():
    model = nn.Sequential(nn.Linear(W, W), nn.Linear(W, W))
    model[0].forward = lambda x: x  # type: ignore[method-assign]
    plan = nes_lab.plan_for_budget(model, Budget(params="80%"), torch.randn(1, W))
    assert "its forward was replaced" in plan.kept["0"]


def test_weights_that_are_no_numbers_are_refused_by_name():
    model, x = Grouped(), torch.randn(1, 16, 8, 8)
    plan = nes_lab.plan_for_budget(model, Budget(params="70%"), x, round_to=4)
    with torch.no_grad():
        model.grouped.weight[0, 0, 0, 0] = float("inf")
    with pytest.raises(PlanError, match="layer 'grouped': its weight holds NaN or infinity"):
        nes_lab.compress(model, plan)


def test_hooks_follow_their_layers():
    """Networks that give features collect them by hooks, bound to themselves."""

    class Features(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.seen = nn.Linear(W, W), []
            self.fc.register_forward_hook(self.collect)

        def collect(self, module, args, output):
            self.seen.append(output)

        def forward(self, x):
            self.fc(x)
            return self.seen.pop()

    model, x = Features(), torch.randn(1, W)
    _, small, plain = _there_and_back(model, x)
    for net in (small, plain):
        assert net(x).shape == (1, W) and not model.seen and len(net.fc._forward_hooks) == 1
