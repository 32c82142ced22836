"""Who am I among the processes of one training, and what do all of us agree on; every other file asks here.

Small facts (stop requests, failures, saved states) travel between CPUs over gloo, so that no GPU is ever waited for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from nes_lab.errors import NesLabError, OptionError, RunError

__all__ = [
    "agree",
    "broadcast",
    "gather",
    "is_joined",
    "is_launched",
    "is_loss_of_another",
    "is_main",
    "join",
    "joined",
    "next_together",
    "place",
    "rank",
    "raise_together",
    "sum_over_ranks",
    "world_size",
]

PATIENCE = timedelta(hours=2)  # rank 0 may plan, fit or download while the others wait
_control: list[Any] = []  # the group that all are in, and the gloo group for small facts that belongs to it


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


def is_launched() -> bool:
    """Whether torchrun, ``accelerate launch`` or a parent of ours started this process as one of several."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))


def is_joined() -> bool:
    """Whether this process is in a group."""
    return _is_active()


def join() -> None:
    """Enter the group of the processes that were launched together; alone, or in a group already, do nothing.

    Raises:
        RunError: If the others cannot be reached.

    Examples:
        >>> join()
        >>> is_joined()
        False
    """
    if _is_active() or not is_launched():
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    meeting = os.environ.get("NES_LAB_MEETING", "")  # a file, where a parent of ours started the processes
    where = meeting or f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
    numbers = {"rank": int(os.environ["RANK"]), "world_size": int(os.environ["WORLD_SIZE"])}
    options: dict[str, Any] = {"init_method": f"file://{meeting}", **numbers} if meeting else {}
    try:
        dist.init_process_group(backend, timeout=PATIENCE, **options)
    except (RuntimeError, ValueError) as error:
        raise RunError(f"process {os.environ['RANK']} cannot reach the others at {where}: {error}") from error


@contextmanager
def joined() -> Iterator[None]:
    """Be in the group of :func:`join` inside; after a failure it is left to the end of the process, for others may hang.

    Raises:
        RunError: If the others cannot be reached.
    """
    was_active = _is_active()
    join()
    yield
    if _is_active() and not was_active:
        _control.clear()
        dist.destroy_process_group()


def place(device: torch.device) -> torch.device:
    """Return the device of this process: with several, each takes the GPU of its local number.

    Raises:
        OptionError: If there are more processes on this machine than GPUs, or all would share one.

    Examples:
        >>> place(torch.device("cpu"))
        device(type='cpu')
    """
    if world_size() == 1 or device.type == "cpu":
        return device
    local, count = int(os.environ.get("LOCAL_RANK", rank())), torch.cuda.device_count()
    if device.type != "cuda" or device.index is not None or local >= count:
        raise OptionError(
            f"device={str(device)!r} cannot serve process {local} of this machine, which has {count} GPUs; use "
            "device='cuda' with at most as many processes as there are GPUs, or device='cpu'"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def _group() -> Any:
    if not _control or _control[0] is not dist.group.WORLD:
        _control[:] = [dist.group.WORLD, dist.new_group(backend="gloo", timeout=PATIENCE)]
    return _control[1]


def agree(*flags: int) -> tuple[int, ...]:
    """Return the largest value any process has for each flag; all must ask at the same point.

    Examples:
        >>> agree(0, 3)
        (0, 3)
    """
    if world_size() == 1:
        return flags
    values = torch.tensor(flags, dtype=torch.long)
    dist.all_reduce(values, op=dist.ReduceOp.MAX, group=_group())
    return tuple(values.tolist())


def raise_together(error: Exception | None) -> None:
    """Raise everywhere if any process has an error: one's own, else the first of the others'.

    Raises:
        RunError: With another process's number and message.
    """
    if world_size() == 1 or not any(agree(error is not None)):
        if error is not None:
            raise error
        return
    texts: list[Any] = [None] * world_size()
    text = None if error is None else f"{'' if isinstance(error, NesLabError) else type(error).__name__ + ': '}{error}"
    dist.all_gather_object(texts, text, group=_group())
    if error is not None:
        raise error
    number, text = next((number, text) for number, text in enumerate(texts) if text is not None)
    raise RunError(f"process {number} of {world_size()} cannot go on: {text}")


def broadcast(value: Any = None) -> Any:
    """Return process 0's value everywhere.

    Examples:
        >>> broadcast({"step": 3})
        {'step': 3}
    """
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, group=_group())
    return box[0]


def gather(value: Any) -> list[Any]:
    """Return the values of all processes, in their order, everywhere.

    Examples:
        >>> gather("a")
        ['a']
    """
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value, group=_group())
    return values


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Return the sum over all processes; the argument is left alone."""
    if world_size() == 1:
        return tensor
    total = tensor.detach().cpu().clone()
    dist.all_reduce(total, group=_group())
    return total


def is_loss_of_another(error: Exception) -> bool:
    """Whether an error says that another process of the training cannot be reached any more.

    Examples:
        >>> is_loss_of_another(RuntimeError("Connection closed by peer [127.0.0.1]:4711"))
        False
    """
    if world_size() == 1:
        return False
    text = str(error).lower()
    return isinstance(error, dist.DistError) or any(word in text for word in ("by peer", "gloo", "nccl", "connection"))


def next_together(batches: Iterator[Any]) -> Any:
    """Return the next item, or None at the end; when any process fails to read its own, all raise.

    Raises:
        RunError: If another process failed; with its message.

    Examples:
        >>> next_together(iter([])), next_together(iter("a"))
        (None, 'a')
    """
    if world_size() == 1:
        return next(batches, None)
    item, error = None, None
    try:
        item = next(batches, None)
    except (NesLabError, OSError, RuntimeError, ValueError) as problem:
        error = problem
    raise_together(error)
    return item
