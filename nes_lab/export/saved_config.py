"""Read and check ``config.json`` of a saved model. This module does not import torch.

No value is used before it is checked, because the file may be damaged, of another version, or written to do harm.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from nes_lab.errors import CheckpointError, OptionError
from nes_lab.geometry.start_rules import ROUTING_MODES
from nes_lab.geometry.stored_types import wrong_packing
from nes_lab.import_spec import check_import_spec, is_import_spec
from nes_lab.records.preprocessing import Preprocessing
from nes_lab.runs.files import sha256_of

__all__ = [
    "CONFIG",
    "FETCHING_OPTIONS",
    "FORMAT",
    "SCHEMA",
    "WEIGHTS",
    "add_checksum",
    "checked_weights",
    "is_saved_model",
    "read_saved_config",
    "wrong_description",
]

FORMAT, SCHEMA = "nes-lab-model", 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
FETCHING_OPTIONS = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")
"""Options of a backbone that download or open other files. They are not saved, and are refused in a saved model."""

_MAX_CONFIG_BYTES = 1 << 26
_MAX_COUNTS = {"num_classes": 10**6, "in_channels": 10**4}
_MAX_OPTION = 1 << 20
_MAX_WINDOWS = 1 << 10
_SIZES = ("weight_shape", "epitome_shape", "patch_channels")
_AGAIN = "download or save the model again"


def read_saved_config(folder: str | Path) -> dict[str, Any]:
    """Read, check and return the content of ``config.json`` of a saved model.

    The content describes layers, plan, metadata and versions, and has the SHA-256 of the weights file.

    Args:
        folder: A folder that :func:`nes_lab.save_pretrained` wrote.

    Raises:
        CheckpointError: If the file is missing, damaged, altered or has another schema; the message says what to do.

    Examples:
        >>> read_saved_config("nowhere")
        Traceback (most recent call last):
        nes_lab.errors.CheckpointError: nowhere holds no saved model: config.json is missing; give a folder written by ...
    """
    folder = Path(folder)
    path = folder / CONFIG
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise CheckpointError(
                f"{path} is larger than {_MAX_CONFIG_BYTES >> 20} MiB; it is not a configuration of NES Lab"
            )
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
    """Return True if a folder contains a model that :func:`nes_lab.save_pretrained` wrote, and nothing else.

    The files are not checked for damage.
    """
    try:
        names = {entry.name for entry in folder.iterdir()}
        config = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return names <= {CONFIG, WEIGHTS} and isinstance(config, dict) and config.get("format") == FORMAT


def add_checksum(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a saved model with a checksum added. The checksum reveals later changes."""
    return config | {"config_sha256": _digest(config)}


def _digest(config: dict[str, Any]) -> str:
    rest = {key: value for key, value in config.items() if key != "config_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def checked_weights(folder: Path, config: dict[str, Any]) -> Path:
    """Check the size and SHA-256 of a saved model's weights file, and return the path of the file.

    The model's configuration names the expected size and SHA-256.

    Raises:
        CheckpointError: If the file is missing, truncated or altered.
    """
    path, expected = folder / WEIGHTS, config["weights"]
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; {_AGAIN}")
    try:
        size = path.stat().st_size
        if size != expected["bytes"]:
            kind = "truncated" if size < expected["bytes"] else "too long"
            raise CheckpointError(f"{path} is {kind}: {size:,} bytes where {expected['bytes']:,} were saved; {_AGAIN}")
        digest = sha256_of(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    if digest != expected["sha256"]:
        raise CheckpointError(
            f"{path} was altered: its SHA-256 is {digest[:16]}... where {expected['sha256'][:16]}... was saved; {_AGAIN}"
        )
    return path


# ---- what a configuration must be ------------------------------------------------------------------------------------


def _check_kind(path: Path, config: Any) -> None:
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        kind = config.get("format") if isinstance(config, dict) else type(config).__name__
        raise CheckpointError(f"{path} is not the configuration of a model saved by NES Lab: its format is {kind!r}")
    if config.get("schema") != SCHEMA:
        version = config.get("versions", {}).get("nes_lab") if isinstance(config.get("versions"), dict) else None
        raise CheckpointError(
            f"{path} has schema {config.get('schema')!r}; this version reads schema {SCHEMA}. "
            f"Use the version that wrote it ({version or 'not stated'}), or save the model again"
        )
    if config.get("config_sha256") != _digest(config):
        raise CheckpointError(f"{path} was altered after it was written: its checksum does not match; {_AGAIN}")


def _check_content(path: Path, config: dict[str, Any]) -> None:
    def need(holds: bool, what: str) -> None:
        if not holds:
            raise CheckpointError(f"{path} is not valid: {what}; {_AGAIN}")

    need(isinstance(config.get("weights"), dict), "'weights' is missing")
    weights = config["weights"]
    need(weights.get("file") == WEIGHTS, f"weights.file={weights.get('file')!r:.100}; only {WEIGHTS!r} is ever opened")
    need(_is_int(weights.get("bytes"), 0, 1 << 50), f"weights.bytes={weights.get('bytes')!r:.100}")
    sha = weights.get("sha256")
    need(isinstance(sha, str) and bool(re.fullmatch("[0-9a-f]{64}", sha)), f"weights.sha256={sha!r:.100}")
    for key in ("epitome_layers", "tied", "strides", "transient"):
        need(isinstance(config.get(key), dict), f"{key!r} must be an object")
    for key in ("modules", "fixed_parameters"):
        need(isinstance(config.get(key), list), f"{key!r} must be a list")
    hooks = config.get("hooks", {})  # absent from folders of version 0.1
    need(
        isinstance(hooks, dict) and all(isinstance(h, list) and _are_names(h) for h in hooks.values()),
        "'hooks' must hold lists of names",
    )
    wrong = wrong_packing(config.get("packed", {}))  # only where a tensor has a smaller type in the file
    need(not wrong, wrong)
    need(_are_names(config.get("classes")), "'classes' must hold names")
    wrong = _wrong_preprocessing(config.get("preprocessing"))
    need(not wrong, f"preprocessing: {wrong}")
    need(all(isinstance(n, str) for n in config["fixed_parameters"]), "'fixed_parameters' must hold names")
    need(all(isinstance(n, str) for n in config["tied"].values()), "'tied' must hold names")
    need(all(isinstance(n, str) for n in config["transient"].values()), "'transient' must hold dtypes")
    need(all(_are_sizes(s, 0) for s in config["strides"].values()), "'strides' must hold lists of integers")
    need(all(_is_module(m) for m in config["modules"]), "'modules' must hold [name, class, settings]")
    wrong = wrong_description(config)
    need(not wrong, wrong)


def wrong_description(config: dict[str, Any]) -> str:
    """Say which epitome layer, or what of the backbone, a saved model's configuration describes wrongly; empty if nothing.

    Args:
        config: Configuration of the saved model (the content of ``config.json``).
    """
    for name, layer in config["epitome_layers"].items():
        if wrong := _wrong_layer(layer):
            return f"epitome layer {name!r:.100}: {wrong}"
    wrong = _wrong_backbone(config.get("backbone"))
    return f"backbone: {wrong}" if wrong else ""


def _are_names(classes: Any) -> bool:
    return classes is None or (isinstance(classes, list) and all(isinstance(name, str) for name in classes))


def _wrong_preprocessing(data: Any) -> str:
    try:
        if data is not None:
            Preprocessing.from_dict(data)
    except ValueError as error:
        return str(error)
    return ""


def _is_module(entry: Any) -> bool:
    kinds = (str, str, dict)
    return isinstance(entry, list) and len(entry) == 3 and all(map(isinstance, entry, kinds))


def _wrong_layer(layer: Any) -> str:
    if not isinstance(layer, dict):
        return "it must be an object"
    for key in _SIZES:
        if not _are_sizes(layer.get(key), 1):
            return f"{key}={layer.get(key)!r:.100}; give integers of at least 1"
    for key in ("kind", "routing", "scope", "boundary", "execution"):
        if not isinstance(layer.get(key), str):
            return f"{key}={layer.get(key)!r:.100}; give a name"
    if layer.get("epitome_dtype", "float") not in ("float", "int8"):
        return f"epitome_dtype={layer['epitome_dtype']!r:.100}; give float or int8"
    if not _is_int(layer.get("windows", 1), 1, _MAX_WINDOWS):
        return f"windows={layer['windows']!r:.100}; give an integer from 1 to {_MAX_WINDOWS}"
    if not _is_int(layer.get("seed"), 0, 1 << 64):
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
    if not _is_backbone_name(stamp["name"]):
        return f"name={stamp['name']!r:.100} is not the name of a backbone"
    for key, most in _MAX_COUNTS.items():
        if not (_is_int(stamp[key], 0, most) or (key == "num_classes" and stamp[key] is None)):
            return f"{key}={stamp[key]!r:.100}; give an integer up to {most:,}"
    width = stamp["width"]
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width <= 64:
        return f"width={width!r:.100}; give a number up to 64"
    return _wrong_options(stamp["options"])


def _is_backbone_name(name: object) -> bool:
    """Return True if a value can be the name of a backbone, or a function as ``package.module:function``. Nothing is imported."""
    if not isinstance(name, str):
        return False
    if is_import_spec(name):
        try:
            return bool(check_import_spec(name, "name"))
        except OptionError:
            return False
    return bool(re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name))


def _wrong_options(options: Any) -> str:
    if not isinstance(options, dict):
        return "options must be an object"
    for key, value in options.items():
        if key in FETCHING_OPTIONS:
            return f"option {key!r:.100} would download or open another file"
        flat = value if isinstance(value, list) else [value]
        if not all(v is None or isinstance(v, bool) or _is_small(v) for v in flat):
            return f"option {key!r:.100}={value!r:.100} is out of bounds"
    return ""


def _is_small(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= 200
    return isinstance(value, int | float) and abs(value) <= _MAX_OPTION


def _is_int(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _are_sizes(value: Any, least: int) -> bool:
    return isinstance(value, list) and len(value) <= 8 and all(_is_int(v, least, 1 << 40) for v in value)
