"""Hand-made layers and tables to draw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nes_lab.config import load_config
from nes_lab.geometry.layer_snapshot import LayerSnapshot
from nes_lab.records.sensitivity_report import LayerSensitivity, SensitivityPoint, SensitivityReport
from nes_lab.runs.writer import RunWriter


def make_snapshot(epitome=(16, 24, 1, 1), weight=(64, 48, 1, 1), patch=(8, 8), scope="separable", shift=0.0, **options):
    """A layer with starts at the integer tiling, moved by ``shift`` cells where they can move."""
    rng = np.random.default_rng(0)
    shape = (*patch, *weight[2:])
    rows = [-(-size // step) for size, step in zip(weight[:2], shape[:2], strict=True)]
    starts = []
    for axis in (0, 1):
        places = np.minimum(np.arange(rows[axis]) * patch[axis] % epitome[axis], epitome[axis] - patch[axis])
        wave = shift * np.sin(np.arange(rows[axis]) + 1)
        places = np.clip(places + wave, 0, epitome[axis] - patch[axis])
        if scope == "joint":
            places = places[:, None] if axis == 0 else places[None, :]
            places = np.broadcast_to(places, rows)
        starts.append(places.astype(np.float32))
    starts += [None] * len(weight[2:])
    return LayerSnapshot(
        name=options.pop("name", "blocks.1.expand"),
        epitome=rng.standard_normal(epitome).astype(np.float32) * (1 + shift),
        starts=tuple(starts),
        weight_shape=weight,
        epitome_shape=epitome,
        patch_shape=shape,
        scope=scope,
        boundary=options.pop("boundary", "clamp"),
        routing=options.pop("routing", "free"),
    )


def make_rows(layers=6):
    rows = [
        {
            "name": f"blocks.{index}.expand",
            "kind": "conv2d",
            "weight_shape": (64, 16, 1, 1),
            "epitome_shape": (32, 16, 1, 1),
            "routing": "free",
            "params_dense": 1024,
            "params": 520 + index,
            "madds_dense": 65536 * (1 + index),
            "madds": 32768 * (1 + index),
            "reason": "",
            "ratio": 0.5,
            "scope": "separable",
            "execution": "factored",
            "executions": {"materialize": 65536 * (1 + index), "factored": 32768 * (1 + index)},
            "unavailable": {"product_map": "it has no sampled kernel axis"},
            "why": "",
        }
        for index in range(layers)
    ]
    kept = dict(rows[0], name="classifier", epitome_shape=None, routing=None, params=1024, madds=65536, reason="head")
    kept |= {"ratio": 1.0, "scope": None, "execution": None, "executions": {}, "unavailable": {}}
    return [*rows, kept]


def make_sensitivity(layers=6, loss=False, name="blocks.{}.fc"):
    """Costs of layers of 64 x 64 weights, the later ones dearer."""
    return SensitivityReport(
        key="0a",
        options={"routing": "tiled"},
        layers=tuple(
            LayerSensitivity(
                name.format(index),
                (64, 64),
                tuple(
                    SensitivityPoint((size, 64), size / 64, 0.9 - size / 100, (1 - size / 64) * index if loss else None)
                    for size in (32, 16)
                ),
            )
            for index in range(layers)
        ),
        dense_loss=1.5 if loss else None,
        samples=640 if loss else 0,
    )


def make_table():
    rows = []
    for routing, base in ((None, 92.0), ("free", 94.0), ("tiled", 93.0)):
        for width, madds in ((1.0, 2_000_000), (0.6, 900_000)):
            rows += [
                {
                    "id": f"run-{routing}-{madds}-{seed}",
                    "backbone": "small_mobilenetv2",
                    "width": width,
                    "routing": routing,
                    "scope": "separable" if routing else None,
                    "seed": seed,
                    "params": 30_000 * width,
                    "madds": madds,
                    "top1": base + width + 0.5 * seed,
                }
                for seed in (0, 1)
            ]
    return rows


def write_run(
    store, label="", group="", routing="free", seed=0, state="finished", madds=900_000, top1=92.5, gradients=False
):
    """A run directory as training leaves it, with hand-made numbers."""
    compression = {"madds": "60%", "routing": routing} if routing else None
    config = load_config({"seed": seed, "label": label, "compression": compression})
    run_id = store.create(config.to_dict(), label=label, group=group)
    with RunWriter(store, run_id) as writer:
        writer.status("running", step=0, total=60)
        for step in range(10, 61, 10):
            row = {"step": step, "epoch": step // 20, "loss": 20 / step, "top1": step + 30.0}
            writer.metric(split="train", lr=0.05, images_per_s=900.0, **row)
        writer.metric(step=60, epoch=3, split="val", loss=0.4, top1=top1, top5=99.0)
        for step in (0, 30, 60) if routing else ():
            layers = {
                name: make_snapshot(name=name, shift=step / 100, routing=routing) for name in ("blocks.0", "blocks.1")
            }
            if gradients and step:
                layers = {name: replace(layer, gradient=layer.epitome / 10) for name, layer in layers.items()}
            writer.snapshot(step, layers)
        writer.event("checkpoint", step=60)
        if state == "finished":
            numbers = {"top1": top1, "best_top1": top1, "top5": 99.0, "val_loss": 0.4, "latency_ms": 1.5}
            writer.summary(params=33_784, madds=madds, stored_bytes=140_000, **numbers)
        writer.status(state, step=60, total=60, reason="" if state == "finished" else "loss is NaN at step 60")
    return run_id
