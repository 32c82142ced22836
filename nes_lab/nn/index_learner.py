"""Predict starts (starting indices) from a layer's input with a small network, the index learner.

During training, a moving average of the predicted starts is stored. Inference uses the stored starts.

Source: Zhou et al., ICLR 2020, arXiv:1907.05642. Departs from the paper: by default (``squash="tanh"``) starts stay within
``reach`` cells of their values with ``"tiled"`` routing. With ``squash="sigmoid"`` they move anywhere, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, get_args

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from nes_lab.epitome.taps import start_limits
from nes_lab.epitome.transforms import transforming
from nes_lab.errors import OptionError, check_choice
from nes_lab.execution.layer_taps import LearnedStarts
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.nn.all_reduce import all_reduce_sum
from nes_lab.nn.predict_step import Move, Prediction, simple_learner
from nes_lab.nn.starts import LayerFacts, Starts, learned_starts, start_name
from nes_lab.nn.store_starts import store_starts
from nes_lab.records.options import LearnerKind, Squash

__all__ = ["IndexLearner", "LearnerStarts", "averages_ranks", "check_learner_options", "repeats_forward"]

_CONV_AND_NORM = {1: (nn.Conv1d, nn.BatchNorm1d), 2: (nn.Conv2d, nn.BatchNorm2d), 3: (nn.Conv3d, nn.BatchNorm3d)}


def check_learner_options(
    reach: float = 1.0, squash: Squash = "tanh", momentum: float = 0.9, learner: LearnerKind = "mlp"
) -> None:
    """Check the options of an index learner, the network that predicts starts.

    Raises:
        OptionError: If an option is not allowed; the message names the option, its value and what is allowed.
    """
    check_choice("squash", squash, get_args(Squash))
    check_choice("learner", learner, get_args(LearnerKind))
    if isinstance(momentum, bool) or not isinstance(momentum, Real) or not 0 <= momentum < 1:
        raise OptionError(f"momentum={momentum!r}; the moving average needs a number in [0, 1)")
    if isinstance(reach, bool) or not isinstance(reach, Real) or not 0 < reach < float("inf"):
        raise OptionError(f"reach={reach!r}; it is the largest move in cells: a finite number above 0")


class IndexLearner(nn.Module):
    """Predicts starts with a small network. The network maps an epitome layer's input to one number per start and sample.

    There are two kinds of network. Before training, both return only zeros.

    - ``mlp``: global average pooling, then two linear layers; the last one is initialized to zero
    - ``conv``: convolution with kernel size 3 and stride 2, batch norm, ReLU6, convolution with kernel size 1, batch norm whose
      scale is initialized to zero, global average pooling

    Args:
        channels: Number of input channels of the epitome layer.
        outputs: Number of starts to predict.
        spatial: Number of spatial axes of the input, 0 to 3; 0 for a linear layer.
        kind: Kind of network, ``"mlp"`` or ``"conv"``.

    Shape:
        - input for linear layers ``(N, C)`` or ``(N, T, C)``, for convolutions ``(N, C, ...)``, with ``N`` samples and ``C``
          channels
        - output ``(N, outputs)``

    Examples:
        >>> IndexLearner(8, 5, spatial=2)(torch.randn(3, 8, 4, 4)).shape
        torch.Size([3, 5])
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        spatial: int,
        kind: LearnerKind = "mlp",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_choice("learner", kind, get_args(LearnerKind))
        if kind == "conv" and spatial == 0:
            raise OptionError("learner='conv' needs a convolution's input; a linear layer takes learner='mlp'")
        self.spatial, self.kind = spatial, kind
        hidden = max(8, min(64, channels // 4))
        where = {"device": device, "dtype": dtype}
        if kind == "mlp":
            last: nn.Module = nn.Linear(hidden, outputs, **where)
            self.body = nn.Sequential(nn.Linear(channels, hidden, **where), nn.ReLU(), last)
        else:
            conv, norm = _CONV_AND_NORM[spatial]
            last = norm(outputs, **where)
            reduce = conv(channels, hidden, 3, stride=2, padding=1, bias=False, **where)
            spread = conv(hidden, outputs, 1, bias=False, **where)
            self.body = nn.Sequential(reduce, norm(hidden, **where), nn.ReLU6(), spread, last)
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        for parameter in self.body[-1].parameters():
            nn.init.zeros_(parameter)

    def reset_parameters(self) -> None:
        """Set the weights of the network that predicts starts to new random numbers.

        The weights of its last layer become 0.
        """
        for part in self.body:
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()
        self._begin_at_zero()

    def forward(self, x: Tensor) -> Tensor:
        """Compute one number per start for each sample of the layer's input.

        The caller turns these numbers into starts (positions of patches in the epitome).
        """
        if self.kind == "conv":
            return self.body(x).flatten(2).mean(2)
        if self.spatial:
            return self.body(x.flatten(2).mean(2))
        return self.body(x if x.ndim == 2 else x.flatten(1, -2).mean(1))


@learned_starts("learner")
class LearnerStarts(Starts):
    """Holds a layer's starts. They are a moving average of the starts that an :class:`IndexLearner` predicts during training.

    Each forward pass in training does three things. ``x`` is the layer's input, and ``eta`` is the index learner, a small
    network.

    1. Average ``eta(x)`` over all samples (of all ranks, if training is distributed).
    2. Compute new starts from the average. The formula depends on ``squash``, as described below.
    3. Use and store ``momentum * old + (1 - momentum) * new``, where ``old`` are the starts stored before and ``new`` are those
       of step 2.

    The formulas of step 2 are:

    - ``squash="tanh"``: ``anchor + reach * tanh(average)``, where ``anchor`` are the starts of ``"tiled"`` routing. The
      result is clamped so that patches stay inside the epitome. With the circular boundary it is not clamped, because
      patches wrap around the end of the epitome.
    - ``squash="sigmoid"``: ``range * sigmoid(average)``, where ``range`` is the largest start at which a patch fits.
      With the circular boundary, ``range`` is the number of cells.

    Inside ``torch.func.vmap``, as for gradients of each sample, every sample is a batch of its own in these steps. Then the mean
    of the results of step 3 is stored.

    Args:
        geometry: Shapes of the weight, the epitome and the patches, and the layer's ``scope`` and ``boundary``.
        channels: Number of input channels of the layer.
        spatial: Number of spatial axes of the layer's input.
        dtype: dtype of the starts.
        reach: Largest distance of a start from its ``"tiled"`` value, in cells; only for ``squash="tanh"``.
        squash: Function that bounds the predictions, ``"tanh"`` or ``"sigmoid"``.
        momentum: Factor of the old starts in the moving average, in [0, 1).
        learner: Kind of network, ``"mlp"`` or ``"conv"``.
        device: Device of starts and index learner; None: torch's default.
        eta_dtype: dtype of the index learner; None: torch's default.
    """

    fractional = stored = learned = averaged = True
    predicting = True
    """False: forward passes in training use the stored starts, as in evaluation. ``learner_every`` of a recipe sets it."""

    def __init__(
        self,
        geometry: EpitomeGeometry,
        channels: int,
        spatial: int,
        dtype: torch.dtype,
        reach: float = 1.0,
        squash: Squash = "tanh",
        momentum: float = 0.9,
        learner: LearnerKind = "mlp",
        device: torch.device | str | None = None,
        eta_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(geometry, "learner")
        check_learner_options(reach, squash, momentum, learner)
        self.reach, self.squash, self.momentum, self.spatial = reach, squash, momentum, spatial
        for axis in self.sampled:
            self.register_buffer(start_name(geometry, axis), self._begin(axis, dtype, device))
            self.register_buffer(self._name("anchor", axis), self._begin(axis, dtype, device), persistent=False)
            self.register_buffer(self._name("previous", axis), self._begin(axis, dtype, device), persistent=False)
        outputs = sum(t.numel() for _, t in self.tables())
        self.learner = IndexLearner(channels, outputs, spatial, learner, device, eta_dtype) if outputs else None

    @classmethod
    def for_layer(cls, routing: str, facts: LayerFacts) -> LearnerStarts:
        """Make the module that holds the starts of a new layer (positions of patches), and the network that predicts them.

        The network has the layer's dtype.
        """
        return cls(
            facts.geometry,
            facts.channels,
            facts.spatial,
            facts.starts_dtype,
            **facts.options,
            device=facts.device,
            eta_dtype=facts.dtype,
        )

    def options(self) -> dict[str, Any]:
        """Return the layer's ``reach``, ``squash``, ``momentum`` and ``learner`` arguments, by name."""
        kind = "mlp" if self.learner is None else self.learner.kind
        return {"reach": self.reach, "squash": self.squash, "momentum": self.momentum, "learner": kind}

    def learner_params(self) -> int:
        """Count the parameters of the network that predicts the starts. Inference does not need this network."""
        return sum(p.numel() for p in self.parameters())

    def _name(self, what: str, axis: int) -> str:
        return f"{what}_{self.geometry.axes[axis].name}"

    def _range(self, axis: int, like: Tensor) -> Tensor | int:
        circular = self.geometry.boundary == "circular"
        return self.geometry.axes[axis].cells if circular else start_limits(self.geometry, axis, like)

    def _begin(self, axis: int, dtype: torch.dtype, device: torch.device | str | None) -> Tensor:
        tiling = self.anchors(axis, dtype, device)
        return tiling if self.squash == "tanh" else torch.zeros_like(tiling) + self._range(axis, tiling) * 0.5

    def reset(self) -> None:
        """Set the starts (positions of patches) back to their values before training.

        Give the network that predicts them new weights.
        """
        super().reset()
        for axis, table in self.tables():
            table.copy_(self._begin(axis, table.dtype, table.device))
        if self.learner is not None:
            self.learner.reset_parameters()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        has = [name for name in state_dict if name.startswith(prefix)]
        if has and self.learner is not None and not any(name.startswith(f"{prefix}learner.") for name in has):
            errors: Sequence[str] = rest[-1]
            assert isinstance(errors, list)  # torch passes its list of messages
            errors.append(
                f"{prefix[:-1]} holds the starts of a frozen layer; call freeze() on this layer before loading"
            )
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def derive(self) -> None:
        """Compute the starts (positions of patches) that the layer had before training, and store them in a buffer."""
        for axis in self.sampled:
            anchor = getattr(self, self._name("anchor", axis))
            anchor.copy_(self._begin(axis, anchor.dtype, anchor.device))

    def read(self, axis: int) -> Tensor:
        """Return the stored starts of one weight axis, clamped so that patches stay inside the epitome.

        With the circular boundary, where patches wrap around the end of the epitome, starts are not clamped.
        """
        return self.inside(self.table(axis), axis)

    def forward(self, x: Tensor) -> tuple[Tensor | None, ...]:
        """Return the starts of each weight axis for one input of the layer; None for an axis without starts.

        In training mode, starts are predicted from the input, averaged with the stored starts, and stored. In evaluation mode,
        and while ``predicting`` is False, the stored starts are returned.
        """
        if not (self.training and self.predicting) or self.learner is None:
            return self.current()
        raw, samples = self._predict(x)
        if samples is None:
            return self.current()
        transformed, recomputing = transforming(), repeats_forward()
        finite = raw.isfinite().all()  # one batch with NaN or infinity must not ruin the stored starts
        pieces = raw.split([t.numel() for _, t in self.tables()])
        starts: list[Tensor | None] = [None] * len(self.geometry.axes)
        for (axis, table), piece in zip(self.tables(), pieces, strict=True):
            previous = table if transformed else getattr(self, self._name("previous", axis))
            if not (recomputing or transformed):
                previous.copy_(table)
            mixed = self.momentum * previous + (1 - self.momentum) * self._squashed(piece.view_as(table), axis)
            mixed = torch.where(finite, mixed, previous)
            if transformed:
                store_starts(mixed, table)
            elif not recomputing:
                table.copy_(mixed.detach())
            starts[axis] = mixed
        return tuple(starts)

    def learned_starts(self, x: Tensor) -> LearnedStarts:
        """Return the starts of one training step, as :meth:`forward` predicts them from the layer's input.

        Args:
            x: Input of the layer. Gradients reach it and the index learner together with those of the layer.
        """
        simple = None
        if self.training and self.learner is not None and x.numel() and not averages_ranks():
            dtype = self.table(self.sampled[0]).dtype
            simple = simple_learner(self.learner, x.dtype) if dtype == x.dtype else None
        if simple is None:
            tensors = tuple(t for t in self(x) if t is not None)
            return LearnedStarts(tensors, np.concatenate([t.detach().numpy() for t in tensors]), False)
        recomputing = repeats_forward()
        if not recomputing:
            for axis in self.sampled:
                name = self._name("previous", axis)
                np.copyto(self._array(name), self._array(start_name(self.geometry, axis)))
        move = self._move(simple)
        prediction, begin = Prediction.of(x, simple, move), 0
        for _, table in self.tables():
            end = begin + table.numel()
            if not recomputing:
                table.copy_(torch.from_numpy(move.starts[begin:end]))
            begin = end
        return LearnedStarts(simple, move.starts, False, prediction)

    def _move(self, learner: tuple[Tensor, ...]) -> Move:
        """Return how predictions become starts, with all axes in one array."""
        previous, anchor = (
            np.concatenate([self._array(self._name(what, axis)) for axis in self.sampled])
            for what in ("previous", "anchor")
        )
        clamped, reach = self.geometry.boundary == "clamp", self.reach if self.squash == "tanh" else None
        limits = largest = self._joined_limits(anchor.dtype)
        if reach is None and not clamped:
            largest = np.concatenate(
                [np.full(len(t), self.geometry.axes[axis].cells, anchor.dtype) for axis, t in self.tables()]
            )
        last = self._array("weight of learner", learner[2]), self._array("bias of learner", learner[3])
        return Move(previous, anchor, limits, clamped, reach, largest, self.momentum, last, np.empty_like(previous))

    def from_tensors(self, tensors: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """Return the given starts as one entry per weight axis; None for an axis without starts.

        Args:
            tensors: The starts of each axis that has some.
        """
        starts: list[Tensor | None] = [None] * len(self.geometry.axes)
        if len(tensors) == 1 < len(self.sampled):  # all axes in one tensor
            tensors = tensors[0].split([table.numel() for _, table in self.tables()])
        for (axis, table), given in zip(self.tables(), tensors, strict=True):
            starts[axis] = given.view(table.shape)
        return tuple(starts)

    def _predict(self, x: Tensor) -> tuple[Tensor, int | None]:
        """Return the index learner's output, averaged over all samples of the layer's input, and the number of samples.

        The index learner is the network that predicts starts. In distributed training, the average is over the samples of
        all ranks. If there are no samples, the number is None.
        """
        assert self.learner is not None  # forward has checked
        dtype = self.table(self.sampled[0]).dtype
        batched = x if x.ndim > self.spatial + 1 or (self.spatial == 0 and x.ndim == 2) else x.unsqueeze(0)
        distributed = averages_ranks()
        samples = batched.shape[0] if batched.numel() else 0
        if samples == 0 and not distributed:
            return batched.new_zeros(0), None
        outputs = sum(t.numel() for _, t in self.tables())
        total = self.learner(batched).to(dtype).sum(0) if samples else batched.new_zeros(outputs, dtype=dtype)
        if not distributed:
            return total / samples, samples
        if transforming():  # inside vmap the sum has one row per sample; the number of samples must stay a number
            joined = all_reduce_sum(total)
            everywhere = int(all_reduce_sum(torch.tensor(samples, device=total.device)))
            return (joined / everywhere, everywhere) if everywhere else (joined, None)
        joined = all_reduce_sum(torch.cat([total, total.new_tensor([samples])]))
        everywhere = int(joined[-1])
        return (joined[:-1] / everywhere, everywhere) if everywhere else (joined, None)

    def _squashed(self, raw: Tensor, axis: int) -> Tensor:
        if self.squash == "sigmoid":
            return self._range(axis, raw) * torch.sigmoid(raw)
        return self.inside(getattr(self, self._name("anchor", axis)) + self.reach * torch.tanh(raw), axis)


def averages_ranks() -> bool:
    """Return True if predictions are averaged over the samples of several ranks."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def repeats_forward() -> bool:
    """Return True if activation checkpointing is repeating the forward pass during the backward pass."""
    # a repeated forward pass must not change the stored starts again
    if torch.compiler.is_compiling():
        return False
    return torch._C._current_graph_task_id() != -1
