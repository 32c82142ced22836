"""Everything a look at a network must leave: a network's state and the process's global state, as comparable values."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Restless(nn.Module):
    """A network whose forward method changes all it can reach, in whatever mode it is.

    Args:
        channels: Number of channels of its convolutions.
        draws: True: it owns a random generator, which torch cannot copy.
    """

    fails_in: int | None = None
    """Number of further calls of any such network, the last of which fails; None: none fails."""

    def __init__(self, channels: int = 8, *, draws: bool = False) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.mid, self.head = nn.Conv2d(channels, channels, 3, padding=1), nn.Linear(channels, 4)
        self.own = nn.Parameter(torch.ones(3))
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("table", torch.zeros(2))
        self.calls, self.history, self.facts, self.flags = 0, [1], {"deep": {"calls": 0}}, {"first"}
        self.state, self.numbers = torch.zeros(3), np.zeros(3)
        self.meter = Meter()
        self.draws = torch.Generator().manual_seed(3) if draws else None
        self.proj: nn.Module | None = None

    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        """Stay in training form, and forget to return the network, as users' networks do."""
        super().train(mode)
        self.norm.training = True

    def forward(self, x: Tensor) -> Tensor:
        """Compute the output, and change everything else on the way."""
        with torch.no_grad():
            x.mul_(1.5)
            self.norm.bias.data = self.norm.bias.data + 0.5
            self.own.data.mul_(1.25)
            self.seen += 1
            self.state[0] += 1
        self.table = self.table + 1
        self._buffers["seen"] = self._buffers.pop("seen")
        self.calls, self.new_attribute = self.calls + 1, True
        self.history.append(2)
        self.facts["deep"]["calls"] += 1
        self.flags.discard("first")
        self.numbers[0] += 1
        self.meter.total += 1
        self.meter.values.append(0.5)
        noise = torch.rand((), generator=self.draws) + random.random() + np.random.rand()
        if self.proj is None:
            self.proj = nn.Linear(4, 4)
        self.head.bias.requires_grad_(not self.head.bias.requires_grad)
        self.mid.register_forward_hook(lambda *_: None)
        os.environ["RESTLESS"] = "1"
        warnings.simplefilter("ignore")
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.use_deterministic_algorithms(True, warn_only=True)
        if Restless.fails_in is not None:
            Restless.fails_in -= 1
            if not Restless.fails_in:
                raise RuntimeError("in the middle")
        y = F.batch_norm(self.conv(x), self.norm.running_mean, self.norm.running_var, training=True)
        y = F.dropout(F.relu(self.mid(self.norm(y))), 0.1, training=True).mean((2, 3))
        with torch.enable_grad():
            loss = self.head(y.detach()).sum() + self.norm.weight.sum()
            if loss.requires_grad:
                loss.backward()
        return self.head(y) + noise.to(y)


class Meter:
    """An object that is no module, as metrics and caches of users' networks are."""

    def __init__(self) -> None:
        self.total, self.values = 0, [0.0]


def state_of(network: nn.Module) -> dict[str, Any]:
    """The parameters, buffers, gradients, modes, hooks and attributes of a network, by the path to each."""
    return dict(_facts("network", network, set()))


def _facts(path: str, value: Any, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Tensor):
        yield path, _bits(value)
        yield f"{path} is", (id(value), value.requires_grad, value.dtype, tuple(value.stride()), value.data_ptr())
        if value.is_leaf and value.grad is not None:
            yield from _facts(f"{path}.grad", value.grad, seen)
    elif isinstance(value, bool | int | float | str | None):
        yield path, value
    elif isinstance(value, np.ndarray):
        yield path, value.tobytes()
    elif isinstance(value, torch.Generator):
        yield path, value.get_state().numpy().tobytes()
    elif id(value) not in seen:
        seen.add(id(value))
        yield f"{path} is", id(value)
        if isinstance(value, dict):
            yield f"{path} keys", [str(key) for key in value]
        elif isinstance(value, list | set | tuple):
            yield f"{path} length", len(value)
        for name, part in _parts(value):
            yield from _facts(f"{path}.{name}", part, seen)


def _parts(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list | tuple | set):
        return list(enumerate(value))
    if isinstance(value, nn.Module):
        return list(vars(value).items())
    return list(vars(value).items()) if type(value).__module__ == __name__ else []


def _bits(tensor: Tensor) -> bytes | str:
    return (
        "meta"
        if tensor.is_meta
        else tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()
        if tensor.ndim
        else repr(tensor.detach().double().item())
    )


def global_state() -> dict[str, Any]:
    """The random states, the settings of torch, the warning filters, the environment and the working directory."""
    cudnn = torch.backends.cudnn
    return {
        "Python's random state": random.getstate(),
        "numpy's random state": str(np.random.get_state()),
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "CUDA's random states": [s.numpy().tobytes() for s in torch.cuda.get_rng_state_all()]
        if torch.cuda.is_initialized()
        else [],
        "gradients": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "default dtype": torch.get_default_dtype(),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        "threads": torch.get_num_threads(),
        "precision": torch.get_float32_matmul_precision(),
        "cudnn": (cudnn.enabled, cudnn.benchmark, cudnn.deterministic),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "module hooks": len(nn.modules.module._global_forward_hooks) + len(nn.modules.module._global_forward_pre_hooks),
        "warning filters": list(warnings.filters),
        "environment": {name: value for name, value in os.environ.items() if name not in _OF_TOOLS},
        "working directory": os.getcwd(),
    }


_OF_TOOLS = {"PYTEST_CURRENT_TEST", "TORCHINDUCTOR_CACHE_DIR"}
"""Variables that pytest and torch's compiler set when they are first used."""


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names of what differs."""
    return [name for name in {**before, **after} if before.get(name, "(none)") != after.get(name, "(none)")]
