"""Starts as anchors and offsets: what is stored, what loads, and what an ordinary optimizer does to them."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import nes_lab
from nes_lab.cost.count import stored_params
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.linear import EpitomeLinear

OFFSETS, ANCHORS = (tuple(f"routing.start_{what}_{axis}" for axis in ("out", "in")) for what in ("offsets", "anchors"))
KINDS = ("rule", "searched")


def layer(kind: str = "rule", seed: int = 0, routing: str = "free", **options) -> EpitomeLinear:
    """A layer whose starts lie anywhere. Its anchors are those of the rule, or as a search sets them."""
    draw = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = EpitomeLinear(24, 36, epitome_shape=(23, 17), patch_channels=(6, 4), routing=routing, **options)
    for axis, table in made.routing.tables():
        if kind == "searched":
            made.routing.set_starts_(axis, torch.randint(0, 9, table.shape, generator=draw))
        with torch.no_grad():
            table.add_(torch.rand(table.shape, generator=draw) / 3)
    return made


def starts(of: EpitomeLayer) -> list[Tensor]:
    return [table for table in of.routing_map().starts if table is not None]


def same_starts(a: EpitomeLayer, b: EpitomeLayer) -> bool:
    return all(torch.equal(x, y) for x, y in zip(starts(a), starts(b), strict=True))


def test_free_starts_store_an_anchor_only_if_no_rule_gives_it():
    assert sorted(layer().state_dict()) == sorted(["_extra_state", "bias", "epitome", *OFFSETS])
    assert sorted(layer("searched").state_dict()) == sorted(["_extra_state", "bias", "epitome", *OFFSETS, *ANCHORS])
    reset = layer("searched")
    reset.reset_parameters()
    assert sorted(reset.state_dict()) == sorted(["_extra_state", "bias", "epitome", *OFFSETS])
    assert same_starts(reset, EpitomeLinear(24, 36, epitome_shape=(23, 17), patch_channels=(6, 4), routing="free"))


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize(("mine", "theirs"), list(itertools.product(KINDS, KINDS)))
def test_free_starts_load_the_same_starts_whatever_the_anchors_were(mine, theirs, assign):
    source, target = layer(mine, 1), layer(theirs, 2)
    target.load_state_dict(source.state_dict(), assign=assign)
    assert same_starts(source, target) and target.state_dict().keys() == source.state_dict().keys()
    alone = layer(theirs, 2)
    alone.routing.load_state_dict(source.routing.state_dict(), assign=assign)  # without the layer around it
    assert same_starts(source, alone)
    with torch.device("meta"):
        empty = layer(theirs, 2) if theirs == "rule" else nn.Module()
    if theirs == "rule" and assign:
        empty.load_state_dict(source.state_dict(), assign=True)
        assert same_starts(source, empty)


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_free_starts_read_the_key_of_earlier_versions_as_cells(kind, assign):
    old = layer("searched", 1).state_dict()
    cells = [table.detach() + 0.1 for table in starts(layer("searched", 1))]
    old = {name: tensor for name, tensor in old.items() if "routing" not in name}
    old |= {"routing.starts_out": cells[0].clone(), "routing.starts_in": cells[1].clone()}
    new = layer(kind, 2)
    new.load_state_dict(old, assign=assign)
    assert all(torch.equal(a, b) for a, b in zip(starts(new), cells, strict=True))
    assert new.routing.start_offsets_out.requires_grad and not new.routing.start_offsets_out.any()
    part = {"routing.starts_in": cells[1] + 1}
    new.load_state_dict(part, strict=False)
    assert torch.equal(starts(new)[0], cells[0]) and torch.equal(starts(new)[1], cells[1] + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_free_and_frozen_starts_load_each_other(kind):
    source = layer(kind, 1)
    frozen, again = layer("searched", 2).freeze(), layer("searched", 3)
    frozen.load_state_dict(source.state_dict())
    assert same_starts(source, frozen)
    again.load_state_dict(frozen.state_dict())
    assert same_starts(source, again)


@pytest.mark.parametrize("kind", KINDS)
def test_free_starts_train_on_bit_for_bit_after_loading(kind):
    """The sum of anchor and offset is rounded: without the anchors, the second training would take other steps."""

    def steps(net: EpitomeLinear, number: int) -> EpitomeLinear:
        for seed in range(number):
            x = torch.randn(5, 24, generator=torch.Generator().manual_seed(seed))
            net.zero_grad()
            net(x).square().mean().backward()
            with torch.no_grad():
                for parameter in net.parameters():
                    parameter -= 0.7 * parameter.grad
        return net

    half = steps(layer(kind), 3)
    loaded = layer("searched", 5)
    loaded.load_state_dict(half.state_dict())
    whole, resumed = steps(half, 3), steps(loaded, 3)
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in whole.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_free_starts_are_stored_as_one_number_each(kind, tmp_path):
    net, dense = nn.Sequential(layer(kind)), nn.Sequential(nn.Linear(24, 36))
    numbers = 23 * 17 + 36 + 6 + 6
    assert stored_params(net) == net[0].stored_params() == numbers
    assert nes_lab.count(net, torch.randn(1, 24)).stored_bytes == 4 * numbers
    folder = nes_lab.save_pretrained(net, tmp_path / "m")
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    assert sum(tensor.numel() for tensor in tensors.values()) == numbers
    assert torch.equal(tensors["0.routing.starts_out"], net[0].routing.unclamped(0))  # a sum, in cells
    net[0].routing.start_offsets_in.requires_grad_(False)
    again = nes_lab.from_pretrained(nes_lab.save_pretrained(net, tmp_path / "n"), model=dense)
    assert same_starts(net[0], again[0])
    assert [again[0].routing.table(axis).requires_grad for axis in (0, 1)] == [True, False]


@pytest.mark.parametrize("kind", KINDS)
def test_averages_of_free_starts_are_averages_of_cells(kind):
    net = nn.Sequential(layer(kind))
    averages = [
        ModelEmaV3(net, decay=0.75),
        AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.75)),
        AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.75), use_buffers=True),
    ]
    averages[1].update_parameters(net), averages[2].update_parameters(net)  # the first update is a copy
    before = [net[0].routing.unclamped(axis).detach() for axis in (0, 1)]
    with torch.no_grad():
        for _, table in net[0].routing.tables():
            table.add_(0.5)
    for average in averages:
        average.update(net) if isinstance(average, ModelEmaV3) else average.update_parameters(net)
        for axis, old in enumerate(before):
            new = average.module[0].routing.unclamped(axis).detach()
            torch.testing.assert_close(new, old + 0.125, rtol=0, atol=2e-6)  # rounding at 17 cells
    net.load_state_dict(averages[0].module.state_dict())
    assert same_starts(net[0], averages[0].module[0])


@pytest.mark.parametrize("kind", KINDS)
def test_free_starts_survive_deepcopy_and_casts(kind):
    net = layer(kind)
    copied = copy.deepcopy(net)
    assert same_starts(net, copied) and copied.state_dict().keys() == net.state_dict().keys()
    with torch.no_grad():
        copied.routing.table(0).add_(1)
    assert not same_starts(net, copied)
    wide = copy.deepcopy(net).double()
    assert torch.equal(wide.routing.unclamped(1), net.routing.anchor(1).double() + net.routing.table(1).double())


def test_starts_of_earlier_versions_can_be_read_but_not_written():
    net = layer("searched")
    with pytest.warns(FutureWarning, match=r"routing.set_starts_\(1, starts\)"):
        assert torch.equal(net.routing.starts_in, starts(net)[1])
    with torch.no_grad(), pytest.warns(FutureWarning), pytest.raises(RuntimeError, match="inference tensor"):
        net.routing.starts_out.zero_()
    with pytest.raises(AttributeError, match="set_starts_"):
        net.routing.starts_out = torch.zeros(6)
    with pytest.warns(FutureWarning), pytest.raises(KeyError, match="starts_out"):
        net.routing.starts_out = nn.Parameter(torch.zeros(6))
    assert not hasattr(net.routing, "starts_k0")


def similarity(net: EpitomeLayer, before: Tensor) -> float:
    return float(nn.functional.cosine_similarity(net.weight.detach().flatten(), before.flatten(), dim=0))


@pytest.mark.parametrize("scope", ["separable", "joint"])
@pytest.mark.parametrize("routing", ["free", "learner"])
@pytest.mark.parametrize("kind", KINDS)
def test_weight_decay_leaves_learned_starts_where_they_belong(kind, routing, scope):
    """1,000 steps without any gradient: a dense weight shrinks, and points where it did. So must a sampled weight."""
    net = EpitomeLinear(24, 36, epitome_shape=(23, 17), patch_channels=(6, 4), routing=routing, scope=scope)
    if kind == "searched" and routing == "free":
        for axis, table in net.routing.tables():
            net.routing.set_starts_(axis, torch.randint(0, 9, table.shape))
    before = net.weight.detach()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=0.1)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for _ in range(1000):
        optimizer.step()
    assert net.weight.norm() < 0.5 * before.norm() and similarity(net, before) > 1 - 1e-6
