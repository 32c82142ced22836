"""Pretrained weights of a dense backbone, from a safetensors file. Pickles are never opened."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nes_lab.errors import CheckpointError
from nes_lab.text import list_some

__all__ = ["load_backbone_weights"]

_PICKLES = (".pt", ".pth", ".th", ".bin", ".ckpt", ".tar", ".pkl")
_COUNTERS = "num_batches_tracked"


def load_backbone_weights(model: nn.Module, path: str | Path, new_head: bool = False) -> nn.Module:
    """Put the weights of a file into a model of the same architecture.

    Everything is checked before the first number is copied: after an error the model is as it was. Batch norms' counters may be
    absent, as they play no part in evaluation.

    Args:
        model: Changed in place.
        path: A ``.safetensors`` file with the model's own names.
        new_head: Leave the classifier as it is where the file's has another number of classes, as for fine-tuning.

    Returns:
        The model.

    Raises:
        CheckpointError: If the file is missing, damaged, a pickle, of another architecture, or holds NaN; names what differs.

    Examples:
        >>> import tempfile
        >>> from safetensors.torch import save_file
        >>> source, file = nn.Linear(4, 2), Path(tempfile.mkdtemp()) / "w.safetensors"
        >>> save_file(source.state_dict(), file)
        >>> torch.equal(load_backbone_weights(nn.Linear(4, 2), file).weight, source.weight)
        True
    """
    path = Path(path)
    found = _read(path)
    wanted = model.state_dict()
    head = _head(model)
    if new_head and any(found[name].shape != wanted[name].shape for name in head if name in found):
        found = {name: tensor for name, tensor in found.items() if name not in head}
        wanted = {name: tensor for name, tensor in wanted.items() if name not in head}
    missing = [name for name in wanted if name not in found and not name.endswith(_COUNTERS)]
    foreign = [name for name in found if name not in wanted]
    other = [name for name in wanted if name in found and found[name].shape != wanted[name].shape]
    if missing or foreign or other:
        differs = _differences(missing, foreign, other, found, wanted)
        if not missing and not foreign and set(other) <= head:
            differs += "; new_head draws the classifier anew"
        raise CheckpointError(f"{path} is of another architecture than {type(model).__name__}: {differs}")
    bad = next((n for n, t in found.items() if t.is_floating_point() and not bool(t.isfinite().all())), None)
    if bad is not None:
        raise CheckpointError(f"{path}: {bad!r} holds NaN or infinity; no epitome can be made from it")
    model.load_state_dict(found, strict=False)
    return model


def _head(model: nn.Module) -> set[str]:
    """Entries of the classifier, as timm and our own backbones name it."""
    listed = (getattr(model, "default_cfg", None) or {}).get("classifier", ())
    names = (listed,) if isinstance(listed, str) else tuple(listed)
    return {f"{name}.{part}" for name in names for part in ("weight", "bias")}


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix in _PICKLES:
        raise CheckpointError(
            f"{path} is a pickle, which can run code of its author when opened; convert it where you trust it, with "
            "safetensors.torch.save_file(state_dict, 'weights.safetensors'), and give that file"
        )
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        what = (
            "is no file"
            if not path.is_file()
            else f"cannot be read as safetensors ({error}); it may be truncated or altered"
        )
        raise CheckpointError(f"checkpoint {path} {what}") from error


def _differences(
    missing: list[str], foreign: list[str], other: list[str], found: dict[str, Tensor], wanted: dict[str, Tensor]
) -> str:
    parts = []
    for what, names in (("lacks", missing), ("has besides", foreign)):
        if names:
            parts.append(f"it {what} {list_some([repr(name) for name in names], 3)}")
    if other:
        name = other[0]
        parts.append(f"{name!r} has shape {tuple(found[name].shape)} where {tuple(wanted[name].shape)} is wanted")
    return "; ".join(parts)
