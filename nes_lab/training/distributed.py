"""Who am I among the processes of one training; every other file asks here."""

from __future__ import annotations

import torch.distributed as dist

__all__ = ["is_main", "rank", "world_size"]


def _is_active() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return this process's number: 0 when training is not distributed."""
    return dist.get_rank() if _is_active() else 0


def world_size() -> int:
    """Return how many processes train together.

    Examples:
        >>> world_size()
        1
    """
    return dist.get_world_size() if _is_active() else 1


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0
