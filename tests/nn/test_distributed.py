"""Data parallelism: every rank has the same starts, and they are those of one process with the whole batch."""

from __future__ import annotations

import copy
import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from nes_lab.nn.conv import EpitomeConv2d


def _layer() -> EpitomeConv2d:
    torch.manual_seed(0)
    layer = EpitomeConv2d(6, 8, 3, epitome_shape=(4, 4, 3, 3), patch_channels=(2, 2), routing="learner")
    with torch.no_grad():
        torch.nn.init.normal_(layer.routing.learner.body[2].weight, std=1.0)
    return layer


def _batches() -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(3)
    return [torch.randn(4, 6, 5, 5, generator=draw) for _ in range(3)] + [torch.randn(1, 6, 5, 5, generator=draw)]


def _per_sample(layer: EpitomeConv2d, x: torch.Tensor) -> None:
    """Gradients of each sample. The two ranks' samples of one place are a batch, as far as starts are predicted."""
    params = {name: parameter.detach() for name, parameter in layer.named_parameters()}
    loss = torch.func.grad(lambda p, sample: torch.func.functional_call(layer, p, (sample[None],)).sum())
    torch.func.vmap(loss, in_dims=(None, 0))(params, x)


def _rank(rank: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    layer = _layer()
    for whole in _batches():
        mine = whole[rank::2]  # of the last batch the second rank gets nothing
        y = layer(mine)
    loss = layer(_batches()[0][rank::2]).square().mean()
    loss.backward()
    gradients = torch.cat([p.grad.flatten() for p in layer.parameters()])
    dist.all_reduce(gradients)  # what DistributedDataParallel does, then a mean
    found = {"starts": layer.routing.starts_out.clone(), "grad": gradients / 2, "last": y.shape[0]}
    _per_sample(layer, _batches()[0][rank::2])
    found["per_sample"] = layer.routing.starts_out
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_agree_with_one_process(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(_rank, (port, str(tmp_path)), nprocs=2)
    a, b = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert torch.equal(a["starts"], b["starts"]) and (a["last"], b["last"]) == (1, 0)
    single = _layer()
    for whole in _batches():
        single(whole)
    single(_batches()[0]).square().mean().backward()
    expected = torch.cat([p.grad.flatten() for p in single.parameters()])
    # another order of summation, in float32
    torch.testing.assert_close(a["starts"], single.routing.starts_out.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(a["grad"], expected, rtol=1e-4, atol=1e-5)
    pairs = [copy.deepcopy(single) for _ in range(2)]
    for i, pair in enumerate(pairs):
        pair(_batches()[0][2 * i : 2 * i + 2])
    stored = torch.stack([pair.routing.starts_out for pair in pairs]).mean(0)
    assert torch.equal(a["per_sample"], b["per_sample"])
    torch.testing.assert_close(a["per_sample"], stored, rtol=1e-5, atol=1e-6)
