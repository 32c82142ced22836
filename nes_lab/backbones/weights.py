"""Load the weights of a dense backbone from a safetensors file. Pickle files are never opened."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nes_lab.errors import CheckpointError
from nes_lab.text import list_some

__all__ = ["load_backbone_weights"]

PICKLE_SUFFIXES = (".pt", ".pth", ".th", ".bin", ".ckpt", ".tar", ".pkl")
NORM_COUNTER = "num_batches_tracked"


def load_backbone_weights(model: nn.Module, path: str | Path, new_head: bool = False) -> nn.Module:
    """Load the weights in a safetensors file into a model of the same architecture.

    After an error, the model is unchanged. The file may lack the counters of batch norms (``num_batches_tracked``).

    Args:
        model: The model, which is changed in place.
        path: A ``.safetensors`` file with the names of the model's state dict.
        new_head: If the file has a classifier for another number of classes, keep the classifier of ``model``.

    Returns:
        The same model.

    Raises:
        CheckpointError: If the file is missing, damaged or a pickle, if it holds NaN or infinity, or if its weights
            belong to another architecture. The message names the differences.

    Examples:
        >>> import tempfile
        >>> from safetensors.torch import save_file
        >>> source, file = nn.Linear(4, 2), Path(tempfile.mkdtemp()) / "w.safetensors"
        >>> save_file(source.state_dict(), file)
        >>> torch.equal(load_backbone_weights(nn.Linear(4, 2), file).weight, source.weight)
        True
    """
    path = Path(path)
    loaded = _read(path)
    expected = model.state_dict()
    head = _head(model)
    if new_head and any(loaded[name].shape != expected[name].shape for name in head if name in loaded):
        loaded = {name: tensor for name, tensor in loaded.items() if name not in head}
        expected = {name: tensor for name, tensor in expected.items() if name not in head}
    missing = [name for name in expected if name not in loaded and not name.endswith(NORM_COUNTER)]
    unknown = [name for name in loaded if name not in expected]
    other_shape = [name for name in expected if name in loaded and loaded[name].shape != expected[name].shape]
    if missing or unknown or other_shape:
        differs = _differences(missing, unknown, other_shape, loaded, expected)
        if not missing and not unknown and set(other_shape) <= head:
            differs += "; new_head gives the classifier fresh weights"
        raise CheckpointError(f"{path} is of another architecture than {type(model).__name__}: {differs}")
    bad = next((n for n, t in loaded.items() if t.is_floating_point() and not bool(t.isfinite().all())), None)
    if bad is not None:
        raise CheckpointError(f"{path}: {bad!r} holds NaN or infinity; no epitome can be made from it")
    model.load_state_dict(loaded, strict=False)
    return model


def _head(model: nn.Module) -> set[str]:
    """Return the names that the classifier's weights have in the model's state dict."""
    # timm's models and our own have the attribute default_cfg
    listed = (getattr(model, "default_cfg", None) or {}).get("classifier", ())
    names = (listed,) if isinstance(listed, str) else tuple(listed)
    return {f"{name}.{part}" for name in names for part in ("weight", "bias")}


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} is not a file")
    if path.suffix in PICKLE_SUFFIXES:
        raise CheckpointError(
            f"{path} is a pickle, which can run any code when it is opened; if you trust it, convert it with "
            "safetensors.torch.save_file(state_dict, 'weights.safetensors'), and give that file"
        )
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        what = f"cannot be read as safetensors ({error}); it may be truncated or altered"
        raise CheckpointError(f"checkpoint {path} {what}") from error


def _differences(
    missing: list[str],
    unknown: list[str],
    other_shape: list[str],
    loaded: dict[str, Tensor],
    expected: dict[str, Tensor],
) -> str:
    parts = []
    for what, names in (("lacks", missing), ("also has", unknown)):
        if names:
            parts.append(f"it {what} {list_some([repr(name) for name in names], 3)}")
    if other_shape:
        name = other_shape[0]
        parts.append(f"{name!r} has shape {tuple(loaded[name].shape)} where {tuple(expected[name].shape)} is expected")
    return "; ".join(parts)
