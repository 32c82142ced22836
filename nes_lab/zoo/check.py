"""Taking one backbone all the way, with random weights."""

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
from nes_lab.surgery.replace import compress, materialize
from nes_lab.zoo.random_weights import numbers_of, outputs, set_norms_, spread, wake_
from nes_lab.zoo.result import ZooRow

__all__ = ["check_backbone"]

_ROUNDING = 1e-4  # of the spread; sums in another order, in float32
_EXACT = 1e-9  # the same in float64


@dataclass
class _Journey:
    """What is known so far."""

    row: ZooRow
    seconds: dict[str, float] = field(default_factory=dict)
    stage: str = "create"

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        self.stage, begun = stage, time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = round(time.perf_counter() - begun, 2)

    def learn(self, **facts: Any) -> None:
        self.row = replace(self.row, **facts)

    def note(self, text: str) -> None:
        self.learn(note=f"{self.row.note}; {text}".removeprefix("; "))


def check_backbone(
    name: str, *, params: float = 0.6, seed: int = 0, input_size: tuple[int, int, int] | None = None, **options: Any
) -> ZooRow:
    """Plan, compress, forward, backward, materialize, save and load a backbone with random weights.

    Each stage is compared with what it promises: counts with the plan's, gradients with the dense model's, outputs with those of the
    materialized and of the loaded model. A failure is a row too. The global random state is left alone.

    Args:
        name: As :func:`nes_lab.create_backbone` takes it.
        params: Params to keep, as a share of the dense model; where that cannot be reached, the least that can plus a tenth.
        seed: Of weights and inputs.
        input_size: ``(channels, height, width)``; None: the model's default.
        **options: Of the backbone.

    Raises:
        OptionError: If no backbone has that name.

    Examples:
        >>> row = check_backbone("small_mobilenetv2", input_size=(3, 16, 16))
        >>> row.status, row.reached_params <= 0.6 * row.params
        ('passed', True)
    """
    journey = _Journey(ZooRow(name, "passed"))
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        model = _create(journey, name, seed, input_size, options)
        try:
            _travel(journey, model, params, seed)
        except NesLabError as error:
            journey.learn(status="refused", stage=journey.stage, reason=str(error))
        except Exception as error:  # noqa: BLE001 -- a network written by anyone may raise anything, and is a row all the same
            journey.learn(status="failed", stage=journey.stage, reason=f"{type(error).__name__}: {error}")
    return replace(journey.row, seconds=journey.seconds)


def _create(journey: _Journey, name: str, seed: int, size: Any, options: dict[str, Any]) -> nn.Module:
    with journey.at("create"):
        model = _again(name, seed, options)
        config = getattr(model, "default_cfg", None) or {}
        default = tuple(config.get("input_size") or (3, 224, 224))
        journey.learn(input_shape=(1, *(size or default)))
        if size and config.get("input_size") and tuple(size) != default:
            journey.note(f"input {_times(size)} instead of the default {_times(default)}")
    return model


def _times(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size[1:]))


def _again(name: str, seed: int, options: dict[str, Any]) -> nn.Module:
    torch.manual_seed(seed)
    return create_backbone(name, **options).eval()


def _travel(journey: _Journey, model: nn.Module, params: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((2, *journey.row.input_shape[1:]), generator=generator)
    with journey.at("create"):
        _awake(journey, model, x, generator)
    with journey.at("plan"):
        plan = _plan(journey, model, params, x[:1])
    with journey.at("compress"):
        small = compress(model, plan)
    with journey.at("count"):
        _counted(journey, small, plan, x[:1])
    with journey.at("forward"):
        found = outputs(small, x)
    with journey.at("materialize"):
        _compare(journey, small, found, materialize(small), model, x)
    with journey.at("backward"):
        _gradients(journey, small, model, plan, x)
    with tempfile.TemporaryDirectory() as folder:
        with journey.at("save"):
            saved = save_pretrained(small, Path(folder) / "saved", plan=plan)
        with journey.at("load"):
            _same(outputs(small, x), outputs(from_pretrained(saved), x))


def _awake(journey: _Journey, model: nn.Module, x: Tensor, generator: torch.Generator) -> None:
    """See to it that the input matters to the output."""
    broken = [name for name, parameter in model.named_parameters() if not bool(parameter.isfinite().all())]
    if broken:
        raise PlanError(f"its fresh weights are no numbers: {broken[0]} holds NaN or infinity")
    wake_(model, generator)
    found = outputs(model, x)
    if not _lively(found):
        set_norms_(model, x)
        journey.note("batch norms set up on the inputs, as the untrained network fades or explodes")
        found = outputs(model, x)
    if not _lively(found):
        raise PlanError("with random weights its output does not depend on the input, so there is nothing to compare")


def _lively(found: list[Tensor]) -> bool:
    scale = max((float(t.abs().max()) for t in found), default=0.0)
    return 0 < scale < 1e6 and spread(found) > 1e-2 * scale


def _plan(journey: _Journey, model: nn.Module, params: float, x: Tensor) -> CompressionPlan:
    try:
        plan = plan_for_budget(model, Budget(params=params), x)
        journey.learn(asked=params)
    except BudgetError as error:
        if error.least is None:
            raise
        dense = sum(p.numel() for p in model.parameters())
        limit = 1.1 * error.least.params
        journey.learn(params=dense, least=error.least.params / dense, asked=limit / dense)
        if limit >= dense:
            raise
        plan = plan_for_budget(model, Budget(params=limit), x)
    journey.learn(params=plan.dense.params, madds=plan.dense.madds)
    journey.learn(replaced=len(plan.layers), kept=len(plan.kept_layers))
    return plan


def _counted(journey: _Journey, small: nn.Module, plan: CompressionPlan, x: Tensor) -> None:
    report = count(small, x)
    journey.learn(reached_params=report.params, reached_madds=report.madds)
    if (report.params, report.madds) != (plan.predicted.params, plan.predicted.madds):
        raise AssertionError(
            f"counted {report.params:,} params and {report.madds:,} madds; the plan predicts {plan.predicted}"
        )


def _gradients(journey: _Journey, small: nn.Module, model: nn.Module, plan: CompressionPlan, x: Tensor) -> None:
    """A backward pass in training mode reaches every epitome whose dense weight it reaches."""
    _backward(small, x)
    lacking = [name for name, layer in epitome_layers(small) if not _reached(layer.epitome)]
    journey.learn(gradients=len(plan.layers) - len(lacking))
    if lacking:
        _backward(model, x)
        lost = [name for name in lacking if _reached(model.get_submodule(name).weight)]  # type: ignore[arg-type]
        if lost:
            raise AssertionError(f"no gradient reaches the epitome of {lost[0]!r}, though one reaches the dense weight")
        journey.note(f"{len(lacking)} layers take no part in training's forward, dense or compressed")
    for net in (small, model):
        net.zero_grad(set_to_none=True)
        net.eval()


def _backward(model: nn.Module, x: Tensor) -> None:
    for module in model.modules():
        if hasattr(module, "drop_prob"):  # stochastic depth leaves whole blocks out of a batch of two
            module.drop_prob = 0.0  # type: ignore[assignment]
    found = numbers_of(model.train()(x))
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros(())
    for t in found:
        total = total + (t * torch.randn(t.shape, generator=generator).to(t)).sum()
    total.backward()


def _reached(parameter: Tensor) -> bool:
    return parameter.grad is not None and bool(parameter.grad.isfinite().all()) and bool(parameter.grad.any())


def _compare(
    journey: _Journey, small: nn.Module, found: list[Tensor], plain: nn.Module, model: nn.Module, x: Tensor
) -> None:
    """The materialized model is plain, has the dense model's state dict, and gives the compressed one's outputs."""
    ours = [name for name, module in plain.named_modules() if type(module).__module__.startswith("nes_lab.nn")]
    if ours:
        raise AssertionError(f"{ours[0]!r} is still a layer of this package after materialize")
    if {k: v.shape for k, v in plain.state_dict().items()} != {k: v.shape for k, v in model.state_dict().items()}:
        raise AssertionError("the materialized model's state dict has other names or shapes than the dense model's")
    off = _difference(found, outputs(plain, x))
    if off > _ROUNDING:
        exact = _difference(outputs(small.double(), x.double()), outputs(plain.double(), x.double()))
        small.float()
        journey.note(f"in float32 rounding grows to {off:.0e}, as deep untrained networks make it; float64 compared")
        off = exact
        if off > _EXACT:
            raise AssertionError(f"compressed and materialized outputs differ by {off:.1e} of the spread in float64")
    journey.learn(agreement=float(f"{off:.2g}"))


def _difference(a: list[Tensor], b: list[Tensor]) -> float:
    if [t.shape for t in a] != [t.shape for t in b]:
        raise AssertionError(f"outputs have shapes {[tuple(t.shape) for t in b]}, not {[tuple(t.shape) for t in a]}")
    if not all(bool(t.isfinite().all()) for t in (*a, *b)):
        raise AssertionError("outputs hold NaN or infinity")
    return max(float((s - t).abs().max()) for s, t in zip(a, b, strict=True)) / max(spread(a), 1e-30)


def _same(a: list[Tensor], b: list[Tensor]) -> None:
    if not all(torch.equal(s, t) for s, t in zip(a, b, strict=True)):
        raise AssertionError("the loaded model gives other outputs than the saved one")
