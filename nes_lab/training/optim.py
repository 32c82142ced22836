"""Build timm's optimizers for a network. Biases, norms and starting indices (positions in an epitome) get no weight decay."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.errors import CheckpointError, OptionError, check_choice
from nes_lab.packages import needed_for
from nes_lab.training.flat_steps import flat_steps
from nes_lab.training.recipe import Recipe

__all__ = [
    "build_optimizer",
    "check_optimizer",
    "drop_group",
    "is_routing_parameter",
    "load_optimizer",
    "mark_parameters_changed",
    "parameter_groups",
]

_LOOKAHEAD = "lookahead_"


def is_routing_parameter(name: str) -> bool:
    """Return True if a parameter holds starting indices, or belongs to a network that predicts starting indices.

    Starting indices are the positions at which layers read their epitomes. Only the name of the parameter is checked.

    Examples:
        >>> is_routing_parameter("blocks.0.conv.routing.start_offsets_out"), is_routing_parameter("routing_head.weight")
        (True, False)
    """
    return "routing" in name.split(".")[:-1]


def parameter_groups(
    network: nn.Module,
    weight_decay: float,
    *,
    lr: float | None = None,
    starts_lr_scale: float = 1.0,
    optimizer: str = "",
) -> list[dict[str, Any]]:
    """Sort the trainable parameters of a network into groups, for any optimizer of torch or timm.

    Empty groups are left out.

    - ``decay``: matrices and convolution kernels, also those of epitomes. They get the weight decay.
    - ``no_decay``: vectors and scalars (biases, norms), and the parameters that a timm model names in
      ``no_weight_decay()``. They get no weight decay.
    - ``alpha``: factors of the windows of flat epitomes; ``flat_epitomes``, ``flat_epitomes_2``, ...: flat epitomes. They get no
      weight decay, and learning rates that follow from how often their cells are read (:mod:`nes_lab.training.flat_steps`).
    - ``starts``: starting indices (positions at which layers read epitomes), and the networks that predict them. They get
      no weight decay, and they may get a learning rate of their own. This group is the last.

    Args:
        network: The network, before ``DistributedDataParallel`` or ``torch.compile`` wraps it.
        weight_decay: Weight decay of the group ``decay``.
        lr: Learning rate of all groups except ``starts``. None: that of the optimizer, for all groups.
        starts_lr_scale: Learning rate of the group ``starts``, as a multiple of ``lr``.
        optimizer: Name of the optimizer in timm, such as ``"sgd"`` or ``"adamw"``. Only networks with flat epitomes need it: their
            learning rates depend on it.

    Returns:
        One dict per group, with the keys ``params``, ``weight_decay`` and ``name``, and with ``lr`` if it was given. Groups of flat
        epitomes also have ``lr_scale``, the multiple of ``lr``.

    Raises:
        OptionError: If ``network`` is not a torch module, a number is negative or not finite, ``starts_lr_scale`` is given
            without ``lr``, or the network has flat epitomes and ``optimizer`` is not given.

    Examples:
        >>> import torch, nes_lab
        >>> network = nes_lab.EpitomeLinear(64, 64, epitome_shape=(32, 32), patch_channels=(8, 8), routing="free")
        >>> groups = nes_lab.parameter_groups(network, weight_decay=0.05, lr=1e-3, starts_lr_scale=0.1)
        >>> [(group["name"], group["weight_decay"], group["lr"], len(group["params"])) for group in groups]
        [('decay', 0.05, 0.001, 1), ('no_decay', 0.0, 0.001, 1), ('starts', 0.0, 0.0001, 2)]
        >>> optimizer = torch.optim.AdamW(groups)
    """
    _check_groups(network, weight_decay, lr, starts_lr_scale)
    listed: Callable[[], Iterable[str]] | None = getattr(network, "no_weight_decay", None)
    listed_names = set() if listed is None else set(listed())
    # starts come last: when their group is dropped, all other parameters keep their positions
    sorted_params: dict[str, list[nn.Parameter]] = {"decay": [], "no_decay": []}
    flat_groups, scales = _flat_groups(network, optimizer)
    sorted_params |= {name: [] for name in scales} | {"starts": []}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        has_no_decay = parameter.ndim <= 1 or name in listed_names or name.endswith(".bias")
        kind = "starts" if is_routing_parameter(name) else "no_decay" if has_no_decay else "decay"
        kind = flat_groups.get(id(parameter), kind)
        sorted_params[kind].append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": params, "weight_decay": weight_decay if name == "decay" else 0.0, "name": name}
        for name, params in sorted_params.items()
        if params
    ]
    for group in groups:
        if group["name"] in scales:
            group["lr_scale"] = scales[group["name"]]
        if lr is not None:
            group["lr"] = lr * (starts_lr_scale if group["name"] == "starts" else group.get("lr_scale", 1.0))
    return groups


def _flat_groups(network: nn.Module, optimizer: str) -> tuple[dict[int, str], dict[str, float]]:
    """Return the group of each parameter of flat epitomes, by the parameter's ``id()``, and the learning rate scale of each group."""
    steps = flat_steps(network, optimizer)
    if steps.epitomes and not optimizer:
        raise OptionError(
            "the network has flat epitomes (share, windows), whose learning rates depend on the optimizer; give optimizer=, such as "
            "'sgd' or 'adamw'"
        )
    groups, scales = {}, {}
    for key, step in steps.alphas.items():
        groups[key], scales["alpha"] = "alpha", step
    different = list(dict.fromkeys(float(f"{step:.2g}") for step in steps.epitomes.values()))
    for number, step in enumerate(different, start=1):
        scales["flat_epitomes" if number == 1 else f"flat_epitomes_{number}"] = step
    names = {step: name for name, step in scales.items() if name != "alpha"}
    return groups | {key: names[float(f"{step:.2g}")] for key, step in steps.epitomes.items()}, scales


def _check_groups(network: nn.Module, weight_decay: float, lr: float | None, starts_lr_scale: float) -> None:
    if not isinstance(network, nn.Module):
        raise OptionError(f"network is a {type(network).__name__}; give a torch module")
    for name, value in (("weight_decay", weight_decay), ("lr", lr), ("starts_lr_scale", starts_lr_scale)):
        if name == "lr" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < float("inf"):
            raise OptionError(f"{name}={value!r}; give a finite number of at least 0")
    if lr is None and starts_lr_scale != 1:
        raise OptionError(f"starts_lr_scale={starts_lr_scale} is a multiple of lr; give lr= too")


def check_optimizer(name: str) -> None:
    """Raise an error if timm does not know an optimizer of this name. It knows the one in the example.

    Raises:
        OptionError: If the name is not known; the message suggests the closest known name.

    Examples:
        >>> check_optimizer("lookahead_radam")
    """
    with needed_for("training"):
        from timm.optim import list_optimizers

    check_choice("optimizer", name.removeprefix(_LOOKAHEAD), [str(known) for known in list_optimizers()])


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build the optimizer that the training recipe names, for a network.

    Its parameter groups are those of :func:`parameter_groups`.

    If torch has a fused (faster) version of the optimizer, that version is used.

    Raises:
        OptionError: If timm does not know the optimizer, or the optimizer does not accept one of its options.

    Examples:
        >>> type(build_optimizer(nn.Linear(2, 1), Recipe(epochs=1, batch_size=1, lr=0.1, optimizer="lamb"))).__name__
        'Lamb'
    """
    with needed_for("training"):
        from timm.optim import create_optimizer_v2

    check_optimizer(recipe.optimizer)
    groups = parameter_groups(model, recipe.weight_decay, optimizer=recipe.optimizer)
    for group in groups:  # timm's schedules multiply the learning rate of a group by its scale
        group.setdefault("lr_scale", recipe.starts_lr_scale if group["name"] == "starts" else 1.0)
    try:
        name, options = _options(recipe, [p for group in groups for p in group["params"]])
        optimizer = create_optimizer_v2(groups, opt=name, lr=recipe.lr, weight_decay=recipe.weight_decay, **options)
    except OptionError:
        raise
    except (TypeError, ValueError, AssertionError, ImportError, RuntimeError) as error:
        given = dict(recipe.optimizer_options)
        raise OptionError(
            f"optimizer={recipe.optimizer!r} with optimizer_options={given!r} cannot be built: {error}"
        ) from error
    if getattr(optimizer, "is_second_order", False):
        raise OptionError(
            f"optimizer={recipe.optimizer!r} needs second derivatives, which this training loop does not compute"
        )
    return optimizer


def _options(recipe: Recipe, parameters: list[nn.Parameter]) -> tuple[str, dict[str, Any]]:
    """Return the name and the arguments with which timm creates the optimizer of a training recipe."""
    from timm.optim import get_optimizer_class, get_optimizer_info

    name = recipe.optimizer
    info = get_optimizer_info(name.removeprefix(_LOOKAHEAD))
    given, options = dict(recipe.optimizer_options), {}
    for option, known in (("eps", info.has_eps), ("betas", info.has_betas)):
        if option in given and not known:  # timm would ignore it silently
            raise OptionError(f"optimizer_options: optimizer={name!r} has no option {option!r}")
    taken = inspect.signature(get_optimizer_class(info.name, bind_defaults=False)).parameters
    if "fused" in taken and "foreach" not in given:
        options["fused"] = all(p.device.type in ("cpu", "cuda") for p in parameters)
    usual = (info.defaults or {}).get("betas") or (taken["betas"].default if "betas" in taken else None)
    if info.has_betas and isinstance(usual, tuple):  # Adafactor and the like have no betas by default
        options["betas"] = (recipe.momentum, *usual[1:])
    if info.has_momentum:
        options["momentum"] = recipe.momentum
    if name == "sgd" and recipe.momentum == 0:
        name = "momentum"  # timm's "sgd" is Nesterov, which needs momentum
    return name, options | given


def mark_parameters_changed(optimizer: torch.optim.Optimizer) -> None:
    """Mark every parameter of an optimizer as changed, by increasing torch's version counter of the parameter.

    Call this function after each update of the weights. An epitome layer keeps the last weight that it sampled. The layer
    samples the weight again when a counter has changed.
    """
    # torch's fused optimizers do not increase these counters themselves
    torch.autograd.graph.increment_version([p for group in optimizer.param_groups for p in group["params"]])


def drop_group(optimizer: torch.optim.Optimizer, name: str) -> None:
    """Remove the parameter group with this name from an optimizer.

    The optimizer also forgets what it stored for the parameters of the group.

    Examples:
        >>> optimizer = build_optimizer(nn.Linear(2, 1), Recipe(epochs=1, batch_size=1, lr=0.1))
        >>> drop_group(optimizer, "no_decay")
        >>> [group["name"] for group in optimizer.param_groups]
        ['decay']
    """
    for parameter in (p for group in optimizer.param_groups if group["name"] == name for p in group["params"]):
        optimizer.state.pop(parameter, None)
    optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["name"] != name]


_PARAMETER_SHAPED = {"momentum_buffer", "exp_avg", "square_avg"}
"""Names of optimizer state entries that always have the shape of their parameter."""


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a saved state into an optimizer, and check the shapes of the saved tensors.

    Raises:
        CheckpointError: If the saved state has other parameter groups, another number of parameters, or tensors of other
            shapes.
    """
    try:
        optimizer.load_state_dict(state)
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"the optimizer's state does not fit this network: {error}") from error
    for parameter, entries in optimizer.state.items():
        for name, value in entries.items():
            if isinstance(value, Tensor) and name in _PARAMETER_SHAPED and value.shape != parameter.shape:
                raise CheckpointError(
                    f"the optimizer's {name} has shape {tuple(value.shape)} where {tuple(parameter.shape)} is needed"
                )
