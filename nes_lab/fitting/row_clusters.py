"""Cluster similar rows (Ward): the first guess of the start search where patches are one channel long."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cluster_rows"]


def cluster_rows(rows: Tensor, clusters: int, scaled: bool = False) -> Tensor:
    """Assign each row to a cluster so that little is lost when all rows of a cluster share one vector.

    Clusters are merged one pair at a time, always the pair that loses least:

    - without ``scaled`` the vector is the cluster's mean, and the loss is the increase of the squared distance to it (Ward);
    - with ``scaled`` each row is a multiple of the vector, and the loss is the increase of the energy outside its direction.

    Only inner products are used, so the cost does not depend on the length of the rows after these are computed.

    Args:
        rows: ``(n, d)``.
        clusters: Number of clusters that remain, at most.
        scaled: Let each row have a factor of its own, of either sign.

    Returns:
        Cluster of each row, ``(n,)`` integers, numbered in the order in which the clusters first appear.

    Examples:
        >>> cluster_rows(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.1, 0.0]]), 2).tolist()
        [0, 1, 0]
        >>> cluster_rows(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -3.0]]), 2, scaled=True).tolist()
        [0, 1, 1]

    Source: Ward, *Hierarchical Grouping to Optimize an Objective Function*, JASA 58 (1963).
    """
    count = rows.shape[0]
    if clusters >= count:
        return torch.arange(count, device=rows.device)
    gram = (rows.double() @ rows.double().T).cpu()
    sizes, cluster = torch.ones(count, dtype=torch.float64), torch.arange(count)
    loss = torch.stack([_merge_losses(gram, sizes, i, scaled) for i in range(count)])
    for _ in range(count - clusters):
        kept, merged = divmod(int(loss.argmin()), count)
        a, b = _merge_weights(gram, sizes, kept, merged, scaled)
        gram[kept] = a * gram[kept] + b * gram[merged]
        gram[:, kept] = a * gram[:, kept] + b * gram[:, merged]
        sizes[kept] += sizes[merged]
        sizes[merged] = 0
        cluster[cluster == merged] = kept
        loss[kept] = loss[:, kept] = _merge_losses(gram, sizes, kept, scaled)
        loss[merged] = loss[:, merged] = float("inf")
    # until here a cluster's number is that of one of its rows, the first one, so sorting the numbers keeps the order
    return torch.unique(cluster, return_inverse=True)[1].to(rows.device)


def _merge_losses(gram: Tensor, sizes: Tensor, i: int, scaled: bool) -> Tensor:
    """Return what would be lost by merging cluster ``i`` with each other cluster."""
    energy, product = gram.diagonal(), gram[i]
    if scaled:  # the smaller eigenvalue of the 2 x 2 matrix of inner products
        mean, half_difference = (energy + energy[i]) / 2, (energy - energy[i]) / 2
        loss = mean - (half_difference.square() + product.square()).sqrt()
    else:
        loss = sizes * sizes[i] / (sizes + sizes[i]).clamp_min(1) * (energy + energy[i] - 2 * product)
    loss = torch.where(sizes > 0, loss, float("inf"))
    loss[i] = float("inf")
    return loss


def _merge_weights(gram: Tensor, sizes: Tensor, i: int, j: int, scaled: bool) -> tuple[float, float]:
    """Return the weights of two clusters' vectors in the vector of both: for the mean, or for the first singular vector."""
    if not scaled:
        total = float(sizes[i] + sizes[j])
        return float(sizes[i]) / total, float(sizes[j]) / total
    pair = gram[[i, j]][:, [i, j]]
    a, b = torch.linalg.eigh(pair)[1][:, 1].tolist()
    return a, b
