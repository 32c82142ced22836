"""Run a function in two processes that train together over gloo, and hand back what each returns."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp

from nes_lab.training import distributed


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _enter(rank: int, world: int, port: int, action: Callable, folder: Path, arguments: tuple, box: Any) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank), "MASTER_PORT": str(port)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    try:
        with distributed.joined():
            box.put((rank, action(folder, *arguments), None))
    except Exception as error:  # noqa: BLE001  told to the test
        box.put((rank, f"{type(error).__name__}: {error}", traceback.format_exc()))


def in_two_ranks(action: Callable, folder: Path, *arguments: Any, fails: bool = False) -> list[Any]:
    """Return what ``action(folder, *arguments)`` returned in each process; its error as text if it should fail."""
    context = mp.get_context("spawn")
    box, port = context.SimpleQueue(), free_port()
    workers = [
        context.Process(target=_enter, args=(rank, 2, port, action, folder, arguments, box)) for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    found = dict[int, Any]()
    for _ in workers:
        rank, value, trace = box.get()
        assert fails or trace is None, trace
        found[rank] = value
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    return [found[0], found[1]]
