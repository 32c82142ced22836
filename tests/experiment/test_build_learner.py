"""The index learner's knobs reach the layers."""

from __future__ import annotations

from nes_lab.config import load_config
from nes_lab.experiment.build import build
from nes_lab.nn.inspect import epitome_layers


def test_the_learners_knobs_reach_every_layer():
    wanted = {"madds": "60%", "round_to": 1, "routing": "learner", "reach": 2.5, "momentum": 0.5, "learner": "conv"}
    built = build(load_config({"compression": wanted}))
    layers = [layer for _, layer in epitome_layers(built.model)]
    assert layers and all((x.routing.reach, x.routing.momentum) == (2.5, 0.5) for x in layers)
    assert all(x.routing.learner is None or x.routing.learner.kind == "conv" for x in layers)
    free = build(load_config({"compression": wanted | {"routing": "free"}}))
    assert all(not plan.options for plan in free.plan.layers.values())
