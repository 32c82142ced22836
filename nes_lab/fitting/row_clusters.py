"""Cluster similar rows of a matrix by Ward's method.

The search for starts uses the clusters as its first guess where patches are one channel long: the channels are the rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cluster_rows"]


def cluster_rows(rows: Tensor, clusters: int, scaled: bool = False) -> Tensor:
    """Assign each row of a matrix to a cluster, so that one vector per cluster approximates the rows well.

    At first each row is a cluster. Then two clusters are merged at a time, always the pair with the smallest increase in error:

    - without ``scaled`` the vector is the cluster's mean, and the error is the squared distance of the rows to it (Ward);
    - with ``scaled`` each row is approximated by a multiple of the vector, and the error is the squared length of the rows
      perpendicular to it.

    Only inner products of rows are used, so once these are computed the cost does not depend on the length of the rows.

    Args:
        rows: The matrix, ``(n, d)``.
        clusters: Largest number of clusters to return.
        scaled: Allow a separate factor for each row, of either sign.

    Returns:
        The cluster of each row, ``(n,)`` integers, numbered in the order in which the clusters first appear.

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
    # here the number of a cluster is the index of its first row, so unique() numbers the clusters in order of appearance
    return torch.unique(cluster, return_inverse=True)[1].to(rows.device)


def _merge_losses(gram: Tensor, sizes: Tensor, i: int, scaled: bool) -> Tensor:
    """Return the increase in error that merging cluster ``i`` with each other cluster would cause."""
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
    """Return the two coefficients that combine the vectors of clusters ``i`` and ``j`` into the vector of the merged cluster.

    That vector is the mean of all rows or, with ``scaled``, the first singular vector.
    """
    if not scaled:
        total = float(sizes[i] + sizes[j])
        return float(sizes[i]) / total, float(sizes[j]) / total
    pair = gram[[i, j]][:, [i, j]]
    a, b = torch.linalg.eigh(pair)[1][:, 1].tolist()
    return a, b
