"""Measure ``nes_lab.optimize``: networks in their fastest exact form beside dense networks in theirs.

- The demo's epitome networks beside the narrower dense ones of equal multiply-adds, with ``keep_madds=False``.
- resnet50 and mobilenetv2_100 with epitomes beside the same network with dense layers, with ``keep_madds=True``. One plan is by hand,
  the other by ``strategy="speed"``, for which the device is calibrated first, in a folder of its own.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

import nes_lab
from benchmarks.opponents import randomize_norms, wide_network
from benchmarks.speed_parts.record import Row, compare, row
from benchmarks.speed_parts.settings import FOR_SPEED, Job, Settings, plan_options
from benchmarks.speed_parts.timing import take_turns

__all__ = ["jobs"]

BY_TABLE = "plan by strategy speed"
SECONDS = 20.0
"""Approximate seconds for tuning and timing in each call of ``optimize``; compiling and exporting come on top."""
DEMO_BATCHES, DEMO_WIDTHS = (1, 64), ("0.7", "0.5")
DEMO_TARGET = 1.20
TARGETS = {
    ("resnet50", 0.5, 1): 0.60,
    ("resnet50", 0.5, 16): 0.60,
    ("mobilenetv2_100", 0.75, 1): 0.95,
    ("mobilenetv2_100", 0.75, 16): 0.90,
}


def jobs(settings: Settings) -> Iterator[Job]:
    """Yield one job per width and batch of the demo, and one per backbone, batch and kind of plan."""
    for width in DEMO_WIDTHS[: 1 if settings.quick else None]:
        for batch in DEMO_BATCHES[: 1 if settings.quick else None]:
            yield Job(f"optimized/demo/width {width}/batch {batch}", partial(_demo, width, batch, settings))
    for name, share, batch in list(TARGETS)[3 if settings.quick else 0 :]:
        for kind in (FOR_SPEED, BY_TABLE)[: 1 if settings.quick else None]:
            job = f"optimized/{name}/{share:.0%}/batch {batch}/{kind}"
            yield Job(job, partial(_backbone, name, share, batch, kind, settings))


def _optimized(network: nn.Module, x: Tensor, keep_madds: bool, settings: Settings) -> tuple[nn.Module, Any]:
    seconds, forms = (0.2, ["eager", "materialized"]) if settings.quick else (SECONDS, None)
    torch.compiler.reset()
    return nes_lab.optimize(network, x, keep_madds, seconds=seconds, forms=forms)  # type: ignore[arg-type]


def _times_of(report: Any) -> dict[str, Any]:
    """Return the milliseconds, the spread and the reason of every form, for the result file."""
    return {form.form: form.why_not or [form.median_ms, form.low_ms, form.high_ms, form.madds] for form in report.forms}


# ---- the demo's networks ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _contenders() -> dict[str, Any]:
    from nes_lab.experiment.demo import contenders

    return {contender.name: contender for contender in contenders(1, 64)}


def _demo(width: str, batch: int, settings: Settings) -> list[Row]:
    """Measure the epitome networks of one width of the demo, untrained, beside the narrower dense network.

    The dense network of full width is measured too: it has as many channels, and nothing to fold or expand.
    """
    networks = _contenders()
    rival, whole = f"dense, width {width}", "dense, width 1"
    torch.manual_seed(settings.seed)
    x = torch.randn(settings.batch(batch), *networks[rival].built.data.input_shape)
    chosen = {
        name: _optimized(_finished(c.built.model, settings), x, False, settings)
        for name, c in networks.items()
        if name in (rival, whole) or c.rival == rival
    }
    with torch.inference_mode():
        times = take_turns({name: partial(net, x) for name, (net, _) in chosen.items()}, settings.effort(3.0, most=400))
    dense = chosen[rival][1]
    return [
        compare(
            times,
            name,
            rival,
            f"demo, width {width}",
            batch=batch,
            key="optimized_demo",
            target=DEMO_TARGET,
            full_width=times.ratio(whole, rival),
            form=report.chosen,
            baseline_form=dense.chosen,
            madds=report.form(report.chosen).madds,
            baseline_madds=dense.form(dense.chosen).madds,
            keep_madds=False,
            forms=_times_of(report),
        )
        for name, (_, report) in chosen.items()
        if name not in (rival, whole)
    ]


def _finished(network: nn.Module, settings: Settings) -> nn.Module:
    return randomize_norms(network, settings.seed).eval().requires_grad_(False)


# ---- backbones ----------------------------------------------------------------------------------------------------------


def _backbone(name: str, share: float, batch: int, kind: str, settings: Settings) -> list[Row]:
    """Measure a network in its fastest form within the planned multiply-adds, beside its dense form that is fastest."""
    torch.manual_seed(settings.seed)
    x = torch.randn(settings.batch(batch), 3, settings.pixels, settings.pixels)
    dense = _finished(wide_network(name), settings)
    plan = _plan(dense, x, name, share, kind)
    network = _finished(nes_lab.compress(dense, plan, initial_weights="reset"), settings)
    network.nes_lab_plan = plan  # type: ignore[assignment]
    _, report = _optimized(network, x, True, settings)
    ratio, chosen = report.over_dense, report.form(report.chosen)
    return [
        row(
            f"{name}, {share:.0%}",
            kind,
            "dense network in its fastest form",
            ratio.median,
            key=f"optimized_{name.split('_')[0]}",
            target=TARGETS[name, share, batch],
            batch=batch,
            median_ms=chosen.median_ms,
            baseline_ms=report.form(report.dense_form).median_ms,
            error=ratio.error,
            low=ratio.low,
            high=ratio.high,
            pairs=ratio.rounds,
            form=report.chosen,
            baseline_form=report.dense_form,
            madds=chosen.madds,
            baseline_madds=report.form(report.dense_form).madds,
            keep_madds=True,
            forms=_times_of(report),
            executions=dict(report.executions),
        )
    ]


def _plan(dense: nn.Module, x: Tensor, name: str, share: float, kind: str) -> nes_lab.CompressionPlan:
    budget = nes_lab.Budget(madds=share)
    if kind == FOR_SPEED:
        return nes_lab.plan_for_budget(dense, budget, x, **plan_options(name, share, kind))
    with _own_home():
        nes_lab.calibrate_device()
        return nes_lab.plan_for_budget(dense, budget, x, strategy="speed")


@contextmanager
def _own_home() -> Iterator[None]:
    """Keep the times of the device in a temporary folder, so that the user's own stay as they are."""
    before = os.environ.get("NES_LAB_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NES_LAB_HOME"] = folder
        try:
            yield
        finally:
            os.environ.pop("NES_LAB_HOME")
            if before is not None:
                os.environ["NES_LAB_HOME"] = before
