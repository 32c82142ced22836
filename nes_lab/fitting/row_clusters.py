"""Clusters of rows by merging the two that lose least, again and again: where one-channel patches begin their search."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["merge_rows"]


def merge_rows(rows: Tensor, clusters: int, lines: bool = False) -> Tensor:
    """Assign rows to clusters, greedily, so that little is lost when every row reads its cluster's one vector.

    Ward's criterion: the squared distance to the cluster's mean grows least. With ``lines`` rows may be scaled, sign included: the
    energy outside the cluster's one direction grows least. It works on inner products alone, so that long rows cost nothing.

    Args:
        rows: ``(n, d)``.
        clusters: At most so many remain.
        lines: Whether each row has a factor of its own.

    Returns:
        Cluster of each row, ``(n,)`` whole numbers counted from 0 in the order in which the clusters first appear.

    Examples:
        >>> merge_rows(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.1, 0.0]]), 2).tolist()
        [0, 1, 0]
        >>> merge_rows(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -3.0]]), 2, lines=True).tolist()
        [0, 1, 1]
    """
    count = rows.shape[0]
    if clusters >= count:
        return torch.arange(count, device=rows.device)
    gram = (rows.double() @ rows.double().T).cpu()
    sizes, label = torch.ones(count, dtype=torch.float64), torch.arange(count)
    loss = torch.stack([_losses(gram, sizes, i, lines) for i in range(count)])
    for _ in range(count - clusters):
        keep, gone = divmod(int(loss.argmin()), count)
        a, b = _weights(gram, sizes, keep, gone, lines)
        gram[keep] = a * gram[keep] + b * gram[gone]
        gram[:, keep] = a * gram[:, keep] + b * gram[:, gone]
        sizes[keep] += sizes[gone]
        sizes[gone] = 0
        label[label == gone] = keep
        loss[keep] = loss[:, keep] = _losses(gram, sizes, keep, lines)
        loss[gone] = loss[:, gone] = float("inf")
    _, order = torch.unique(
        label, return_inverse=True
    )  # a cluster's name is its first row at the time, so order is kept
    return order.to(rows.device)


def _losses(gram: Tensor, sizes: Tensor, i: int, lines: bool) -> Tensor:
    """What merging cluster ``i`` with each other one loses."""
    energy, cross = gram.diagonal(), gram[i]
    if lines:  # the smaller eigenvalue of the pair's two by two products
        mean, half = (energy + energy[i]) / 2, (energy - energy[i]) / 2
        lost = mean - (half.square() + cross.square()).sqrt()
    else:
        lost = sizes * sizes[i] / (sizes + sizes[i]).clamp_min(1) * (energy + energy[i] - 2 * cross)
    lost = torch.where(sizes > 0, lost, float("inf"))
    lost[i] = float("inf")
    return lost


def _weights(gram: Tensor, sizes: Tensor, i: int, j: int, lines: bool) -> tuple[float, float]:
    """The vector that stands for both: their mean; or their first singular vector, with the energy it explains."""
    if not lines:
        whole = float(sizes[i] + sizes[j])
        return float(sizes[i]) / whole, float(sizes[j]) / whole
    pair = gram[[i, j]][:, [i, j]]
    a, b = torch.linalg.eigh(pair)[1][:, 1].tolist()
    return a, b
