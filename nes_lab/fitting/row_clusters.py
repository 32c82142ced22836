"""Group similar rows of a matrix by Ward's method of clustering.

The rows are the channels of a weight. If patches are one channel long, the search for starts begins with these groups.
All channels of a group then begin at the same cell.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cluster_rows"]


def cluster_rows(rows: Tensor, clusters: int, scaled: bool = False) -> Tensor:
    """Group similar rows of a matrix into clusters. One vector for each cluster then approximates the cluster's rows.

    At first each row is a cluster. Then two clusters are merged at a time: the two that add the least error.

    - If ``scaled`` is False, the vector is the mean of the cluster's rows. The error is the squared distance between
      the rows and the vector (Ward).
    - If ``scaled`` is True, each row is approximated by a multiple of the vector. The error is the squared distance
      between the rows and these multiples.

    Args:
        rows: The matrix, ``(rows, length of a row)``.
        clusters: Largest number of clusters to return.
        scaled: Allow a separate factor for each row, positive or negative.

    Returns:
        The index of each row's cluster, ``(rows,)`` integers. Clusters are numbered in the order of their first rows.

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
    """Return how much the error grows if cluster ``i`` is merged with each of the other clusters.

    The error is the squared error of all rows, each approximated by the vector of its cluster.

    Args:
        gram: Inner products of the clusters' vectors, one row and one column per cluster.
        sizes: Number of rows in each cluster; 0 for a cluster that no longer exists.
        i: Index of the cluster.
        scaled: True if each row is approximated by a multiple of the vector.
    """
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
    """Return the factors of the vectors of clusters ``i`` and ``j`` when these clusters are merged.

    Each cluster has one vector, which stands for all its rows. The vector of the merged cluster is the sum of the two vectors,
    each multiplied by its factor.
    """
    if not scaled:
        total = float(sizes[i] + sizes[j])
        return float(sizes[i]) / total, float(sizes[j]) / total
    pair = gram[[i, j]][:, [i, j]]
    a, b = torch.linalg.eigh(pair)[1][:, 1].tolist()
    return a, b
