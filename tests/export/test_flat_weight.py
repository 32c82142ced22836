"""Shared epitomes survive saving, loading and exports, and are stored once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open
from torch import nn

import nes_lab
from nes_lab.errors import CheckpointError
from nes_lab.export.flat_weight import FlatWeight
from nes_lab.nn.layer import EpitomeLayer
from tests.export.saving import altered
from tests.shared_epitomes import dense_net, owners, shared_net

X = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("routing", ["random", "free", "tiled"])
@pytest.mark.parametrize("share", ["layer", "stage", "network"])
def test_saved_network_comes_back_with_the_same_sharing(share: str, routing: str, tmp_path: Path) -> None:
    net = shared_net(routing, share).eval()
    folder = nes_lab.save_pretrained(net, tmp_path / "saved")
    with safe_open(folder / "model.safetensors", "pt") as file:
        epitomes = [name for name in file.keys() if name.endswith("epitome")]  # noqa: SIM118 - not a dict
        numbers = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    statistics = 2 * 12 + 1  # of the batch norm
    assert len(epitomes) == owners(net) == {"layer": 3, "stage": 2, "network": 1}[share]
    assert numbers == net.nes_lab_plan.predicted.params + statistics
    loaded = nes_lab.from_pretrained(folder, model=dense_net(5)).eval()
    assert owners(loaded) == owners(net)
    assert torch.equal(loaded(X), net(X))
    assert loaded.nes_lab_plan == net.nes_lab_plan


def test_loaded_network_trains_as_the_saved_one(tmp_path: Path) -> None:
    net = shared_net()
    loaded = nes_lab.from_pretrained(nes_lab.save_pretrained(net, tmp_path / "saved"), model=dense_net(5))
    steps = []
    for each in (net, loaded):
        each.eval()(X).square().sum().backward()
        groups = nes_lab.parameter_groups(each, 1e-4, lr=0.01, optimizer="sgd")
        torch.optim.SGD(groups).step()
        steps.append(each(X))
    assert torch.equal(*steps)


def test_damaged_number_of_windows_is_refused(tmp_path: Path) -> None:
    folder = nes_lab.save_pretrained(shared_net(), tmp_path / "saved")
    layers = json.loads((folder / "config.json").read_text())["epitome_layers"]
    layers["0"]["windows"] = 0
    altered(folder, epitome_layers=layers)
    with pytest.raises(CheckpointError, match="windows=0"):
        nes_lab.from_pretrained(folder, model=dense_net())


@pytest.mark.parametrize("routing", ["random", "free"])
def test_graph_samples_the_weight_of_the_layer(routing: str) -> None:
    for layer in shared_net(routing).modules():
        if isinstance(layer, EpitomeLayer):
            torch.testing.assert_close(FlatWeight(layer)(layer.epitome), layer.materialize())


@pytest.mark.parametrize("routing", ["random", "free"])
def test_onnx_file_holds_the_epitome_once_and_starts_not_cells(routing: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    dense, x = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 200)), torch.randn(2, 256)
    net = nes_lab.compress(
        dense, params="20%", share="network", windows=1, routing=routing, patch_channels=8, example_input=x
    )
    nes_lab.export_onnx(net.eval(), x, tmp_path / "net.onnx", form="factored")  # compares the outputs
    graph = onnx.load(tmp_path / "net.onnx").graph
    counts = sorted((int(np.prod(tensor.dims)) for tensor in graph.initializer), reverse=True)
    assert counts[0] == net[0].epitome.numel()
    assert sum(counts) < 0.3 * 256 * 456


@pytest.mark.parametrize("routing", ["random", "free"])
def test_torch_export_and_materialize_agree(routing: str) -> None:
    net = shared_net(routing).eval()
    expected = net(X)
    program = torch.export.export(net, (X,))
    torch.testing.assert_close(program.module()(X), expected)
    plain = nes_lab.materialize(net)
    assert owners(plain) == 0
    torch.testing.assert_close(plain(X), expected)
    torch.testing.assert_close(nes_lab.fuse(net)(X), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(nes_lab.for_inference(net)(X), expected, atol=1e-5, rtol=1e-4)
