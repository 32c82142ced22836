"""Define the flags that ``plan``, ``compress`` and ``fit`` share: which backbone to compress, and how.

Tests: tests/cli/test_models.py
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, make_dataclass
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, get_args

import tyro
from pydantic.fields import FieldInfo

from nes_lab.config import BackboneConfig, CompressionConfig, load_config
from nes_lab.errors import BudgetError, OptionError
from nes_lab.records.options import PlanOptions, option_default, option_help

if TYPE_CHECKING:
    from nes_lab.models.source import DenseSource
    from nes_lab.records.compression_plan import CompressionPlan

__all__ = [
    "PlanFlags",
    "SaveFlags",
    "compression_config",
    "dense_source",
    "read_plan",
    "saving_arguments",
    "search_options",
]

MOST_PIXELS, MOST_SAMPLES, MOST_CLASSES = 10**5, 10**8, 10**6
COMPRESSION_FIELDS = {
    name: field
    for name, field in CompressionConfig.model_fields.items()
    if name in ("params", "madds", "latency_ms", "stored_bytes", "preset", *PlanOptions.names())
}
"""Fields of the config's compression section that are flags too, with the same default and description."""


def _compression_flag(name: str, field: FieldInfo) -> tuple[str, Any, Any]:
    """Return the name, type and default of a command-line flag.

    The flag sets one field of the configuration's ``compression`` section.
    """
    # A switch, and a flag for an integer or a list of names, has the type of the field. Any other flag takes text, which
    # the configuration parses.
    kind, default = field.annotation, field.default
    if not (set(get_args(kind)) or {kind}) <= {int, bool, NoneType} and kind != tuple[str, ...]:
        kind, default = (str, default) if isinstance(default, str) else (str | None, None)
    return name, Annotated[kind, tyro.conf.arg(help=field.description)], default


CompressionFlags: Any = make_dataclass(
    "CompressionFlags", [_compression_flag(*item) for item in COMPRESSION_FIELDS.items()], frozen=True, kw_only=True
)


@dataclass(frozen=True, kw_only=True)
class PlanFlags(CompressionFlags):
    """Flags that name a backbone and say how to compress it."""

    backbone: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="BACKBONE")]]
    """Name of the network: small_mobilenetv2, any model name of timm, or your own function as package.module:function."""
    input: tuple[int, ...] = (3, 224, 224)
    """Shape of one input: channels, height and width of an image, or channels and samples of a sound."""
    classes: int = 1000
    """Number of classes."""
    pretrained: bool = False
    """Start from timm's pretrained weights, which are downloaded on first use."""
    checkpoint: Path | None = None
    """Start from the dense network's weights in this .safetensors file."""
    seed: int = 0
    """Seed for random initial weights, for random routing and for every search."""
    width: float = BackboneConfig.model_fields["width"].default
    """Multiply the number of channels of every layer by this."""
    seconds: Annotated[float, tyro.conf.arg(help=option_help("seconds"))] = option_default("seconds")


@dataclass(frozen=True, kw_only=True)
class SaveFlags(PlanFlags):
    """Flags of ``compress`` and ``fit``, the commands that save a compressed network in a folder."""

    folder: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER")]]
    """Folder to save the network in; it must not exist yet, unless --overwrite is given."""
    plan: Path | None = None
    """Use the plan in this file, written by nes-lab plan --output, instead of a budget."""
    overwrite: bool = False
    """Replace a network that is already saved in FOLDER."""
    json: bool = False
    """Print the result as one JSON value on standard output; everything else goes to standard error."""


def compression_config(options: PlanFlags) -> CompressionConfig:
    """Check the flags of compression, and return the ``compression`` section of the configuration that they describe.

    Raises:
        BudgetError: If the flags give neither a budget nor a preset.
        OptionError: If a flag's value is not among its choices, or out of range.
    """
    aims = (options.params, options.madds, options.latency_ms, options.stored_bytes, options.preset)
    if all(aim is None for aim in aims):
        raise BudgetError(
            "give a budget, such as --madds 75%, --params 1.2M, --stored-bytes 200k or --latency-ms 75%, or a --preset such as released_x2"
        )
    settings: dict[str, Any] = {name: getattr(options, name) for name in COMPRESSION_FIELDS}
    settings["overrides"] = options.overrides or {}
    if options.snap:  # the configuration of a training run must also say what rounds the starts
        settings |= {"search_starts": True, "initial_weights": "fit"}
    compression = load_config({"backbone": _backbone(options), "compression": settings}).compression
    assert compression is not None  # the line above set it
    return compression


def dense_source(options: PlanFlags) -> DenseSource:
    """Return a description of the dense network that the flags name: its backbone, input shape, classes and weights.

    Raises:
        OptionError: If the input shape or the number of classes is out of range.
    """
    shown = " ".join(map(str, options.input))
    if not 2 <= len(options.input) <= 4:
        raise OptionError(
            f"--input {shown}: give channels, height and width, such as 3 224 224, or channels and samples, such as 1 8000"
        )
    most = MOST_SAMPLES if len(options.input) == 2 else MOST_PIXELS
    if min(options.input) < 1 or max(options.input) > most:
        raise OptionError(f"--input {shown}: each number should be from 1 to {most:,}")
    if not 1 <= options.classes <= MOST_CLASSES:
        raise OptionError(f"--classes {options.classes} should be from 1 to {MOST_CLASSES:,}")
    backbone = load_config({"backbone": _backbone(options), "seed": options.seed}).backbone
    from nes_lab.models.source import DenseSource

    weights: dict[str, Any] = {"pretrained": options.pretrained, "checkpoint": options.checkpoint, "seed": options.seed}
    return DenseSource(backbone.name, options.input, options.classes, backbone.width, **weights)


def search_options(options: PlanFlags) -> dict[str, Any]:
    """Return the options of the search for a compression plan that meets the latency given by ``--latency-ms``.

    The options are the seconds that the search may take, and whether it shows a progress bar.
    """
    return {"seconds": options.seconds, "progress": options.latency_ms is not None and sys.stderr.isatty()}


def saving_arguments(options: SaveFlags) -> dict[str, Any]:
    """Return the arguments for the library function that runs the command ``compress`` or ``fit``.

    The arguments are the dense network, the folder to write, and either a compression plan or the configuration from
    which the plan is made.

    Raises:
        BudgetError: If the flags give neither a plan, a budget nor a preset.
        OptionError: If a flag's value is wrong, or the plan's file cannot be read.
        PlanError: If the plan's file does not hold a plan.
    """
    plan = None if options.plan is None else read_plan(options.plan, options)
    compression = None if plan else compression_config(options)
    where = {"source": dense_source(options), "folder": options.folder, "overwrite": options.overwrite}
    return where | {"compression": compression, "plan": plan} | search_options(options)


def read_plan(path: Path, options: PlanFlags) -> CompressionPlan:
    """Read a compression plan from a file that ``nes-lab plan --output`` wrote.

    Raises:
        OptionError: If the file cannot be read, or the flags give a budget, a preset or ``--snap`` too.
        PlanError: If the file does not hold a plan.
    """
    from nes_lab.records.compression_plan import CompressionPlan

    defaults = {flag.name: flag.default for flag in fields(options)}
    for name in ("params", "madds", "latency_ms", "stored_bytes", "preset", "snap"):
        given = getattr(options, name)
        if (
            given != defaults[name] and given is not False
        ):  # nes_lab.fit refuses --no-snap if the plan counts integer starts
            raise OptionError(f"--plan {path} already holds what --{name.replace('_', '-')} asks for; give one of them")
    try:
        return CompressionPlan.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--plan {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _backbone(options: PlanFlags) -> dict[str, Any]:
    return {"name": options.backbone, "width": options.width}
