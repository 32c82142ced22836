"""Make a ready-made compressed network by name, or a dense backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import torch
from torch import nn

from nes_lab.backbones.registry import create_backbone
from nes_lab.errors import CheckpointError, OptionError
from nes_lab.models.cards import card
from nes_lab.planning.compress import compress
from nes_lab.planning.planner import plan_for_budget
from nes_lab.records.budget import Budget
from nes_lab.records.keywords import OtherPlanKeywords
from nes_lab.records.options import Routing

__all__ = ["create_model", "dense_backbone"]


def create_model(
    name: str,
    *,
    params: float | str | None = None,
    madds: float | str | None = None,
    latency_ms: float | str | None = None,
    stored_bytes: float | str | None = None,
    pretrained: bool = False,
    checkpoint: str | Path | None = None,
    num_classes: int | None = None,
    in_channels: int = 3,
    input_size: int | None = None,
    routing: Routing = "learner",
    seed: int = 0,
    **options: Unpack[OtherPlanKeywords],
) -> nn.Module:
    """Make a ready-made compressed network by name.

    The compression plan is stored as the network's attribute ``nes_lab_plan``, for :func:`nes_lab.save_pretrained`.

    Args:
        name: One of ``nes_lab.models.cards.model_names()``, such as ``"nes_mobilenetv2_100"``. Or a function of your own that makes
            the dense network, as ``"package.module:function"``; then give a budget.
        params: Limit on the number of params: a share of the dense network (``"60%"``, 0.6) or a number (``"2M"``); None: no limit.
        madds: Limit on multiply-adds: a share of the dense network (``"75%"``, 0.75) or a number (``"350M"``); None: no limit.
        latency_ms: Limit on the measured time of one forward pass, in milliseconds; None: no limit.
        stored_bytes: Limit on the bytes of the saved tensors: a share of the dense network (``"10%"``, 0.1) or a number (``"200k"``);
            None: no limit. If no limit is given, the default budget of the model is used (see
            ``nes_lab.models.cards.card(name)``).
        pretrained: Start from timm's pretrained weights, downloaded on first use. Each epitome is fitted to its layer's weight.
        checkpoint: Path of a ``.safetensors`` file with the dense network's weights, to start from; None: no file is read.
        num_classes: Number of outputs; None: the backbone's default.
        in_channels: Channels of the image.
        input_size: Side in pixels of the image for which multiply-adds are counted; None: the size in the model's card, 224.
        routing: How starts (positions in the epitome from which the weight is sampled) are set, such as ``"learner"`` (predicted
            by a small network, as in the paper), ``"free"`` (learned parameters) or ``"tiled"`` (fixed).
        seed: Seed of fresh weights, of random starts, and of the networks that predict starts. The global random state is not
            changed.
        **options: Further arguments of :func:`nes_lab.plan_for_budget`, such as ``strategy``, or ``wiring`` (which
            channel axes shrink).

    Raises:
        OptionError: If the name is not known (the message gives the closest one), or an option has a wrong value.
        BudgetError: If the budget cannot be met; the message gives the smallest budget that can be met.
        CheckpointError: If the weights cannot be downloaded or read, or belong to another architecture.

    Examples:
        >>> import nes_lab
        >>> model = nes_lab.create_model("nes_resnet18", params="60%", input_size=64, routing="tiled")
        >>> model.nes_lab_plan.predicted.params <= 0.6 * model.nes_lab_plan.dense.params
        True

    Source: Zhou et al., ICLR 2020, arXiv:1907.05642. The paper does not report how much each layer shrinks; here the
    planner chooses it.
    """
    chosen = card(name)
    size = chosen.input_size if input_size is None else input_size
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise OptionError(
            f"input_size={input_size!r}; give the side of the image in pixels, such as {chosen.input_size}"
        )
    limits = {"params": params, "madds": madds, "latency_ms": latency_ms, "stored_bytes": stored_bytes}
    budget = Budget(**(limits if any(v is not None for v in limits.values()) else chosen.budget))
    dense = dense_backbone(
        chosen.backbone,
        pretrained=pretrained,
        checkpoint=checkpoint,
        seed=seed,
        num_classes=num_classes,
        in_channels=in_channels,
    )
    plan = plan_for_budget(
        dense, budget, torch.zeros(1, in_channels, size, size), routing=routing, seed=seed, **options
    )
    is_trained = pretrained or checkpoint is not None
    return compress(dense, plan, "fit" if is_trained else "reset", torch.Generator().manual_seed(seed))


def dense_backbone(
    name: str,
    *,
    pretrained: bool = False,
    checkpoint: str | Path | None = None,
    new_head: bool = False,
    seed: int = 0,
    **options: Any,
) -> nn.Module:
    """Make a dense backbone with fresh weights, with timm's pretrained weights, or with the weights in a file.

    Args:
        name: Name of the backbone, for :func:`nes_lab.create_backbone`.
        pretrained: Use timm's pretrained weights, downloaded on first use.
        checkpoint: Path of a ``.safetensors`` file of weights; None: no file is read.
        new_head: Keep the classifier's fresh weights if the classifier in the file has another number of classes.
        seed: Seed of fresh weights; the global random state is not changed.
        **options: Further arguments of :func:`nes_lab.create_backbone`.

    Raises:
        OptionError: If the name is not known, or both ``pretrained`` and ``checkpoint`` are given.
        CheckpointError: If the weights cannot be downloaded or read, or are not weights of this backbone.

    Examples:
        >>> net = dense_backbone("small_mobilenetv2", in_channels=1)
        >>> net.nes_lab_backbone["name"]
        'small_mobilenetv2'
    """
    weights: dict[str, Any] = {"checkpoint": checkpoint, "new_head": new_head}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return (_pretrained if pretrained else create_backbone)(name, **weights, **options)


def _pretrained(name: str, **options: Any) -> nn.Module:
    try:
        model = create_backbone(name, **options, pretrained=True)
    except OptionError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"pretrained=True: the weights of {name!r} could not be downloaded ({_why(error)}); "
            "give checkpoint= with the path of a .safetensors file of the weights"
        ) from error
    stamp = model.nes_lab_backbone
    stamp["options"] = {key: value for key, value in stamp["options"].items() if key != "pretrained"}  # type: ignore[index, union-attr]
    return model


def _why(error: Exception) -> str:
    """Return why a download failed. The words of huggingface_hub for a machine without a network do not say that."""
    kind = type(error).__name__
    if kind == "LocalEntryNotFoundError":
        return "no connection to huggingface.co, and this computer has no copy of them"
    return f"{kind}: {str(error).strip()[:300]}"
