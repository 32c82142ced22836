"""Read small tensors on a CPU as numpy arrays that share their memory, with fewer calls than ``tensor.numpy()`` makes.

Tests: tests/execution/test_factored_step.py
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from torch import Tensor

from nes_lab.epitome.empty_copy import EmptyCopy

__all__ = ["ArrayViews"]


class ArrayViews(EmptyCopy):
    """Keeps numpy arrays that share the memory of tensors. They always hold the present numbers of the tensors.

    Copied or unpickled views are empty.

    Examples:
        >>> import torch
        >>> views, tensor = ArrayViews(), torch.zeros(2)
        >>> array = views.of("starts", tensor)
        >>> tensor.data.add_(1)
        tensor([1., 1.])
        >>> array, views.of("starts", tensor) is array
        (array([1., 1.], dtype=float32), True)
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[Tensor, tuple[Any, ...], Tensor, np.ndarray]] = {}

    def of(self, name: Hashable, tensor: Tensor) -> np.ndarray:
        """Return the array of a tensor. Do not write into it.

        Args:
            name: Name under which the array is kept.
            tensor: A tensor on a CPU, of a data type that numpy has.
        """
        kept = self._kept.get(name)
        where = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if kept is None or kept[0] is not tensor or kept[1] != where:
            # the tensor and the alias are kept alive, so that no other tensor can get the same address
            alias = tensor.detach()
            kept = self._kept[name] = (tensor, where, alias, alias.numpy())
        return kept[3]
