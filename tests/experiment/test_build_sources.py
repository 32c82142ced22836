"""Where the weights of network and teacher come from: fresh, a file, a fit; and every way in which they cannot."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from nes_lab.config import load_config
from nes_lab.cost.count import count
from nes_lab.errors import CheckpointError, OptionError
from nes_lab.experiment.build import build
from nes_lab.nn.inspect import epitome_layers

SMALL = {"data": {"limit": 64}, "backbone": {"name": "small_mobilenetv2", "width": 0.5}}
BUDGET = {"params": "70%", "round_to": 1, "min_channels": 8}


def config(**sections):
    return load_config(SMALL | {name: SMALL.get(name, {}) | values for name, values in sections.items()})


@pytest.fixture
def weights(tmp_path):
    model = build(config()).model
    for index, parameter in enumerate(model.parameters()):
        parameter.data += 0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index))
    save_file(model.state_dict(), tmp_path / "dense.safetensors")
    return tmp_path / "dense.safetensors"


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_checkpoint_is_where_the_network_begins(weights):
    built = build(config(backbone={"checkpoint": str(weights)}))
    assert not same(built.model, build(config()).model)
    assert torch.equal(built.model.state_dict()["classifier.weight"], _read(weights)["classifier.weight"])
    assert built.teacher is None


def _read(path):
    from safetensors.torch import load_file

    return load_file(path)


def test_the_teacher_is_the_dense_network_as_it_begins(weights):
    built = build(
        config(
            backbone={"checkpoint": str(weights)},
            compression=BUDGET | {"initial_weights": "fit"},
            training={"kd_weight": 0.5},
        )
    )
    assert built.teacher is not None and not built.teacher.training
    assert not any(p.requires_grad for p in built.teacher.parameters())
    assert all(torch.equal(tensor, _read(weights)[name]) for name, tensor in built.teacher.state_dict().items())
    assert any(p.requires_grad for p in built.model.parameters())


def test_a_teacher_of_its_own_for_a_fresh_student(weights):
    built = build(config(training={"kd_weight": 0.5, "kd_checkpoint": str(weights)}))
    assert built.teacher is not None and not same(built.teacher, built.model)


def test_a_teacher_that_knows_nothing_is_refused(weights):
    with pytest.raises(OptionError, match=r"training\.kd_weight=0\.5 needs a teacher that has learned"):
        build(config(training={"kd_weight": 0.5}))
    with pytest.raises(OptionError, match=r"with backbone\.new_head the dense network's classifier is untrained"):
        build(config(backbone={"checkpoint": str(weights), "new_head": True}, training={"kd_weight": 0.5}))


def test_a_classifier_of_another_size_is_drawn_anew_only_when_asked(weights, tmp_path):
    tensors = _read(weights) | {"classifier.weight": torch.zeros(7, 64), "classifier.bias": torch.zeros(7)}
    save_file(tensors, tmp_path / "seven.safetensors")
    with pytest.raises(CheckpointError, match=r"new_head gives the classifier fresh weights"):
        build(config(backbone={"checkpoint": str(tmp_path / "seven.safetensors")}))
    model = build(config(backbone={"checkpoint": str(tmp_path / "seven.safetensors"), "new_head": True})).model
    found = model.state_dict()
    assert found["classifier.weight"].shape[0] == 10 and float(found["classifier.weight"].abs().max()) > 0
    body = [name for name in found if not name.startswith("classifier")]
    assert all(torch.equal(found[name], tensors[name]) for name in body)


def test_starts_are_searched_and_norms_measured_anew(weights):
    searched = {
        "routing": "free",
        "patch_channels": 1,
        "initial_weights": "fit",
        "search_starts": True,
        "calibration": 40,
    }
    built = build(config(backbone={"checkpoint": str(weights)}, compression=BUDGET | searched))
    assert built.fit is not None and built.fit.calibration_batches == 2 and built.model.training
    assert built.fit.residual < built.fit.residual_before
    again = build(config(backbone={"checkpoint": str(weights)}, compression=BUDGET | searched), built.plan)
    assert again.fit is None
    again.model.load_state_dict(built.model.state_dict())  # the searched anchors of the starts too
    assert again.model.state_dict().keys() == built.model.state_dict().keys()


def test_build_rounds_starts_from_the_beginning_only_if_they_are_searched():
    """Otherwise the starts learn until ``starts_snap_epoch``, and only then the network costs what the plan says."""
    learned = config(
        compression=BUDGET | {"routing": "free", "patch_channels": 1, "snap": True},
        training={"epochs": 2, "starts_snap_epoch": 1},
    )
    built = build(learned)
    assert built.plan.snap and built.cost.madds > built.plan.predicted.madds
    for _, layer in epitome_layers(built.model):
        layer.snap()
    assert count(built.model, built.data.example_input()).madds == built.plan.predicted.madds


def test_a_search_among_whole_cells_costs_less_and_is_resumed(weights):
    searched = {"routing": "free", "patch_channels": 1, "initial_weights": "fit", "search_starts": True}
    begin = {"backbone": {"checkpoint": str(weights)}}
    between = build(config(**begin, compression=BUDGET | searched))
    whole = build(config(**begin, compression=BUDGET | searched | {"snap": True}))
    assert whole.plan.snap and whole.cost.madds == whole.plan.predicted.madds < between.cost.madds
    starts = {name: tensor for name, tensor in whole.model.state_dict().items() if "starts" in name}
    assert starts and all(torch.equal(tensor, tensor.round()) for tensor in starts.values())
    assert not {name for name, _ in whole.model.named_parameters()} & set(starts)
    again = build(config(**begin, compression=BUDGET | searched | {"snap": True}), whole.plan)
    again.model.load_state_dict(whole.model.state_dict())
    assert again.cost == whole.cost and [n for n, _ in again.model.named_parameters()] == [
        n for n, _ in whole.model.named_parameters()
    ]


@pytest.mark.parametrize("option", [{"calibration": 10}, {"snap": True}])
def test_options_of_a_search_are_refused_without_one(option):
    with pytest.raises(OptionError, match=r"needs search_starts=true|give compression\.search_starts=true"):
        config(compression=BUDGET | option)


def test_options_reach_the_backbone_or_are_named(tmp_path):
    built = build(
        load_config(
            {"data": {"image_size": 32}, "backbone": {"name": "mobilenetv2_035", "options": {"drop_rate": 0.3}}}
        )
    )
    assert built.model.drop_rate == 0.3
    with pytest.raises(OptionError, match=r"backbone\.options=\{'colour': 'red'\} does not suit 'small_mobilenetv2'"):
        build(config(backbone={"options": {"colour": "red"}}))
    with pytest.raises(OptionError, match="give pretrained or checkpoint, not both"):
        config(backbone={"pretrained": True, "checkpoint": str(tmp_path / "x.safetensors")})
