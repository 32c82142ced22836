"""Take one backbone with random weights through all stages: plan, compress, forward, backward, materialize, save, load."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.backbones.registry import create_backbone
from nes_lab.cost.count import count
from nes_lab.errors import BudgetError, NesLabError, PlanError
from nes_lab.export.pretrained import from_pretrained, save_pretrained
from nes_lab.nn.inspect import epitome_layers
from nes_lab.planning.planner import plan_for_budget
from nes_lab.records.budget import Budget
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.surgery.replace import materialize, replace_layers
from nes_lab.text import format_shape
from nes_lab.zoo.random_weights import draw_constants_, float_tensors, outputs, set_norms_, spread
from nes_lab.zoo.result import ZooRow

__all__ = ["check_backbone"]

MAX_FLOAT32_DIFFERENCE = 1e-4
"""Largest difference between outputs that rounding may cause in float32, as a share of the outputs' spread."""

MAX_FLOAT64_DIFFERENCE = 1e-9
"""Largest difference between outputs that rounding may cause in float64, as a share of the outputs' spread."""

MIN_RELATIVE_SPREAD = 1e-2
"""Smallest spread, as a share of the largest output, at which outputs count as dependent on the input."""

MAX_OUTPUT = 1e6
"""Largest output of a usable network; a larger one means that outputs explode with depth."""


@dataclass
class _CheckState:
    """The progress of checking a backbone: the result so far, and the stage that is running.

    Args:
        row: The result so far.
        seconds: Time in seconds of each stage that has ended.
        stage: The stage that is running.
    """

    row: ZooRow
    seconds: dict[str, float] = field(default_factory=dict)
    stage: str = "create"

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        self.stage, started = stage, time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = round(time.perf_counter() - started, 2)

    def update(self, **facts: Any) -> None:
        self.row = replace(self.row, **facts)

    def note(self, text: str) -> None:
        self.update(note=f"{self.row.note}; {text}".removeprefix("; "))


def check_backbone(
    name: str, *, params: float = 0.6, seed: int = 0, input_size: tuple[int, int, int] | None = None, **options: Any
) -> ZooRow:
    """Check that a backbone with random weights can be planned, compressed, run, trained, materialized, saved and loaded.

    Params and multiply-adds of the compressed model are compared with the compression plan. Its gradients are compared with
    those of the dense model. Its outputs are compared with those of the materialized model and of the loaded model. A failure
    is reported in the result, not raised. The global random state is not changed.

    Args:
        name: Name of one of our backbones, such as ``small_mobilenetv2``, or of any timm model.
        params: Share of the dense model's params to keep, 60 % by default. If compression cannot reach this share, the
            budget is raised to 1.1 times the smallest possible number of params.
        seed: Seed of the random weights and inputs.
        input_size: Shape ``(channels, height, width)`` of the images; None means the model's default.
        **options: Further arguments of :func:`nes_lab.create_backbone`.

    Raises:
        OptionError: If no backbone has that name; the message names the closest ones.

    Examples:
        >>> import nes_lab
        >>> row = nes_lab.check_backbone("small_mobilenetv2", input_size=(3, 16, 16))
        >>> row.status, row.reached_params <= 0.6 * row.params
        ('passed', True)
    """
    state = _CheckState(ZooRow(name, "passed"))
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        model = _create(state, name, seed, input_size, options)
        try:
            _pass_stages(state, model, params, seed)
        except NesLabError as error:
            state.update(status="refused", stage=state.stage, reason=str(error))
        except Exception as error:  # noqa: BLE001 -- a network may raise anything; that is a result too
            state.update(status="failed", stage=state.stage, reason=f"{type(error).__name__}: {error}")
    return replace(state.row, seconds=state.seconds)


def _create(state: _CheckState, name: str, seed: int, size: Any, options: dict[str, Any]) -> nn.Module:
    with state.at("create"):
        model = _make(name, seed, options)
        config = getattr(model, "default_cfg", None) or {}
        default = tuple(config.get("input_size") or (3, 224, 224))
        state.update(input_shape=(1, *(size or default)))
        if size and config.get("input_size") and tuple(size) != default:
            state.note(f"input {format_shape(size[1:])} instead of the default {format_shape(default[1:])}")
    return model


def _make(name: str, seed: int, options: dict[str, Any]) -> nn.Module:
    torch.manual_seed(seed)
    return create_backbone(name, **options).eval()


def _pass_stages(state: _CheckState, model: nn.Module, params: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((2, *state.row.input_shape[1:]), generator=generator)
    with state.at("create"):
        _make_input_matter(state, model, x, generator)
    with state.at("plan"):
        plan = _plan(state, model, params, x[:1])
    with state.at("compress"):
        small = replace_layers(model, plan)
    with state.at("count"):
        _check_counts(state, small, plan, x[:1])
    with state.at("forward"):
        compressed = outputs(small, x)
    with state.at("materialize"):
        _check_materialized(state, small, compressed, materialize(small), model, x)
    with state.at("backward"):
        _check_gradients(state, small, model, plan, x)
    with tempfile.TemporaryDirectory() as folder:
        with state.at("save"):
            saved = save_pretrained(small, Path(folder) / "saved", plan=plan, verify=False)  # counted above
        with state.at("load"):
            _check_equal(outputs(small, x), outputs(from_pretrained(saved, allow_import=True), x))


def _make_input_matter(state: _CheckState, model: nn.Module, x: Tensor, generator: torch.Generator) -> None:
    """Change a network's random weights, and if necessary its batch-norm statistics, so that its output depends on its input."""
    broken = [name for name, parameter in model.named_parameters() if not bool(parameter.isfinite().all())]
    if broken:
        raise PlanError(f"the fresh weights are not finite: {broken[0]} holds NaN or infinity")
    draw_constants_(model, generator)
    depends = _depends_on_input(outputs(model, x))
    if not depends:
        set_norms_(model, x)
        state.note(
            "batch norms estimated on the inputs, because activations of the untrained network vanish or explode"
        )
        depends = _depends_on_input(outputs(model, x))
    if not depends:
        raise PlanError("with random weights the output does not depend on the input, so there is nothing to compare")


def _depends_on_input(tensors: list[Tensor]) -> bool:
    scale = max((float(t.abs().max()) for t in tensors), default=0.0)
    return 0 < scale < MAX_OUTPUT and spread(tensors) > MIN_RELATIVE_SPREAD * scale


def _plan(state: _CheckState, model: nn.Module, params: float, x: Tensor) -> CompressionPlan:
    try:
        plan = plan_for_budget(model, Budget(params=params), x)
        state.update(asked=params)
    except BudgetError as error:
        if error.least is None:
            raise
        dense = sum(p.numel() for p in model.parameters())
        limit = 1.1 * error.least.params
        state.update(params=dense, least=error.least.params / dense, asked=limit / dense)
        if limit >= dense:
            raise
        plan = plan_for_budget(model, Budget(params=limit), x)
    state.update(params=plan.dense.params, madds=plan.dense.madds)
    state.update(replaced=len(plan.layers), kept=len(plan.kept_layers))
    return plan


def _check_counts(state: _CheckState, small: nn.Module, plan: CompressionPlan, x: Tensor) -> None:
    report = count(small, x)
    state.update(reached_params=report.params, reached_madds=report.madds)
    if (report.params, report.madds) != (plan.predicted.params, plan.predicted.madds):
        raise AssertionError(
            f"counted {report.params:,} params and {report.madds:,} madds; the plan predicts {plan.predicted}"
        )


def _check_gradients(state: _CheckState, small: nn.Module, model: nn.Module, plan: CompressionPlan, x: Tensor) -> None:
    """Check that each epitome gets a gradient in training mode.

    An epitome without a gradient is an error only if the layer's weight in the dense network does get a gradient.
    """
    _backward(small, x)
    without = [name for name, layer in epitome_layers(small) if not _has_gradient(layer.epitome)]
    state.update(gradients=len(plan.layers) - len(without))
    if without:
        _backward(model, x)
        lost = [name for name in without if _has_gradient(model.get_submodule(name).weight)]  # type: ignore[arg-type]
        if lost:
            raise AssertionError(f"no gradient reaches the epitome of {lost[0]!r}, though one reaches the dense weight")
        state.note(f"{len(without)} layers are not used in training mode, dense or compressed")
    for net in (small, model):
        net.zero_grad(set_to_none=True)
        net.eval()


def _backward(model: nn.Module, x: Tensor) -> None:
    for module in model.modules():
        if hasattr(module, "drop_prob"):  # stochastic depth would skip blocks
            module.drop_prob = 0.0  # type: ignore[assignment]
    tensors = float_tensors(model.train()(x))
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros(())
    for t in tensors:
        total = total + (t * torch.randn(t.shape, generator=generator).to(t)).sum()
    total.backward()


def _has_gradient(parameter: Tensor) -> bool:
    return parameter.grad is not None and bool(parameter.grad.isfinite().all()) and bool(parameter.grad.any())


def _check_materialized(
    state: _CheckState, small: nn.Module, compressed: list[Tensor], plain: nn.Module, model: nn.Module, x: Tensor
) -> None:
    """Check a materialized model: the compressed model converted to ordinary dense layers.

    It must have no epitome layers. Its state dict must have the names and shapes of the dense model's. Its outputs must be those
    of the compressed model, up to rounding.
    """
    ours = [name for name, module in plain.named_modules() if type(module).__module__.startswith("nes_lab.nn")]
    if ours:
        raise AssertionError(f"{ours[0]!r} is still a layer of this package after materialize")
    if {k: v.shape for k, v in plain.state_dict().items()} != {k: v.shape for k, v in model.state_dict().items()}:
        raise AssertionError("the materialized model's state dict has other names or shapes than the dense model's")
    difference = _difference(compressed, outputs(plain, x))
    if difference > MAX_FLOAT32_DIFFERENCE:
        state.note(
            f"in float32 rounding grows to {difference:.0e}, because the network is deep and untrained; compared in float64"
        )
        difference = _difference(outputs(small.double(), x.double()), outputs(plain.double(), x.double()))
        small.float()
        if difference > MAX_FLOAT64_DIFFERENCE:
            raise AssertionError(
                f"compressed and materialized outputs differ by {difference:.1e} of the spread in float64"
            )
    state.update(agreement=float(f"{difference:.2g}"))


def _difference(a: list[Tensor], b: list[Tensor]) -> float:
    """Return how much the outputs of two models differ for one batch; 0 if they are equal.

    This is the largest difference between their outputs, divided by how much outputs depend on the input. The divisor
    is the largest difference between the first model's outputs for the first and the last sample.
    """
    if [t.shape for t in a] != [t.shape for t in b]:
        raise AssertionError(f"outputs have shapes {[tuple(t.shape) for t in b]}, not {[tuple(t.shape) for t in a]}")
    if not all(bool(t.isfinite().all()) for t in (*a, *b)):
        raise AssertionError("outputs hold NaN or infinity")
    return max(float((s - t).abs().max()) for s, t in zip(a, b, strict=True)) / max(spread(a), 1e-30)


def _check_equal(a: list[Tensor], b: list[Tensor]) -> None:
    if not all(torch.equal(s, t) for s, t in zip(a, b, strict=True)):
        raise AssertionError("the loaded model gives other outputs than the saved one")
