"""From a backbone to a compressed network: budget, compression plan, surgery.

The package itself is callable: ``nes_lab.compress(model, plan)`` is :func:`nes_lab.compress.surgery.compress`. A function
bound to that name would be hidden as soon as a module of this package is imported.

Examples:
    >>> import nes_lab
    >>> model, x = nn.Sequential(nn.Linear(64, 64)), torch.randn(1, 64)
    >>> plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="50%"), x)
    >>> type(nes_lab.compress(model, plan)[0]).__name__
    'EpitomeLinear'
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from nes_lab.compress.compression_plan import CompressionPlan


class _CallablePackage(ModuleType):
    def __call__(self, model: nn.Module, plan: CompressionPlan, **options: Any) -> nn.Module:
        """Replace layers of a copy of ``model`` as ``plan`` says; see :func:`nes_lab.compress.surgery.compress`."""
        from nes_lab.compress.surgery import compress

        return compress(model, plan, **options)


sys.modules[__name__].__class__ = _CallablePackage
