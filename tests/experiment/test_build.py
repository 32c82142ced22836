"""Config to network: the same seed gives the same network, and nothing global changes."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

import nes_lab
from nes_lab.config import load_config
from nes_lab.datasets.sampling import stream_seed
from nes_lab.errors import BudgetError, DataError, OptionError
from nes_lab.experiment.build import build
from nes_lab.nn.inspect import epitome_layers

SMALL = {"data": {"limit": 64}, "backbone": {"width": 0.5}}


def test_dense() -> None:
    built = build(load_config(SMALL))
    assert built.plan is None
    assert built.cost == built.dense_cost
    assert built.model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize("routing", ["tiled", "free", "learner"])
def test_compressed_meets_its_budget_and_its_prediction(routing: str) -> None:
    built = build(load_config(SMALL | {"compression": {"madds": "70%", "round_to": 1, "routing": routing}}))
    assert built.plan is not None
    assert built.cost.madds <= 0.7 * built.dense_cost.madds
    assert (built.plan.predicted.params, built.plan.predicted.madds) == (built.cost.params, built.cost.madds)
    assert {layer.routing_mode for _, layer in epitome_layers(built.model)} == {routing}


def test_preset() -> None:
    built = build(load_config(SMALL | {"compression": {"preset": "released_x2"}}))
    assert built.cost.madds < built.dense_cost.madds


def test_weights_of_a_file_are_fitted_layer_after_layer(tmp_path) -> None:
    file = tmp_path / "dense.safetensors"
    dense = nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1, width=0.5)
    save_file(dense.state_dict(), file)
    fitted = {"params": "60%", "round_to": 1, "routing": "free", "patch_channels": 1, "initial_weights": "fit"}
    fitted |= {"search_starts": True, "calibration": 16}
    tree = {"data": {"limit": 64}, "backbone": {"width": 0.5, "checkpoint": str(file)}}
    at_once, in_turn = (build(load_config(tree | {"compression": fitted | {"sequential": s}})) for s in (False, True))
    batches = [inputs for inputs, _ in in_turn.data.train.train_batches(16, seed=stream_seed(0, 3), epoch=0)][:1]
    options = {"search_starts": True, "calibration": batches, "example_input": in_turn.data.example_input()}
    wanted, _ = nes_lab.fit(dense.eval(), in_turn.plan, sequential=True, **options)
    state = in_turn.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in wanted.state_dict().items())
    assert any(not torch.equal(tensor, state[name]) for name, tensor in at_once.model.state_dict().items())


def test_seed_decides_the_weights_and_global_states_do_not() -> None:
    config = SMALL | {"compression": {"madds": "70%", "round_to": 1, "routing": "learner"}}
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build(load_config(config)).model.state_dict()
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(2)
    second = build(load_config(config)).model.state_dict()
    other = build(load_config(config | {"seed": 1})).model.state_dict()
    assert all(first[name].equal(second[name]) for name in first)
    assert any(not first[name].equal(other[name]) for name in first if name.endswith("weight"))


def test_a_given_plan_is_used() -> None:
    tiled = build(load_config(SMALL | {"compression": {"madds": "70%", "round_to": 1}}))
    again = build(load_config(SMALL | {"compression": {"madds": "90%", "round_to": 1}}), plan=tiled.plan)
    assert again.cost.madds == tiled.cost.madds


def test_mistakes_are_named(tmp_path) -> None:
    with pytest.raises(OptionError, match="small_mobilenetv2"):
        build(load_config(SMALL | {"backbone": {"name": "small_mobilenet2"}}))
    with pytest.raises(BudgetError):
        build(load_config(SMALL | {"compression": {"madds": "0.1%"}}))
    with pytest.raises(DataError, match=r"data\.download"):
        build(load_config({"data": {"name": "cifar10", "root": str(tmp_path)}}))
