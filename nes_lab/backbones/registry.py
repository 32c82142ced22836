"""Make a backbone (a dense network) by name. To add a backbone, call ``register_backbone`` in this file.

timm is imported only if a name is not registered here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from nes_lab.backbones.cifar_resnet import CIFAR_RESNETS
from nes_lab.backbones.imported import imported_backbone
from nes_lab.backbones.m5 import M5
from nes_lab.backbones.preprocessing import set_preprocessing, timm_preprocessing
from nes_lab.backbones.small import SmallMobileNetV2
from nes_lab.backbones.weights import load_backbone_weights
from nes_lab.errors import OptionError, closest
from nes_lab.import_spec import is_import_spec
from nes_lab.packages import needed_for
from nes_lab.records.preprocessing import Preprocessing

__all__ = ["backbone_names", "create_backbone", "named_preprocessing", "register_backbone"]

_OURS: dict[str, Callable[..., nn.Module]] = {}


def register_backbone(name: str, make: Callable[..., nn.Module]) -> None:
    """Register a backbone of your own, so that :func:`create_backbone` can make it by name.

    Args:
        name: Name of the backbone; must not be in use.
        make: Function that returns the model. Its keyword arguments are ``num_classes``, ``in_channels``, ``width`` and
            further options.

    Raises:
        OptionError: If the name is in use.
    """
    if name in _OURS:
        raise OptionError(f"name={name!r} is registered already; choose another name")
    _OURS[name] = make


register_backbone("small_mobilenetv2", SmallMobileNetV2)
register_backbone("m5", M5)
for _name, _make in CIFAR_RESNETS.items():
    register_backbone(_name, _make)


def backbone_names(timm_too: bool = True) -> list[str]:
    """Return the names of all backbones that :func:`create_backbone` can make. Our own come first.

    Args:
        timm_too: Include the names of timm's models; this imports timm.
    """
    names = list(_OURS)
    if timm_too:
        with needed_for("listing timm's models"):
            import timm

        names += timm.list_models()
    return names


def named_preprocessing(name: str) -> Preprocessing | None:
    """Return timm's data configuration for a model name of timm; None for any other name.

    Examples:
        >>> print(named_preprocessing("vit_tiny_patch16_224"))
        bicubic, crop 0.9, mean 0.5 0.5 0.5, std 0.5 0.5 0.5
        >>> named_preprocessing("small_mobilenetv2") is None
        True
    """
    if name in _OURS or is_import_spec(name):
        return None
    with needed_for(f"backbone={name!r}"):
        import timm

    found = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    return None if found is None else timm_preprocessing(found.to_dict(), name)


def create_backbone(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int = 3,
    width: float = 1.0,
    checkpoint: str | Path | None = None,
    new_head: bool = False,
    **options: Any,
) -> nn.Module:
    """Make a backbone (a dense network) by name, with fresh weights or with the weights in a file.

    Args:
        name: Name of one of our backbones, such as ``small_mobilenetv2``, or of any timm model. Or a function of your own
            that returns a network, as ``"package.module:function"``. It is imported and called. It gets ``num_classes`` and
            ``in_channels`` only if it has parameters with these names.
        num_classes: Number of outputs; None means the model's default, which is 10 for our backbones,
            and for a function of your own that has no default.
        in_channels: Channels of the input.
        width: Multiplies the number of channels of our own backbones; it must be 1 for timm models.
        checkpoint: Path of a ``.safetensors`` file of weights for this backbone; None: the weights are fresh.
        new_head: Keep the classifier's fresh weights if the classifier in the file has another number of classes.
        **options: Further keyword arguments of the model, such as ``pretrained=True`` for timm's weights, which are downloaded on
            first use.

    Raises:
        CheckpointError: If the file is missing, damaged or a pickle, or holds the weights of another network.
        OptionError: If no backbone has that name, or if ``width`` is not 1 for a timm model. The message names the
            closest names. Also if your own function cannot be imported, raises an error or returns something else.

    Examples:
        >>> import nes_lab
        >>> nes_lab.create_backbone("small_mobilenetv2", num_classes=10, in_channels=1, width=0.5).classifier
        Linear(in_features=64, out_features=10, bias=True)
    """
    if checkpoint is not None and options.get("pretrained"):
        raise OptionError(
            f"pretrained=True and checkpoint={str(checkpoint)!r} are two sources of weights; give only one"
        )
    model = _with_fresh_weights(name, num_classes, in_channels, width, options)
    if checkpoint is not None:
        return load_backbone_weights(model, checkpoint, new_head)
    if not options.get("pretrained"):
        set_preprocessing(model, None)  # fresh weights were trained on nothing
    return model


def _with_fresh_weights(
    name: str, num_classes: int | None, in_channels: int, width: float, options: dict[str, Any]
) -> nn.Module:
    stamp = {"name": name, "num_classes": num_classes, "in_channels": in_channels, "width": width, "options": options}
    if name in _OURS:
        classes = 10 if num_classes is None else num_classes
        numbers = {"num_classes": classes, "in_channels": in_channels, "width": width}
        return _stamped(_made(_OURS[name], name, numbers, options), stamp)
    if is_import_spec(name):
        numbers = {"num_classes": num_classes, "in_channels": in_channels, "width": width}
        return _stamped(imported_backbone(name, **numbers, options=options), stamp)
    with needed_for(f"backbone={name!r}"):
        import timm

    if not timm.is_model(name):
        known = backbone_names()
        raise OptionError(
            f"backbone={name!r} is not known; give one of ours ({', '.join(_OURS)}), a timm model name, or a function of your "
            f"own as 'package.module:function'.{closest(name, known)}"
        )
    if width != 1.0:
        raise OptionError(
            f"width={width!r}: the timm model {name!r} takes no width multiplier here; use width=1, a narrower timm "
            "variant (such as mobilenetv2_050), or small_mobilenetv2"
        )
    classes = {} if num_classes is None else {"num_classes": num_classes}
    return _stamped(_made(partial(timm.create_model, name), name, {"in_chans": in_channels} | classes, options), stamp)


def _made(make: Callable[..., nn.Module], name: str, numbers: dict[str, Any], options: dict[str, Any]) -> nn.Module:
    try:
        return make(**numbers, **options)
    except TypeError as error:
        if not options:
            raise
        known = ("num_classes", "in_channels", "width", "checkpoint", "new_head", "pretrained")
        nearest = "".join(closest(option, known) for option in options if option not in known)
        raise OptionError(f"options={options!r} does not suit {name!r}: {error}.{nearest}") from error


def _stamped(model: nn.Module, stamp: dict[str, Any]) -> nn.Module:
    """Store in a backbone its name and the arguments with which it was made, and return the backbone."""
    model.nes_lab_backbone = stamp  # type: ignore[assignment]
    return model
