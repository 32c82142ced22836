from __future__ import annotations

import torch

from nes_lab.fitting.row_clusters import cluster_rows


def test_cluster_rows_merges_the_cheapest_pair_first():
    points = torch.tensor([[0.0], [10.0], [0.2], [10.1], [5.0]])
    assert cluster_rows(points, 3).tolist() == [0, 1, 0, 1, 2]
    assert cluster_rows(points, 9).tolist() == [0, 1, 2, 3, 4]
    lines = torch.tensor([[1.0, 0.0], [-9.0, 0.1], [0.0, 1.0]])
    assert cluster_rows(lines, 2, scaled=True).tolist() == [0, 0, 1]
    assert cluster_rows(lines, 2, scaled=False).tolist() == [0, 1, 0]
