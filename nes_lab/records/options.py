"""Define the options of compression planning: their names, defaults and help texts. This file does not import torch.

To add an option, add a field to :class:`PlanOptions`, a keyword to :func:`nes_lab.plan_for_budget`, a line to
``config/sections.py`` (the command line reads it), and the code that uses the option.

To add a choice to an option, add it to the ``Literal`` type of the option and describe it in :data:`CHOICES`. A routing (way to
set starts) is described where it is registered. ``tests/records/test_options.py`` fails until every place is complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_type_hints

from nes_lab.errors import OptionError, check_choice, check_int
from nes_lab.geometry.epitome_geometry import Boundary, Scope
from nes_lab.geometry.start_rules import ROUTING_MODES, routing_mode

__all__ = [
    "AmpMode",
    "CHOICES",
    "ClassOrder",
    "EpitomeDtype",
    "EpitomeInit",
    "ExecutionName",
    "ExecutionOption",
    "ExecutorName",
    "ExportForm",
    "ExportFormat",
    "InitialWeights",
    "Interpolation",
    "LearnerKind",
    "LearnerOptions",
    "NetworkForm",
    "Normalization",
    "PlanOptions",
    "Preprocess",
    "PresetName",
    "PresetWiring",
    "Routing",
    "Schedule",
    "ScopeOption",
    "SensitivityCost",
    "Share",
    "Squash",
    "Strategy",
    "Wiring",
    "choices_help",
    "option_default",
    "option_help",
]

Routing = Literal["tiled", "stride", "random", "free", "learner"]
ScopeOption = Literal[Scope, "auto"]
Wiring = Literal["both_axes", "input_axis", "output_axis", "narrow_axis"]
Share = Literal["layer", "stage", "network"]
EpitomeDtype = Literal["float", "int8"]
Strategy = Literal["uniform", "sensitivity", "speed"]
InitialWeights = Literal["fit", "reset"]
EpitomeInit = Literal["fit", "reset", "none"]
"""Initial cells of an epitome: fitted to a dense weight, each one of the weights that read it, or fresh random numbers."""
Squash = Literal["tanh", "sigmoid"]
LearnerKind = Literal["mlp", "conv"]
ExecutionName = Literal[
    "materialize", "factored", "wrapped", "product_map", "materialize_matmul", "factored_matmul", "wrapped_matmul"
]
ExecutionOption = Literal[ExecutionName, "auto"]
"""An execution (way to compute a layer), or ``auto`` for the one with the fewest multiply-adds."""
PresetName = Literal["released_x2", "input_axis", "output_axis", "both_axes", "small_file"]
PresetWiring = Literal["expand_project", "expand_head"]
SensitivityCost = Literal["loss", "residual"]
ExportForm = Literal["materialized", "factored"]
ExportFormat = Literal["onnx", "torch"]
NetworkForm = Literal[
    "as given", "eager", "compiled", "onnx", "materialized", "materialized, compiled", "materialized, onnx"
]
"""Forms in which :func:`nes_lab.optimize` can let a network run; :data:`nes_lab.records.optimize_report.FORMS` describes them."""
Schedule = Literal["cosine", "step", "poly", "tanh", "constant"]
AmpMode = Literal["auto", "off", "bf16", "fp16"]
Interpolation = Literal["bilinear", "bicubic"]
Normalization = Literal["own", "imagenet", "half"]
Preprocess = Literal["data", "backbone"]
ClassOrder = Literal["own", "text", "natural"]
ExecutorName = Literal["local", "ray"]

CHOICES: dict[str, dict[str, str]] = {
    "routing": {name: mode.help for name, mode in ROUTING_MODES.items()},
    "scope": {
        "separable": "per axis, so that multiply-adds fall with params",
        "joint": "per patch: only params fall, and the weight keeps its full rank",
        "flat": "per patch and window, from an epitome of one axis that layers of any shape can share",
        "auto": "separable if multiply-adds or time must fall, or if both give the same weight; otherwise joint",
    },
    "boundary": {
        "clamp": "patches stay inside the epitome",
        "circular": "patches continue at the beginning of the axis",
    },
    "share": {
        "layer": "each layer has its own",
        "stage": "one for all layers whose outputs have equally many positions",
        "network": "one for all layers",
    },
    "epitome_dtype": {
        "float": "the network's own type",
        "int8": "8 bits and one scale per output channel or 64 cells, also in training",
    },
    "wiring": {
        "both_axes": "output and input channels, which keeps most rank for the same multiply-adds",
        "input_axis": "input channels",
        "output_axis": "output channels",
        "narrow_axis": "in each layer the axis that costs less to fold or expand, which runs fastest and loses most rank",
    },
    "strategy": {
        "uniform": "all shrink by one ratio",
        "sensitivity": "layers that lose least shrink most",
        "speed": "by times measured once on this device: they choose wiring and rounding of each layer, and layers that save "
        "most time shrink first",
    },
    "initial_weights": {
        "fit": "fitted to the dense weights",
        "reset": "random",
    },
    "squash": {
        "tanh": "moves one by at most reach",
        "sigmoid": "puts one anywhere, as in the paper",
    },
    "learner": {
        "mlp": "global average pooling and two linear layers",
        "conv": "two convolutions",
    },
}
"""Option -> choice -> meaning of the choice. Help texts, tooltips and docs show it."""


@dataclass(frozen=True)
class PlanOptions:
    """Options of a compression plan besides its budget. Each has a type, a default and one sentence of help.

    The keywords of :func:`nes_lab.plan_for_budget` have the same names and defaults.

    Raises:
        OptionError: If the value of an option is not among its choices or is out of range.

    Examples:
        >>> PlanOptions(routing="free").wiring  # which channel axes shrink
        'both_axes'
    """

    include: Annotated[
        Sequence[str] | str | None,
        "Name patterns (blocks.*.conv_pw) or types (Linear, conv2d) of the layers to replace; by default all that can be replaced.",
    ] = None
    exclude: Annotated[Sequence[str] | str | None, "Name patterns or types of layers that stay dense."] = None
    overrides: Annotated[
        Mapping[str, Mapping[str, Any]] | None,
        'Settings for single layers by name pattern or type, such as {"head*": {"ratio": 0.5}}.',
    ] = None
    routing: Annotated[Routing, "How the starting indices are set."] = "tiled"
    scope: Annotated[ScopeOption, "Whether each axis or each patch has its own starts."] = "separable"
    boundary: Annotated[Boundary, "What happens at the end of an epitome axis."] = "clamp"
    patch_channels: Annotated[
        int | tuple[int, int] | None,
        "Channels sampled in one piece, or a pair (output, input); by default the whole epitome axis, or 16 where learned starts can move.",
    ] = None
    share: Annotated[Share, "Which layers share a flat epitome, which saves params and not multiply-adds."] = "layer"
    windows: Annotated[int, "Number of windows of a flat epitome whose weighted sum is a patch."] = 1
    epitome_dtype: Annotated[EpitomeDtype, "Type of the numbers of an epitome."] = "float"
    round_to: Annotated[int, "Epitome channels are multiples of this; give 1 or 2 for tiny networks."] = 8
    wiring: Annotated[Wiring, "Which channel axes shrink."] = "both_axes"
    min_channels: Annotated[
        int,
        "Number of input or output channels below which a layer stays dense unless include names it; thin layers gain no time.",
    ] = 1
    strategy: Annotated[Strategy, "How layers share the compression."] = "uniform"
    seed: Annotated[int, "Seed of random routing."] = 0
    snap: Annotated[
        bool,
        "Round learned starts to integers permanently, and count the multiply-adds of such starts, which need no interpolation.",
    ] = False
    layer_options: Annotated[
        Mapping[str, Any] | None, 'More arguments of the epitome layers, such as {"reach": 2.0} of the index learner.'
    ] = None
    seconds: Annotated[float, "Approximate time in seconds that a search for a limit on time may take."] = 60.0

    def __post_init__(self) -> None:
        routing_mode(self.routing)  # refuses a routing that is not registered
        for name in ("scope", "boundary", "wiring", "share", "strategy", "epitome_dtype"):
            check_choice(name, getattr(self, name), CHOICES[name])
        if isinstance(self.patch_channels, list):  # as in YAML
            object.__setattr__(self, "patch_channels", tuple(self.patch_channels))
        _check_patch_channels(self.patch_channels)
        check_int("windows", self.windows, 1)
        self._resolve_flat()
        check_int("round_to", self.round_to, 1)
        check_int("min_channels", self.min_channels, 1)
        check_int("seed", self.seed, 0)
        if not isinstance(self.snap, bool):
            raise OptionError(f"snap={self.snap!r}; give True or False")
        for name in self.layer_options or ():
            check_choice("layer_options", name, LearnerOptions.names())

    def _resolve_flat(self) -> None:
        """Set the scope and the boundary of flat epitomes, which sharing and sums of windows need."""
        if self.share == "layer" and self.windows == 1 and self.scope != "flat":
            return
        if self.scope == "joint":
            raise OptionError(
                f"scope='joint' and share={self.share!r}, windows={self.windows}: shared epitomes and sums of windows are flat; "
                "leave out scope, or give 'flat'"
            )
        object.__setattr__(self, "scope", "flat")
        object.__setattr__(self, "boundary", "circular")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all options of compression planning.

        Examples:
            >>> PlanOptions.names()[:3]
            ('include', 'exclude', 'overrides')
        """
        return tuple(f.name for f in fields(cls))

    @classmethod
    def among(cls, arguments: Mapping[str, Any]) -> PlanOptions:
        """Pick the options of compression planning from a function's arguments, and return them as :class:`PlanOptions`.

        Args:
            arguments: Name -> value of each argument, as ``locals()`` returns them; arguments that are not options are ignored.

        Examples:
            >>> PlanOptions.among({"model": None, "round_to": 2}).round_to
            2
        """
        return cls(**{name: arguments[name] for name in cls.names() if name in arguments})


@dataclass(frozen=True)
class LearnerOptions:
    """Options of the index learner: the network that predicts starts (positions of patches) if the option ``routing`` is ``learner``.

    Each has a type, a default and one sentence of help. These options do not change the counts of a plan.
    """

    reach: Annotated[float, "Farthest an index learner moves a start from the tiling, in cells."] = 1.0
    squash: Annotated[Squash, "How an index learner limits starts."] = "tanh"
    momentum: Annotated[float, "Index learner: share of the old routing map in its moving average."] = 0.9
    learner: Annotated[LearnerKind, "Layers of the index learner."] = "mlp"

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all options of the index learner (the network that predicts starts)."""
        return tuple(f.name for f in fields(cls))


def option_default(name: str) -> Any:
    """Return the default of one option of compression planning or of the index learner (the network that predicts starts).

    Examples:
        >>> option_default("round_to"), option_default("reach")
        (8, 1.0)
    """
    return next(f.default for f in (*fields(PlanOptions), *fields(LearnerOptions)) if f.name == name)


def option_help(name: str) -> str:
    """Return the help text of an option: one sentence, followed by the meaning of each of the option's choices.

    Examples:
        >>> option_help("squash")
        'How an index learner limits starts: tanh (moves one by at most reach), sigmoid (puts one anywhere, as in the paper).'
    """
    owner = PlanOptions if name in PlanOptions.names() else LearnerOptions
    sentence = get_type_hints(owner, include_extras=True)[name].__metadata__[0]
    return f"{sentence[:-1]}: {choices_help(name)}." if name in CHOICES else sentence


def choices_help(name: str) -> str:
    """Return the choices of an option as text, with the meaning of each choice.

    Examples:
        >>> choices_help("initial_weights")
        'fit (fitted to the dense weights), reset (random)'
    """
    return ", ".join(f"{choice} ({text})" for choice, text in CHOICES[name].items())


def _check_patch_channels(value: object) -> None:
    lengths = value if isinstance(value, tuple) else (value, value)
    if value is not None and (len(lengths) != 2 or any(type(length) is not int or length < 1 for length in lengths)):
        raise OptionError(
            f"patch_channels={value!r}; give one integer of at least 1, or a pair of them: (output, input) channels"
        )
