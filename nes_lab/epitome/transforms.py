"""Say whether torch transforms the code, as ``torch.func.grad`` and ``torch.func.vmap`` do.

Tests: tests/nn/test_per_sample_gradients.py
"""

from __future__ import annotations

import torch

__all__ = ["transforming"]


def transforming() -> bool:
    """Return True inside a transform of ``torch.func``, such as ``grad`` or ``vmap``.

    The transform replaces the tensors by wrappers. They lose their meaning when the transform ends, so they must not be kept.
    """
    return torch._C._are_functorch_transforms_active()
