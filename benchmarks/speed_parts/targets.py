"""The targets of speed and memory; rows of the result name them by their key. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TARGETS", "Target"]


@dataclass(frozen=True)
class Target:
    """A line of the target table.

    Args:
        key: The name by which rows refer to it.
        what: Description of the measurement.
        limit: The target as text.
        part: The beginning of the names of the jobs that measure it.
        at_least: Whether more is better.
    """

    key: str
    what: str
    limit: str
    part: str
    at_least: bool = False


TARGETS = (
    Target(
        "layer_integer",
        "`factored` convolution of at least 20 M multiply-adds and 64 channels on both sides, CPU, integer starts",
        "<= (multiply-add ratio + 0.15) x dense",
        "layers",
    ),
    Target(
        "layer_fractional",
        "the same, fractional starts",
        "<= (multiply-add ratio + 0.25) x dense",
        "layers",
    ),
    Target(
        "resnet50_50",
        "resnet50 at 50 % multiply-adds, tuned and fused, CPU, batch 1 and 16",
        "<= 0.60 x dense",
        "networks/resnet50",
    ),
    Target(
        "mobilenetv2_75",
        "mobilenetv2_100 at 75 % multiply-adds, tuned and fused, CPU",
        "<= 0.95 x dense fused",
        "networks/mobilenetv2",
    ),
    Target(
        "mobilenetv2_75_width",
        "the same",
        "<= 1.05 x the width multiplier of equal multiply-adds",
        "networks/mobilenetv2",
    ),
    Target(
        "optimized_demo",
        "the demo's epitome networks, `nes_lab.optimize` with `keep_madds=False`, batch 1 and 64",
        "<= 1.20 x the narrower dense network of equal multiply-adds in its fastest form",
        "optimized/demo",
    ),
    Target(
        "optimized_resnet50",
        "resnet50 at 50 % multiply-adds, `nes_lab.optimize` with `keep_madds=True`, batch 1 and 16",
        "<= 0.60 x dense in its fastest form",
        "optimized/resnet50",
    ),
    Target(
        "optimized_mobilenetv2",
        "mobilenetv2_100 at 75 % multiply-adds, the same",
        "<= 0.95 (batch 1) and 0.90 (batch 16) x dense in its fastest form",
        "optimized/mobilenetv2",
    ),
    Target(
        "training",
        "training step, `factored`, `free` routing, resnet50 and mobilenetv2_100, eager",
        "<= 1.10 x dense",
        "training",
    ),
    Target(
        "training_resnet50_50",
        "the same, resnet50 at 50 % multiply-adds",
        "<= 1.00 x dense",
        "training",
    ),
    Target(
        "learner",
        "a step with the index learner against one with `free` starts",
        "<= 1.05 x",
        "training",
    ),
    Target(
        "memory",
        "peak memory of a training step, fixed or frozen starts",
        "<= 1.10 x dense",
        "memory",
    ),
    Target(
        "starts_calls",
        "calls of ATen in forward and backward pass, mobilenetv2_100 at 75 % multiply-adds, tiled / free / learner, as ratios to dense",
        "<= 3,600 / 5,000 / 7,000 calls",
        "starts/calls",
    ),
    Target(
        "starts_step",
        "training step at 64 px, batch 8, one thread, tiled / free / learner: mobilenetv2_100 at 75 %, resnet18 at 55 %",
        "<= 0.90 / 1.00 / 1.10 and 0.66 / 0.72 / 0.78 x dense",
        "starts/step",
    ),
    Target(
        "starts_memory",
        "peak memory of these steps, tiled / free / learner",
        "<= 1.00 / 1.05 / 1.10 x dense",
        "starts/memory",
    ),
    Target(
        "starts_learner_share",
        "the index learner's share of a step, resnet50 at 50 %, batch 4",
        "<= 0.05",
        "starts/learner",
    ),
    Target(
        "starts_layer",
        "one tiny layer after `for_inference`, tiled / free",
        "<= dense + 12 / 15 us",
        "starts/one",
    ),
    Target(
        "starts_layer_step",
        "the same layer, forward and backward, tiled / free",
        "<= 1.34 / 2.02 x dense",
        "starts/one",
    ),
    Target(
        "starts_compile",
        "time to compile a training step with learned starts, free / learner",
        "<= 1.40 x dense",
        "starts/compile",
    ),
    Target(
        "gpu_layer",
        "GPU: `factored` at 50 % on resnet50 shapes, batch 256, bfloat16, compiled",
        ">= 0.90 of the speed of a dense convolution with the epitome's shape plus two copies",
        "gpu",
        at_least=True,
    ),
    Target(
        "gpu_expansion",
        "GPU: epitome-to-weight expansion, outputs of 16 MiB and more",
        ">= 0.70 of copy bandwidth",
        "expansion/cuda",
        at_least=True,
    ),
)
