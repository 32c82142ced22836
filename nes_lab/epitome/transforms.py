"""Say whether torch transforms the code, as ``torch.func.grad`` and ``torch.func.vmap`` do, or records it.

Tests: tests/nn/test_per_sample_gradients.py
"""

from __future__ import annotations

import torch

__all__ = ["recording", "transforming"]

_RECORDERS = tuple(getattr(torch._C._TorchDispatchModeKey, name) for name in ("PROXY", "FAKE", "FUNCTIONAL"))
"""Keys of the modes in which torch records operations, with fake tensors or proxies in place of tensors."""


def transforming() -> bool:
    """Return True inside a transform of ``torch.func``, such as ``grad`` or ``vmap``.

    The transform replaces the tensors by wrappers. They lose their meaning when the transform ends, so they must not be kept.
    """
    return torch._C._are_functorch_transforms_active()


def recording() -> bool:
    """Return True while torch records operations, as ``make_fx`` does, or computes with fake tensors, which hold no numbers.

    What is kept from other calls must not be used then: it would become a constant of the recorded graph. Nor must results be kept.
    """
    modes = torch._C._len_torch_dispatch_stack()
    return bool(modes) and any(torch._C._get_dispatch_mode(key) is not None for key in _RECORDERS)
