"""Hugging Face Accelerate at work: precision, data parallelism, accumulation, clipping and compilation of one training.

Accelerate keeps its state in singletons and changes the modules it prepares. Here both last for one ``with``: several
trainings of one process may differ in device and precision, and a network is never seen wrapped, at no checkpoint and
by no hook, since what is prepared is a shell around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nes_lab.errors import OptionError
from nes_lab.training.optim import count_change
from nes_lab.training.precision import Precision

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["Engine", "own_accelerate_state"]

COMPILER = "inductor"
_PLAIN = ("NO", "MULTI_CPU", "MULTI_GPU")


@contextmanager
def own_accelerate_state() -> Iterator[None]:
    """Give Accelerate fresh singletons inside, and the caller's back afterwards."""
    from accelerate.state import AcceleratorState, GradientState, PartialState

    shared: list[dict[str, Any]] = [s._shared_state for s in (PartialState, AcceleratorState, GradientState)]
    before = [dict(state) for state in shared]
    for state in shared:
        state.clear()
    try:
        yield
    finally:
        for state, values in zip(shared, before, strict=True):
            state.clear()
            state.update(values)


class _Shell(nn.Module):
    """What Accelerate may patch and wrap in the network's place."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


class Engine:
    """Runs the forward passes, backward passes and updates of one training.

    Args:
        device: Where the network is.
        precision: What its forward pass runs in.
        accumulate: Backward passes that make one update.
        compile: Compile the network.

    Examples:
        >>> net = nn.Linear(2, 1)
        >>> engine = Engine(torch.device("cpu"), Precision(torch.device("cpu"), "off"))
        >>> with engine.running(net, torch.optim.SGD(net.parameters(), lr=0.1)):
        ...     with engine.accumulating():
        ...         engine.backward(engine.forward(torch.ones(4, 2)).sum())
        ...     engine.update()
    """

    def __init__(self, device: torch.device, precision: Precision, accumulate: int = 1, compile: bool = False) -> None:
        self.device, self.precision, self.accumulate, self.compile = device, precision, accumulate, compile
        self._accelerator: Accelerator | None = None
        self._forward: Any = None
        self._scaler_state: dict[str, Any] = {}

    @contextmanager
    def running(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        """Have Accelerate at hand inside."""
        with own_accelerate_state():
            self._accelerator = self._accelerate()
            try:
                self.prepare(network, optimizer)
                if self._accelerator.scaler is not None and self._scaler_state:
                    self._accelerator.scaler.load_state_dict(self._scaler_state)
                yield
            finally:
                self._scaler_state = self.scaler_state()
                self._accelerator = self._forward = None

    def _accelerate(self) -> Accelerator:
        from accelerate import Accelerator
        from accelerate.state import PartialState
        from accelerate.utils import DynamoBackend, GradientAccumulationPlugin, TorchDynamoPlugin

        threads = torch.get_num_threads()
        accelerator = Accelerator(
            cpu=self.device.type == "cpu",
            mixed_precision=self.precision.accelerate,
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=self.accumulate),
            dynamo_plugin=TorchDynamoPlugin(backend=DynamoBackend((COMPILER if self.compile else "no").upper())),
        )
        torch.set_num_threads(threads)  # Accelerate may have taken its own choice
        kind = str(accelerator.distributed_type.value)
        if kind not in _PLAIN:
            raise OptionError(
                f"Accelerate is set up for {kind}; use plain data parallel training ({', '.join(_PLAIN)})"
            )
        PartialState().device = accelerator.state.device = self.device
        return accelerator

    def prepare(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Take a network and its optimizer, once more after modules were exchanged."""
        accelerator = self._here()
        accelerator._models.clear()
        accelerator._optimizers.clear()
        self._forward = accelerator.prepare_model(_Shell(network))
        self._plain = optimizer
        self._optimizer = accelerator.prepare_optimizer(optimizer, device_placement=False)

    def _here(self) -> Accelerator:
        if self._accelerator is None:
            raise RuntimeError("the engine works inside running() only")
        return self._accelerator

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits, as float32."""
        return self._forward(images)

    def train(self) -> None:
        """Put the network into training mode, together with what is wrapped around it."""
        self._forward.train()

    def accumulating(self) -> AbstractContextManager:
        """Return the context of one forward and backward pass; gradients are exchanged in an update's last one."""
        return self._here().accumulate(self._forward)

    def backward(self, loss: Tensor) -> None:
        """Back-propagate, scaled if need be."""
        self._here().backward(loss)

    def update(self, clip_grad: float | None = None) -> None:
        """Clip the gradients if asked, and take one step of the optimizer."""
        if clip_grad is not None:
            self._here().clip_grad_norm_(self._forward.parameters(), clip_grad)
        self._optimizer.step()
        count_change(self._plain)

    def scaler_state(self) -> dict[str, Any]:
        """Return the loss scaler's state; empty without one."""
        scaler = None if self._accelerator is None else self._accelerator.scaler
        return dict(self._scaler_state) if scaler is None else scaler.state_dict()

    def load_scaler_state(self, state: dict[str, Any]) -> None:
        """Scale on from a saved state; one saved without a scaler leaves it fresh."""
        self._scaler_state = dict(state)
