"""Run training steps through Hugging Face Accelerate: mixed precision, several processes, accumulation and compilation.

Accelerate keeps its settings in global objects. This file restores these objects at the end of a ``with`` block.
Several trainings in one program may therefore use different devices and precisions.

Accelerate gets a module that contains the network, and changes only this outer module.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nes_lab.errors import OptionError
from nes_lab.packages import needed_for
from nes_lab.training.optim import mark_parameters_changed
from nes_lab.training.precision import Precision

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["Engine", "isolated_accelerate_state"]

COMPILER = "inductor"
_PLAIN = ("NO", "MULTI_CPU", "MULTI_GPU")


@contextmanager
def isolated_accelerate_state() -> Iterator[None]:
    """Clear Accelerate's global settings for the ``with`` block, and restore the previous ones afterwards."""
    with needed_for("training"):
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
    """A module that contains the network as its only child.

    Accelerate changes this outer module and leaves the network as it is.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


class Engine:
    """Runs the forward passes, backward passes and weight updates of one training.

    Args:
        device: Device of the network.
        precision: Dtype of the forward pass.
        accumulate: Number of backward passes before each update of the weights.
        compile: Compile the network with ``torch.compile``.

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
        """Set up Accelerate for a network and its optimizer, and restore Accelerate's global settings after the ``with`` block."""
        with isolated_accelerate_state():
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
        torch.set_num_threads(threads)  # Accelerate may have changed the number
        kind = str(accelerator.distributed_type.value)
        if kind not in _PLAIN:
            raise OptionError(
                f"Accelerate is set up for {kind}; NES Lab supports plain data parallel training only ({', '.join(_PLAIN)})"
            )
        PartialState().device = accelerator.state.device = self.device
        return accelerator

    def prepare(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Let Accelerate wrap a network and its optimizer.

        Call this method again after you replace modules of the network.
        """
        accelerator = self._running_accelerator()
        accelerator._models.clear()
        accelerator._optimizers.clear()
        self._forward = accelerator.prepare_model(_Shell(network))
        self._plain = optimizer
        self._optimizer = accelerator.prepare_optimizer(optimizer, device_placement=False)

    def _running_accelerator(self) -> Accelerator:
        if self._accelerator is None:
            raise RuntimeError("the engine works only inside running()")
        return self._accelerator

    def forward(self, images: Tensor) -> Tensor:
        """Run the forward pass of the network on a batch of images, and return its logits in float32."""
        return self._forward(images)

    def train(self) -> None:
        """Set the network to training mode, together with the modules that Accelerate wrapped around it."""
        self._forward.train()

    def accumulating(self) -> AbstractContextManager:
        """Return a context manager for one forward and one backward pass of the network.

        If several processes train together, they exchange gradients only in the last backward pass before an update of the
        weights.
        """
        return self._running_accelerator().accumulate(self._forward)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of a loss, and add them to the gradients that the parameters already have.

        If the forward pass uses float16, the loss is scaled first.
        """
        self._running_accelerator().backward(loss)

    def update(self, clip_grad: float | None = None) -> None:
        """Update the weights by one step of the optimizer.

        Args:
            clip_grad: Largest allowed norm of the gradient. A larger gradient is scaled down to this norm. None: no clipping.
        """
        if clip_grad is not None:
            self._running_accelerator().clip_grad_norm_(self._forward.parameters(), clip_grad)
        self._optimizer.step()
        mark_parameters_changed(self._plain)

    def scaler_state(self) -> dict[str, Any]:
        """Return the state of the loss scaler, as a dict.

        Only float16 trainings have a loss scaler. In all others the dict is empty.
        """
        scaler = None if self._accelerator is None else self._accelerator.scaler
        return dict(self._scaler_state) if scaler is None else scaler.state_dict()

    def load_scaler_state(self, state: dict[str, Any]) -> None:
        """Load a saved state of the loss scaler. An empty dict changes nothing."""
        self._scaler_state = dict(state)
