"""What a training tells the world, and what it asks: one set of callbacks, all optional."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nes_lab.training.loop import Trainer

__all__ = ["Hooks"]


def _ignore(*_: Any) -> None:
    return None


def _no() -> bool:
    return False


@dataclass(frozen=True)
class Hooks:
    """Callbacks of a :class:`~nes_lab.training.loop.Trainer`; what is not given does nothing.

    Attributes:
        metric: Gets every row of metrics: step, epoch, split, loss, top1, top5, and lr and images_per_s in training.
        epoch_end: Gets the trainer after each validation.
        checkpoint: Gets the trainer when it should be saved: every few epochs, at the end, and when it is stopped.
        progress: At most five times a second, gets step, total, epoch, epochs, images_per_s, eta_s, loss, top1.
        event: Gets what happens once, such as starts that come to rest: kind, step and more.
        should_stop: Asked after each step and before each validation batch.

    With several processes, each asks its own ``should_stop``, and all stop when one should; the others are called in the
    first process only.
    """

    metric: Callable[[dict[str, Any]], None] = _ignore
    epoch_end: Callable[[Trainer], None] = _ignore
    checkpoint: Callable[[Trainer], None] = _ignore
    progress: Callable[[dict[str, Any]], None] = _ignore
    event: Callable[[dict[str, Any]], None] = _ignore
    should_stop: Callable[[], bool] = _no
