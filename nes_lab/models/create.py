"""``create_model``: from a name and two numbers to a compressed network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from nes_lab.backbones.registry import create_backbone
from nes_lab.backbones.weights import load_backbone_weights
from nes_lab.errors import CheckpointError, OptionError
from nes_lab.models.cards import card
from nes_lab.planning.planner import plan_for_budget
from nes_lab.records.budget import Budget
from nes_lab.surgery.replace import compress

__all__ = ["create_model", "dense_backbone"]


def create_model(
    name: str,
    *,
    params: float | str | None = None,
    madds: float | str | None = None,
    latency_ms: float | str | None = None,
    pretrained: bool = False,
    checkpoint: str | Path | None = None,
    num_classes: int | None = None,
    in_channels: int = 3,
    input_size: int | None = None,
    routing: str = "learner",
    seed: int = 0,
    **options: Any,
) -> nn.Module:
    """Make a ready-made compressed network by name.

    The plan it was made by is its attribute ``nes_lab_plan``; :func:`nes_lab.save_pretrained` stores all it needs.

    Args:
        name: One of ``nes_lab.models.cards.model_names()``, such as ``"nes_mobilenetv2_100"``.
        params: Limit on stored numbers, as :class:`nes_lab.Budget` takes it.
        madds: Limit on multiply-adds, likewise.
        latency_ms: Limit on measured time, likewise. Without any limit, the budget of the model's card: the paper's where it
            reports one, else ours (``nes_lab.models.cards.card(name)`` says which).
        pretrained: Start from timm's pretrained weights (fetched on first use); each epitome is fitted to its layer's weight.
        checkpoint: Start from a ``.safetensors`` file of the dense network instead.
        num_classes: Outputs; None: the backbone's own.
        in_channels: Of the image.
        input_size: Side of the image in pixels behind the multiply-adds; None: the card's, 224.
        routing: Who sets the starts; ``"learner"`` is the paper's.
        seed: Of the fresh weights, of ``random`` routing and of the index learners. The global state is left alone.
        **options: Further arguments of :func:`nes_lab.plan_for_budget`, such as ``wiring`` or ``strategy``.

    Raises:
        OptionError: If the name is not known, with the closest ones, or an option is wrong.
        BudgetError: If the budget cannot be met; names the least that can be reached.
        CheckpointError: If pretrained weights cannot be had, or are of another architecture.

    Examples:
        >>> model = create_model("nes_resnet18", params="60%", input_size=64, routing="tiled")
        >>> model.nes_lab_plan.predicted.params <= 0.6 * model.nes_lab_plan.dense.params
        True

    Source: Zhou et al., ICLR 2020, arXiv:1907.05642. Departs from the paper: which layer gives how much is chosen by the
    planner, as the paper's text does not say.
    """
    chosen = card(name)
    size = chosen.input_size if input_size is None else input_size
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise OptionError(
            f"input_size={input_size!r}; give the side of the image in pixels, such as {chosen.input_size}"
        )
    limits = {"params": params, "madds": madds, "latency_ms": latency_ms}
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
    taught = pretrained or checkpoint is not None
    model = compress(dense, plan, weights="fit" if taught else "reset", generator=torch.Generator().manual_seed(seed))
    model.nes_lab_plan = plan  # type: ignore[assignment]
    return model


def dense_backbone(
    name: str,
    *,
    pretrained: bool = False,
    checkpoint: str | Path | None = None,
    new_head: bool = False,
    seed: int = 0,
    **options: Any,
) -> nn.Module:
    """A dense backbone with fresh weights of a seed, timm's pretrained ones, or those of a file.

    Args:
        name: As :func:`nes_lab.create_backbone` takes it.
        pretrained: Fetch timm's weights.
        checkpoint: A ``.safetensors`` file instead.
        new_head: Whether the classifier may be drawn anew where the file's has another number of classes.
        seed: Of fresh weights; the global random state is left alone.
        **options: Of :func:`nes_lab.create_backbone`.

    Raises:
        OptionError: If the name is not known or both sources of weights are given.
        CheckpointError: If the weights cannot be had or do not fit.

    Examples:
        >>> net = dense_backbone("small_mobilenetv2", in_channels=1)
        >>> net.nes_lab_backbone["name"]
        'small_mobilenetv2'
    """
    if pretrained and checkpoint is not None:
        raise OptionError(f"pretrained=True and checkpoint={str(checkpoint)!r} are two sources of weights; give one")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _fetch(name, options) if pretrained else create_backbone(name, **options)
    return model if checkpoint is None else load_backbone_weights(model, checkpoint, new_head)


def _fetch(name: str, options: dict[str, Any]) -> nn.Module:
    try:
        model = create_backbone(name, **options, pretrained=True)
    except OptionError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"pretrained=True: the weights of {name!r} could not be had ({type(error).__name__}: {str(error).strip()[:300]}); "
            "give checkpoint= with a .safetensors file of them"
        ) from error
    stamp = model.nes_lab_backbone
    stamp["options"] = {key: value for key, value in stamp["options"].items() if key != "pretrained"}  # type: ignore[index, union-attr]
    return model
