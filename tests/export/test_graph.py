"""Layers as they are exported compute what the epitome layers compute."""

import pytest
import torch

from nes_lab import fuse
from nes_lab.export.graph import GraphLayer, prepare_for_export
from tests.export.networks import MODES, Net, compressed
from tests.export.saving import NAMES


def x(batch=1, size=8):
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


FACTORED = [
    *({"routing": mode} for mode in MODES),
    {"routing": "free", "boundary": "circular"},
    {"routing": "random", "boundary": "circular"},
    {"routing": "free", "scope": "joint"},
    {"routing": "random", "scope": "joint", "boundary": "circular"},
    {"routing": "free", "execution": "wrapped"},
    {"routing": "free", "execution": "materialize"},
]


@pytest.mark.parametrize("settings", FACTORED, ids=lambda s: "-".join(s.values()))
def test_graph_layer_computes_what_the_epitome_layer_computes(settings):
    """The operations that are exported, without exporting them; tests/export/test_onnx.py does."""
    model = compressed(Net(), NAMES, **settings)
    graph = prepare_for_export(model, "factored")
    assert sum(isinstance(m, GraphLayer) for m in graph.modules()) == 3
    with torch.no_grad():
        assert torch.allclose(graph(x(2)), model(x(2)), atol=1e-6)
        assert torch.allclose(graph.conv.weight, model.conv.weight, atol=1e-6)


@pytest.mark.parametrize("routing", ["random", "free"])
def test_graph_layer_keeps_the_scale_of_fuse(routing):
    model = fuse(compressed(Net(), NAMES, routing=routing))
    assert model.conv.scale is not None
    with torch.no_grad():
        assert torch.allclose(prepare_for_export(model, "factored")(x()), model(x()), atol=1e-6)
