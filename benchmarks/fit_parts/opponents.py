"""Other ways to halve a pretrained ResNet: SVD at equal params, Torch-Pruning and folding at equal multiply-adds."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.opponents import bisect
from nes_lab.cost.count import count, stored_params
from nes_lab.fitting.input_moments import input_moments
from nes_lab.fitting.one_layer import correct_variance_
from nes_lab.fitting.row_scales import move_into_norm_
from nes_lab.fitting.sequential_moments import dense_outputs, sequential_moments
from nes_lab.surgery.foldable_norms import fusable

__all__ = ["folded", "pruned", "split_by_svd", "split_in_turn"]


def split_by_svd(
    model: nn.Module, names: Collection[str], params: int, kind: str, calibration: Any = None
) -> nn.Module:
    """Replace each named convolution by two of low rank. All keep the same share of their params.

    Args:
        model: The dense network.
        names: Names of the convolutions to split.
        params: Params that the complete network should have.
        kind: ``"channels"``: k x k to few channels, then 1x1; ``"window"``: k x 1, then 1 x k.
        calibration: Batches of images; then the error of the outputs is minimized, not that of the weights (``"channels"`` only).
            None: the error of the weights is minimized.

    Source: Jaderberg et al., BMVC 2014 (window); Zhang et al., TPAMI 2016 (channels, on activations).
    """
    roots, means = {}, {}
    if calibration is not None:
        moments, _ = input_moments(model, list(names), calibration, lambda event: None)
        roots = {name: torch.linalg.cholesky(m.second(centered=True)) for name, m in moments.items()}
        means = {name: m.mean for name, m in moments.items()}
    factors = {name: _factors(model.get_submodule(name).weight, kind, roots.get(name)) for name in names}  # type: ignore[arg-type]
    return bisect(lambda share: _split(model, factors, kind, share, means), stored_params, params, 0.05, 1.0)


def _factors(weight: Tensor, kind: str, root: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    w = weight.detach().double()
    matrix = w.flatten(1) if kind == "channels" else w.permute(0, 3, 1, 2).flatten(2).flatten(0, 1)
    if root is None:
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        return u, s, v
    u, s, v = torch.linalg.svd(matrix @ root, full_matrices=False)
    return u, s, torch.linalg.solve_triangular(root, v, upper=False, left=False)


def _split(model: nn.Module, factors: dict, kind: str, share: float, means: dict[str, Tensor]) -> nn.Module:
    fresh: dict[int, Any] = {}
    for name, (u, s, v) in factors.items():
        conv = model.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)  # ResNet-56 has only such layers
        rank = max(1, min(len(s), round(share * conv.weight.numel() / (u.shape[0] + v.shape[1]))))
        fresh[id(conv)] = _two(conv, u[:, :rank] * s[:rank].sqrt(), s[:rank].sqrt().unsqueeze(1) * v[:rank], kind)
    small = copy.deepcopy(model, fresh)
    for norm, name in fusable(model).items() if means else ():
        if name in means:
            conv, (first, last) = model.get_submodule(name), small.get_submodule(name)  # type: ignore[misc]
            made = torch.einsum("orab,rikl->oikl", last.weight.double(), first.weight.double())
            move_into_norm_(small.get_submodule(norm), None, None, (made - conv.weight).flatten(1) @ means[name])
    return small


def split_in_turn(model: nn.Module, names: Collection[str], params: int, calibration: list[Tensor]) -> nn.Module:
    """Replace convolutions by two of low rank, layer after layer, with the measurements and corrections of a sequential fit.

    Args:
        model: The dense network; a batch norm follows each named convolution.
        names: Names of the convolutions to split into k x k to few channels, then 1x1.
        params: Params that the complete network should have.
        calibration: Batches of images.
    """
    small = split_by_svd(model, names, params, "channels")
    norms = {name: norm for norm, name in fusable(model).items()}
    with torch.no_grad():
        outputs = dense_outputs(model, names, calibration, lambda event: None)
        for name, recorded in outputs.items():
            conv, pair, norm = (m.get_submodule(n) for m, n in ((model, name), (small, name), (small, norms[name])))
            assert isinstance(conv, nn.Conv2d)  # ResNet-56 has only such layers
            sums, weight = sequential_moments(small, model, name, calibration, recorded), conv.weight.double()
            target, moment = sums.target(weight, centered=True)
            u, s, v = _factors(target, "channels", torch.linalg.cholesky(moment))
            rank = pair[0].out_channels  # type: ignore[index]
            made = (u[:, :rank] * s[:rank]) @ v[:rank]
            fresh = _two(conv, u[:, :rank] * s[:rank].sqrt(), s[:rank].sqrt().unsqueeze(1) * v[:rank], "channels")
            pair.load_state_dict(fresh.state_dict())
            move_into_norm_(norm, None, None, made @ sums.mean - sums.output_mean(weight))
            correct_variance_(norm, sums.variance_ratio(weight, made))
    return small


def _two(conv: nn.Conv2d, left: Tensor, right: Tensor, kind: str) -> nn.Sequential:
    rank, (k, m), (p, q), (s, t) = left.shape[1], conv.kernel_size, conv.padding, conv.stride  # type: ignore[misc]
    if kind == "channels":
        first = nn.Conv2d(conv.in_channels, rank, (k, m), (s, t), (p, q), bias=False)
        last = nn.Conv2d(rank, conv.out_channels, 1, bias=False)
        shapes = (rank, conv.in_channels, k, m), (conv.out_channels, rank, 1, 1)
        weights = right, left
    else:
        first = nn.Conv2d(conv.in_channels, rank, (k, 1), (s, 1), (p, 0), bias=False)
        last = nn.Conv2d(rank, conv.out_channels, (1, m), (1, t), (0, q), bias=False)
        shapes = (rank, conv.in_channels, k, 1), (conv.out_channels, m, rank)
        weights = right, left
    with torch.no_grad():
        first.weight.copy_(weights[0].view(shapes[0]))
        second = weights[1].reshape(shapes[1])
        last.weight.copy_(second if kind == "channels" else second.permute(0, 2, 1).unsqueeze(2))
    return nn.Sequential(first, last)


def pruned(model: nn.Module, madds: float, x: Tensor) -> nn.Module:
    """Remove the channels of smallest norm between the two convolutions of every block, until ``madds`` is met (Torch-Pruning).

    The residual stream keeps its channels: shortcuts of option A pad it with zeros, which Torch-Pruning cannot trace.
    """
    return bisect(lambda kept: _prune(model, 1.0 - kept), lambda m: count(m, x).madds, madds, 0.05, 1.0)


def _prune(model: nn.Module, ratio: float) -> nn.Module:
    import torch_pruning as tp

    model = copy.deepcopy(model).eval().requires_grad_(True)
    inner = {id(m) for n, m in model.named_modules() if n.endswith(".conv1")}
    ignored = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear) and id(m) not in inner]
    tp.pruner.BasePruner(
        model,
        torch.randn(1, 3, 32, 32),
        importance=tp.importance.GroupMagnitudeImportance(),
        pruning_ratio=ratio,
        ignored_layers=ignored,
    ).step()
    return model


def folded(model: nn.Module, madds: float, x: Tensor, seed: int) -> nn.Module:
    """Cluster the channels between the two convolutions of every block, and keep one channel per cluster, until ``madds`` is met.

    A channel is a row of the first convolution with its batch norm. A cluster gets the mean of its rows, and the second convolution the
    sum of its columns, so nothing is thrown away. No data are needed.

    Source: Wang et al., *Forget the data and fine-tuning! Just fold the network to compress*, ICLR 2025; the code is our own.
    """
    return bisect(lambda kept: _fold(model, kept, seed), lambda m: count(m, x).madds, madds, 0.05, 1.0)


def _fold(model: nn.Module, kept: float, seed: int) -> nn.Module:
    small = copy.deepcopy(model).eval()
    for block in (m for m in small.modules() if hasattr(m, "conv1") and hasattr(m, "conv2")):
        _fold_block(block, max(1, round(kept * block.conv1.out_channels)), seed)  # type: ignore[union-attr]
    return small


def _fold_block(block: Any, channels: int, seed: int) -> None:
    from sklearn.cluster import KMeans

    first, norm, second = block.conv1, block.bn1, block.conv2
    with torch.no_grad():
        spread = (norm.running_var + norm.eps).sqrt()
        gain = norm.weight / spread
        rows = torch.cat([gain[:, None] * first.weight.flatten(1), (norm.bias - gain * norm.running_mean)[:, None]], 1)
        found = KMeans(channels, n_init=4, random_state=seed).fit(rows.double().numpy())
        member = nn.functional.one_hot(torch.from_numpy(found.labels_).long(), channels).T.to(rows.dtype)
        means = member / member.sum(1, keepdim=True)
        centers, gains, biases, spreads = (means @ each for each in (rows, norm.weight, norm.bias, spread))
        block.conv1 = nn.Conv2d(first.in_channels, channels, 3, first.stride, 1, bias=False)
        block.conv1.weight.copy_((centers[:, :-1] * (spreads / gains)[:, None]).view_as(block.conv1.weight))
        block.bn1 = nn.BatchNorm2d(channels, eps=norm.eps).eval()
        block.bn1.weight.copy_(gains)
        block.bn1.bias.copy_(biases)
        block.bn1.running_mean.copy_((biases - centers[:, -1]) * spreads / gains)
        block.bn1.running_var.copy_(spreads**2 - norm.eps)
        block.conv2 = nn.Conv2d(channels, second.out_channels, 3, second.stride, 1, bias=False)
        summed = torch.einsum("okhw,nk->onhw", second.weight, member)
        block.conv2.weight.copy_(summed)
