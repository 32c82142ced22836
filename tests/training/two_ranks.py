"""Run functions in two processes that train together over gloo, and return what each of them returned."""

from __future__ import annotations

import os
import queue
import socket
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.multiprocessing as mp

from nes_lab.training import distributed

PATIENCE_SECONDS = 600


class Action(NamedTuple):
    """A function, called as ``function(folder, *arguments)`` in both processes. If it ``fails``, its error is the result."""

    function: Callable
    arguments: tuple = ()
    fails: bool = False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _enter(rank: int, world: int, port: int, actions: Mapping[str, Action], folder: Path, results: Any) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank), "MASTER_PORT": str(port)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    with distributed.joined():
        for name, action in actions.items():
            (folder / name).mkdir(exist_ok=True)
            try:
                results.put((rank, name, action.function(folder / name, *action.arguments), None))
            except Exception as error:  # noqa: BLE001  told to the test
                results.put((rank, name, f"{type(error).__name__}: {error}", traceback.format_exc()))


def in_two_ranks(actions: Mapping[str, Action], folder: Path) -> dict[str, list[Any]]:
    """Run all actions one after another in the same two processes, and return the two results of each by name."""
    context = mp.get_context("spawn")
    results, port = context.Queue(), free_port()
    workers = [context.Process(target=_enter, args=(rank, 2, port, actions, folder, results)) for rank in range(2)]
    for worker in workers:
        worker.start()
    returned: dict[str, list[Any]] = {name: [None, None] for name in actions}
    try:
        for _ in range(2 * len(actions)):
            rank, name, value, trace = results.get(timeout=PATIENCE_SECONDS)
            assert actions[name].fails or trace is None, f"{name} in process {rank}:\n{trace}"
            returned[name][rank] = value
    except queue.Empty:
        raise AssertionError(f"the two processes hang; so far: {returned}") from None
    finally:
        for worker in workers:
            worker.join(0 if None in [v for pair in returned.values() for v in pair] else 60)
            if worker.is_alive():
                worker.kill()
    return returned
