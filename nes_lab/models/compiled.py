"""Compile a network with frozen weights, so that everything that is computed from weights alone is computed once.

Tests: tests/models/test_optimize.py
"""

from __future__ import annotations

import os
import shutil
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

__all__ = ["CompiledNetwork", "why_not_compiled"]

_COMPILERS = ("g++", "c++", "clang++", "cl")


class CompiledNetwork(nn.Module):
    """Runs a network through ``torch.compile``, with the weights as constants of the compiled code.

    The first call with each shape of input compiles. Later changes of the weights are not seen. Outputs have no gradients.
    Copies and pickled files of it hold the network, and compile again at their first call.

    Args:
        source: The network, in evaluation mode. It is used, not copied.
    """

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.source = source
        self.eval()

        def run(*args: Any, **kwargs: Any) -> Any:
            return source(*args, **kwargs)

        # a new code object: the compiler keeps a limited number of versions for each, and other networks would use them up
        own = FunctionType(
            run.__code__.replace(co_name=f"run_{id(self)}"), run.__globals__, "run", None, run.__closure__
        )
        self._run = torch.compile(own, options={"freezing": True}, dynamic=False)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the compiled network; inputs and outputs are those of the network."""
        with torch.inference_mode(False), torch.no_grad():
            args, kwargs = tree_map_only(Tensor, _plain, (args, kwargs))
            return self._run(*args, **kwargs)

    def __deepcopy__(self, memo: dict) -> CompiledNetwork:
        import copy

        return CompiledNetwork(copy.deepcopy(self.source, memo))

    def __reduce__(self) -> tuple:
        return (CompiledNetwork, (self.source,))


def _plain(tensor: Tensor) -> Tensor:
    """Copy a tensor of inference mode: for such tensors the compiler would make a version of its own."""
    return tensor.clone() if tensor.is_inference() else tensor


def why_not_compiled(device: torch.device) -> str:
    """Return the reason why ``torch.compile`` cannot work here, if this is known without trying; empty if it may work."""
    if device.type != "cpu":
        return ""
    wanted = [os.environ["CXX"]] if os.environ.get("CXX") else list(_COMPILERS)
    if not any(shutil.which(name) for name in wanted):
        return f"torch.compile needs a C++ compiler, and this machine has no {' or '.join(wanted)}"
    return ""
