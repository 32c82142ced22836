"""Return the rank of this process and the number of processes that train together. Exchange values between processes.

The rank is the number of a process, starting at 0. The processes exchange stop requests, errors and the states of
random generators through the gloo backend of torch, on the CPU.
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
    "broadcast",
    "gather",
    "is_connection_lost",
    "is_joined",
    "is_launched",
    "is_main",
    "join",
    "joined",
    "local_device",
    "max_over_ranks",
    "next_on_all_ranks",
    "raise_on_all_ranks",
    "rank",
    "sum_on_cpu",
    "world_size",
]

TIMEOUT = timedelta(hours=2)  # rank 0 may plan, fit or download while the others wait
_groups: list[Any] = []  # the default process group, and the gloo group for small values that belongs to it


def _is_active() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return the rank of this process: its number among the processes that train together.

    The first process has rank 0. A process that trains alone has rank 0, too.
    """
    return dist.get_rank() if _is_active() else 0


def world_size() -> int:
    """Return the number of processes that train together; 1 if this process trains alone, as in the example.

    Examples:
        >>> world_size()
        1
    """
    return dist.get_world_size() if _is_active() else 1


def is_main() -> bool:
    """Return True if this is the first process of a training. Only the first process writes files."""
    return rank() == 0


def is_launched() -> bool:
    """Return True if this process was started as one of several that train together.

    Torchrun, ``accelerate launch`` and ``nes-lab`` start such processes.
    """
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))


def is_joined() -> bool:
    """Return True if this process is connected to the other processes of the training."""
    return _is_active()


def join() -> None:
    """Connect this process to the other processes of the training.

    Nothing happens if this process trains alone, as in the example, or if it is already connected.

    Raises:
        RunError: If the other processes cannot be reached.

    Examples:
        >>> join()
        >>> is_joined()
        False
    """
    if _is_active() or not is_launched():
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    meeting = os.environ.get("NES_LAB_MEETING", "")  # a file, when nes-lab started the processes
    address = meeting or f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
    numbers = {"rank": int(os.environ["RANK"]), "world_size": int(os.environ["WORLD_SIZE"])}
    options: dict[str, Any] = {"init_method": f"file://{meeting}", **numbers} if meeting else {}
    try:
        dist.init_process_group(backend, timeout=TIMEOUT, **options)
    except (RuntimeError, ValueError) as error:
        raise RunError(f"process {os.environ['RANK']} cannot reach the others at {address}: {error}") from error


@contextmanager
def joined() -> Iterator[None]:
    """Connect this process to the other processes of the training for the ``with`` block.

    The process is disconnected if the block ends without an error. After an error it stays connected until it ends, because
    disconnecting could wait for a process that hangs.

    Raises:
        RunError: If the other processes cannot be reached.
    """
    was_active = _is_active()
    join()
    yield
    # not in a finally block: after an error, leaving could wait for a process that hangs
    if _is_active() and not was_active:
        _groups.clear()
        dist.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """Return the device on which this process trains.

    If several processes train on GPUs, each process gets a GPU of its own. The first process on a machine gets the
    first GPU, the second process the second GPU, and so on.

    Args:
        device: The device chosen for the whole training, such as ``cuda``.

    Raises:
        OptionError: If this machine has more processes than GPUs, or if all processes would share one GPU.

    Examples:
        >>> local_device(torch.device("cpu"))
        device(type='cpu')
    """
    if world_size() == 1 or device.type == "cpu":
        return device
    local, count = int(os.environ.get("LOCAL_RANK", rank())), torch.cuda.device_count()
    if device.type != "cuda" or device.index is not None or local >= count:
        raise OptionError(
            f"device={str(device)!r} has no GPU for process {local} of this machine, which has {count} GPUs; use "
            "device='cuda' with at most one process per GPU, or device='cpu'"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def _gloo_group() -> Any:
    # gloo sends values between CPUs, so no process waits for its GPU
    if not _groups or _groups[0] is not dist.group.WORLD:
        _groups[:] = [dist.group.WORLD, dist.new_group(backend="gloo", timeout=TIMEOUT)]
    return _groups[1]


def max_over_ranks(*numbers: int) -> tuple[int, ...]:
    """Compare numbers between all processes of a training, and return the maximum of each number.

    All processes must call this function. In a process that trains alone, as in the example, the numbers come back unchanged.

    Examples:
        >>> max_over_ranks(0, 3)
        (0, 3)
    """
    if world_size() == 1:
        return numbers
    values = torch.tensor(numbers, dtype=torch.long)
    dist.all_reduce(values, op=dist.ReduceOp.MAX, group=_gloo_group())
    return tuple(values.tolist())


def raise_on_all_ranks(error: Exception | None) -> None:
    """Raise an error in every process of a training if any process has an error.

    All processes must call this function.

    Args:
        error: The error of this process; None: this process has no error.

    Raises:
        Exception: The error of this process, if it has one.
        RunError: If only other processes have errors. The message gives the rank and the error message of the first one.
    """
    if world_size() == 1 or not any(max_over_ranks(error is not None)):
        if error is not None:
            raise error
        return
    texts: list[Any] = [None] * world_size()
    text = None if error is None else f"{'' if isinstance(error, NesLabError) else type(error).__name__ + ': '}{error}"
    dist.all_gather_object(texts, text, group=_gloo_group())
    if error is not None:
        raise error
    number, text = next((number, text) for number, text in enumerate(texts) if text is not None)
    raise RunError(f"process {number} of {world_size()} cannot go on: {text}")


def broadcast(value: Any = None) -> Any:
    """Send the value of the first process to all processes of a training, and return this value.

    All processes must call this function. The values that the other processes pass are ignored.

    Examples:
        >>> broadcast({"step": 3})
        {'step': 3}
    """
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0, group=_gloo_group())
    return values[0]


def gather(value: Any) -> list[Any]:
    """Return a list of the values that the processes of a training passed, in the order of their ranks.

    All processes must call this function, each with its own value.

    Examples:
        >>> gather("a")
        ['a']
    """
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value, group=_gloo_group())
    return values


def sum_on_cpu(tensor: Tensor) -> Tensor:
    """Add up the tensors of all processes of a training, element by element, and return the sum.

    The sum is computed on the CPU and has no gradients. All processes must call this function.
    """
    if world_size() == 1:
        return tensor
    total = tensor.detach().cpu().clone()
    dist.all_reduce(total, group=_gloo_group())
    return total


def is_connection_lost(error: Exception) -> bool:
    """Return True if an error means that this process can no longer reach another process of the training.

    In a process that trains alone, as in the example, the result is always False.

    Examples:
        >>> is_connection_lost(RuntimeError("Connection closed by peer [127.0.0.1]:4711"))
        False
    """
    if world_size() == 1:
        return False
    text = str(error).lower()
    return isinstance(error, dist.DistError) or any(word in text for word in ("by peer", "gloo", "nccl", "connection"))


def next_on_all_ranks(batches: Iterator[Any]) -> Any:
    """Return the next item of an iterator, or None at its end.

    Each process reads its own iterator. If one process fails to read an item, all processes raise an error.

    Raises:
        Exception: The error of this process, if reading failed here.
        RunError: If reading failed only in another process; the message includes the error message of that process.

    Examples:
        >>> next_on_all_ranks(iter([])), next_on_all_ranks(iter("a"))
        (None, 'a')
    """
    if world_size() == 1:
        return next(batches, None)
    item, error = None, None
    try:
        item = next(batches, None)
    except (NesLabError, OSError, RuntimeError, ValueError) as problem:
        error = problem
    raise_on_all_ranks(error)
    return item
