"""``config.json`` of a saved model: its schema, its checks, and why a file is refused. Torch-free.

Nothing in it is believed before it is checked: it may be damaged, of another version, or written to do harm.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from nes_lab.errors import CheckpointError
from nes_lab.geometry.start_rules import ROUTING_MODES
from nes_lab.runs.files import sha256_of

__all__ = [
    "CONFIG",
    "FETCHING",
    "FORMAT",
    "SCHEMA",
    "WEIGHTS",
    "check_weights",
    "is_saved_model",
    "read_config",
    "seal",
]

FORMAT, SCHEMA = "nes-lab-model", 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
FETCHING = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")
"""Options of a backbone that fetch or open other files: never saved, never followed."""

_MOST_CONFIG = 1 << 26
_MOST = {"num_classes": 10**6, "in_channels": 10**4}
_MOST_OPTION = 1 << 20
_SIZES = ("weight_shape", "epitome_shape", "patch_channels")
_AGAIN = "fetch or save the model again"


def read_config(folder: str | Path) -> dict[str, Any]:
    """The checked ``config.json`` of a saved model: layers, plan, metadata, versions, the weights file's SHA-256.

    Args:
        folder: From :func:`nes_lab.save_pretrained`.

    Raises:
        CheckpointError: If there is none, or it is damaged, altered or of another schema; says what to do.

    Examples:
        >>> read_config("nowhere")
        Traceback (most recent call last):
        nes_lab.errors.CheckpointError: nowhere holds no saved model: config.json is missing; give a folder written by ...
    """
    folder = Path(folder)
    path = folder / CONFIG
    try:
        if path.stat().st_size > _MOST_CONFIG:
            raise CheckpointError(f"{path} is larger than {_MOST_CONFIG >> 20} MiB; it is no configuration of NES Lab")
        config = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder} holds no saved model: {CONFIG} is missing; give a folder written by nes_lab.save_pretrained"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {str(error) or type(error).__name__}; {_AGAIN}") from error
    _check_kind(path, config)
    _check_content(path, config)
    return config


def is_saved_model(folder: Path) -> bool:
    """Whether the folder holds a model that :func:`nes_lab.save_pretrained` wrote, whole or not, and nothing else."""
    try:
        names = {entry.name for entry in folder.iterdir()}
        config = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return names <= {CONFIG, WEIGHTS} and isinstance(config, dict) and config.get("format") == FORMAT


def seal(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with a checksum of itself, so that an altered one is noticed."""
    return config | {"config_sha256": _digest(config)}


def _digest(config: dict[str, Any]) -> str:
    rest = {key: value for key, value in config.items() if key != "config_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_weights(folder: Path, config: dict[str, Any]) -> Path:
    """The weights file, when it is there, whole and unaltered.

    Raises:
        CheckpointError: Says which of these it is not.
    """
    path, wanted = folder / WEIGHTS, config["weights"]
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; {_AGAIN}")
    try:
        size = path.stat().st_size
        if size != wanted["bytes"]:
            kind = "truncated" if size < wanted["bytes"] else "too long"
            raise CheckpointError(f"{path} is {kind}: {size:,} bytes where {wanted['bytes']:,} were saved; {_AGAIN}")
        found = sha256_of(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    if found != wanted["sha256"]:
        raise CheckpointError(
            f"{path} was altered: its SHA-256 is {found[:16]}... where {wanted['sha256'][:16]}... was saved; {_AGAIN}"
        )
    return path


# ---- what a configuration must be ------------------------------------------------------------------------------------


def _check_kind(path: Path, config: Any) -> None:
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, dict) else type(config).__name__
        raise CheckpointError(f"{path} is no configuration of a model saved by NES Lab: its format is {found!r}")
    if config.get("schema") != SCHEMA:
        version = config.get("versions", {}).get("nes_lab") if isinstance(config.get("versions"), dict) else None
        raise CheckpointError(
            f"{path} has schema {config.get('schema')!r}; this version reads schema {SCHEMA}. "
            f"Use the version that wrote it ({version or 'not stated'}), or save the model again"
        )
    if config.get("config_sha256") != _digest(config):
        raise CheckpointError(f"{path} was altered since it was written: its checksum does not hold; {_AGAIN}")


def _check_content(path: Path, config: dict[str, Any]) -> None:
    def need(holds: bool, what: str) -> None:
        if not holds:
            raise CheckpointError(f"{path} is not valid: {what}; {_AGAIN}")

    need(isinstance(config.get("weights"), dict), "'weights' is missing")
    weights = config["weights"]
    need(weights.get("file") == WEIGHTS, f"weights.file={weights.get('file')!r:.100}; only {WEIGHTS!r} is ever opened")
    need(_whole(weights.get("bytes"), 0, 1 << 50), f"weights.bytes={weights.get('bytes')!r:.100}")
    sha = weights.get("sha256")
    need(isinstance(sha, str) and bool(re.fullmatch("[0-9a-f]{64}", sha)), f"weights.sha256={sha!r:.100}")
    for key in ("epitome_layers", "tied", "strides", "transient"):
        need(isinstance(config.get(key), dict), f"{key!r} must be an object")
    for key in ("modules", "fixed_parameters"):
        need(isinstance(config.get(key), list), f"{key!r} must be a list")
    need(all(isinstance(n, str) for n in config["fixed_parameters"]), "'fixed_parameters' must hold names")
    need(all(isinstance(n, str) for n in config["tied"].values()), "'tied' must hold names")
    need(all(isinstance(n, str) for n in config["transient"].values()), "'transient' must hold dtypes")
    need(all(_sizes(s, 0) for s in config["strides"].values()), "'strides' must hold lists of whole numbers")
    need(all(_is_module(m) for m in config["modules"]), "'modules' must hold [name, class, settings]")
    for name, layer in config["epitome_layers"].items():
        wrong = _wrong_layer(layer)
        need(not wrong, f"epitome layer {name!r:.100}: {wrong}")
    wrong = _wrong_backbone(config.get("backbone"))
    need(not wrong, f"backbone: {wrong}")


def _is_module(entry: Any) -> bool:
    kinds = (str, str, dict)
    return isinstance(entry, list) and len(entry) == 3 and all(map(isinstance, entry, kinds))


def _wrong_layer(layer: Any) -> str:
    if not isinstance(layer, dict):
        return "it must be an object"
    for key in _SIZES:
        if not _sizes(layer.get(key), 1):
            return f"{key}={layer.get(key)!r:.100}; give whole numbers of at least 1"
    for key in ("kind", "routing", "scope", "boundary", "execution"):
        if not isinstance(layer.get(key), str):
            return f"{key}={layer.get(key)!r:.100}; give a name"
    if not _whole(layer.get("seed"), 0, 1 << 64):
        return f"seed={layer.get('seed')!r:.100}"
    states = ("rule", *(mode.name for mode in ROUTING_MODES.values() if mode.learned), "frozen", "snapped")
    if layer.get("starts") not in states:
        return f"starts={layer.get('starts')!r:.100}; give one of {', '.join(states)}"
    for key in ("options", "op"):
        if not isinstance(layer.get(key), dict):
            return f"{key} must be an object"
    return ""


def _wrong_backbone(stamp: Any) -> str:
    if stamp is None:
        return ""
    if not isinstance(stamp, dict) or set(stamp) != {"name", "num_classes", "in_channels", "width", "options"}:
        return "it must hold name, num_classes, in_channels, width and options"
    if not isinstance(stamp["name"], str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", stamp["name"]):
        return f"name={stamp['name']!r:.100} is no name of a backbone"
    for key, most in _MOST.items():
        if not (_whole(stamp[key], 0, most) or (key == "num_classes" and stamp[key] is None)):
            return f"{key}={stamp[key]!r:.100}; a whole number up to {most:,}"
    width = stamp["width"]
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width <= 64:
        return f"width={width!r:.100}; a number up to 64"
    return _wrong_options(stamp["options"])


def _wrong_options(options: Any) -> str:
    if not isinstance(options, dict):
        return "options must be an object"
    for key, value in options.items():
        if key in FETCHING:
            return f"option {key!r:.100} would open another file"
        flat = value if isinstance(value, list) else [value]
        if not all(v is None or isinstance(v, bool) or _modest(v) for v in flat):
            return f"option {key!r:.100}={value!r:.100} is out of bounds"
    return ""


def _modest(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= 200
    return isinstance(value, int | float) and abs(value) <= _MOST_OPTION


def _whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _sizes(value: Any, least: int) -> bool:
    return isinstance(value, list) and len(value) <= 8 and all(_whole(v, least, 1 << 40) for v in value)
