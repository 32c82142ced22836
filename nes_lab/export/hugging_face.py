"""Let Hugging Face's transformers save and load compressed networks by its own ``save_pretrained`` and ``from_pretrained``.

transformers has a registry of quantization methods: a method changes the layers of a new network before the weights are loaded.
Epitomes are registered there as the method ``nes_lab``. ``config.json`` then lists the epitome layers, and ``from_pretrained``
makes them. An epitome that several layers read is written once, with the first of them. Both need ``import nes_lab`` in the process.
:func:`register` is called as soon as transformers has been imported.

Tests: tests/export/test_hugging_face.py
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.errors import CheckpointError
from nes_lab.export.outline import layer_record, named_epitome_layers
from nes_lab.export.rebuild import put_epitome_layers_
from nes_lab.nn.bake import bake
from nes_lab.nn.free_starts import FreeStarts
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.surgery.transformers_mark import METHOD, mark_for_transformers_
from nes_lab.text import list_some

__all__ = ["EpitomeList", "EpitomeMethod", "register"]

_SCHEMA = 2
"""Version of the list of epitome layers. Version 1 has no shared epitomes."""
_WAY_OUT = "save it with nes_lab.save_pretrained, or save nes_lab.materialize(model)"


def register() -> None:
    """Register epitomes as a quantization method of transformers, which must be installed.

    Raises:
        ImportError: If this version of transformers has no such registry.
    """
    registry = import_module("transformers.quantizers.auto")
    if METHOD in registry.AUTO_QUANTIZER_MAPPING:
        return
    quantizer = import_module("transformers.quantizers.base").HfQuantizer
    config = import_module("transformers.utils.quantization_config").QuantizationConfigMixin
    try:
        as_config, as_quantizer = registry.register_quantization_config(METHOD), registry.register_quantizer(METHOD)
    except AttributeError as error:
        raise ImportError(f"this version of transformers has no registry of quantization methods: {error}") from error
    as_config(type("EpitomeConfig", (EpitomeList, config), {}))
    as_quantizer(type("EpitomeQuantizer", (EpitomeMethod, quantizer), {}))


class EpitomeList:
    """Lists the epitome layers of a network in the ``config.json`` of transformers.

    Args:
        epitome_layers: For each epitome layer, by name, what is needed to make it; None: no layers.
        schema: Version of this list; None: the oldest that can hold it.
        **rest: Other keys of ``config.json``, which are ignored.
    """

    def __init__(self, epitome_layers: dict[str, Any] | None = None, schema: int | None = None, **rest: Any) -> None:
        self.quant_method = METHOD
        self.epitome_layers = {} if epitome_layers is None else epitome_layers
        shares = any("reads" in record for record in self.epitome_layers.values())
        self.schema = (_SCHEMA if shares else 1) if schema is None else schema


class EpitomeMethod:
    """Makes the epitome layers of a network that transformers loads, and lists them for one that it saves.

    The names of the methods are those of transformers' class ``HfQuantizer``.
    """

    quantization_config: EpitomeList

    def is_serializable(self, *args: Any, **options: Any) -> bool:
        """Return True: transformers may save the network."""
        return True

    @property
    def is_trainable(self) -> bool:
        """True: the network can be trained."""
        return True

    @property
    def is_qat_trainable(self) -> bool:
        """True: all parameters of the network can be trained."""
        return True

    @property
    def is_compileable(self) -> bool:
        """True: the network can be compiled."""
        return True

    def get_state_dict_and_metadata(self, model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the tensors that transformers saves, and list the present epitome layers in the network's configuration.

        Raises:
            CheckpointError: If transformers could not load the network as it is; the message names the first difference.
        """
        baked = bake(model)
        records = _records(baked)
        tensors = _state(baked, records)
        difference = _loading_difference(model, records, tensors)
        if difference:
            raise CheckpointError(f"transformers could not load this network again: {difference}; {_WAY_OUT}")
        self.quantization_config = type(self.quantization_config)(records)
        model.config.quantization_config = self.quantization_config  # type: ignore[union-attr]
        return tensors, {}

    def _process_model_before_weight_loading(self, model: nn.Module, **options: Any) -> None:
        if self.quantization_config.schema not in range(1, _SCHEMA + 1):
            raise CheckpointError(
                f"config.json lists epitome layers in schema {self.quantization_config.schema!r}; this version of NES Lab "
                f"reads schema 1 to {_SCHEMA}"
            )
        records = _names_here(model, self.quantization_config.epitome_layers)
        put_epitome_layers_(model, records)
        _leave_out_shared_(model, records)
        _keep_anchors_(model)

    def _process_model_after_weight_loading(self, model: nn.Module, **options: Any) -> nn.Module:
        if missing := _without_values(model):
            raise CheckpointError(f"the folder lacks {list_some(missing, 3)}: save the network again")
        _share_again_(model, _names_here(model, self.quantization_config.epitome_layers))
        for _, layer in named_epitome_layers(model):
            layer.routing.leave_meta(layer.epitome.device)
        return mark_for_transformers_(model)

    def _dequantize(self, model: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
        for name, layer in list(named_epitome_layers(model)):
            model.set_submodule(name, layer.to_dense())
        return model


def _names_here(model: nn.Module, records: dict[str, Any]) -> dict[str, Any]:
    """Return the records by the names that their layers have in a network with or without the head of the saved one."""
    modules = dict(model.named_modules())
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    if any(name not in modules for name in records):
        for renamed in (
            {prefix + name: _renamed(record, prefix.__add__) for name, record in records.items()},
            {
                name.removeprefix(prefix): _renamed(record, lambda first: first.removeprefix(prefix))
                for name, record in records.items()
                if name.startswith(prefix)
            },
        ):
            if renamed and all(name in modules for name in renamed):
                return renamed
    return records


def _renamed(record: dict[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
    return record | ({"reads": rename(record["reads"])} if "reads" in record else {})


def _records(model: nn.Module) -> dict[str, Any]:
    """Return what is needed to make each epitome layer, by name. ``reads`` names another layer that holds the same epitome."""
    records: dict[str, Any] = {}
    firsts: dict[int, tuple[str, EpitomeLayer]] = {}
    for name, layer in named_epitome_layers(model):
        first, holder = firsts.setdefault(id(layer.epitome), (name, layer))
        records[name] = layer_record(layer) | ({} if holder is layer else {"reads": first})
    return records


def _leave_out_shared_(model: nn.Module, records: dict[str, Any]) -> None:
    """Take the epitome away from each layer that reads that of another one, so that transformers saves and loads it once.

    Raises:
        CheckpointError: If a layer reads the epitome of a layer that the model does not have.
    """
    for name, record in records.items():
        first = record.get("reads", name)
        if first not in records:
            raise CheckpointError(
                f"epitome layer {name!r} reads the epitome of {first!r}, which this network does not have; load the network that "
                "was saved, and take the part from it"
            )
        if first != name:
            model.get_submodule(name).epitome = None  # type: ignore[assignment]


def _without_values(model: nn.Module) -> list[str]:
    """Return the names of the tensors of epitome layers that transformers has not loaded. It leaves them without values."""
    mark = "_is_hf_initialized"  # older versions of transformers set it on no tensor
    if not any(hasattr(parameter, mark) for parameter in model.parameters()):
        return []
    held = {
        f"{n}.{key}": t
        for n, layer in named_epitome_layers(model)
        for key, t in layer.state_dict(keep_vars=True).items()
    }
    return [
        name
        for name, tensor in held.items()
        if isinstance(tensor, Tensor) and not hasattr(tensor, mark) and "_extra_state" not in name
    ]


def _share_again_(model: nn.Module, records: dict[str, Any]) -> None:
    """Give each layer that reads the epitome of another one this epitome."""
    for name, record in records.items():
        if "reads" in record:
            model.get_submodule(name).epitome = model.get_submodule(record["reads"]).epitome


def _keep_anchors_(model: nn.Module) -> None:
    """Make the anchors of learned starts part of the state dict, because transformers loads only what it lists."""
    for starts in (module for module in model.modules() if isinstance(module, FreeStarts)):
        for axis, offsets in starts.tables():
            assert isinstance(offsets, nn.Parameter)  # they are learned
            starts.hold_(axis, starts.anchor(axis), offsets)


def _state(model: nn.Module, records: dict[str, Any]) -> dict[str, Tensor]:
    """Return the state dict of a network with the anchors of all learned starts, and with every shared epitome once."""
    left_out = {f"{name}.epitome" for name, record in records.items() if "reads" in record}
    tensors = {name: tensor for name, tensor in model.state_dict().items() if name not in left_out}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, FreeStarts):
            held = {
                key: tensor for key, tensor in module.named_buffers(recurse=False) if key.startswith("start_anchors_")
            }
            tensors |= {f"{name}.{key}": tensor.detach() for key, tensor in held.items()}
    seen: set[int] = set()
    for name, layer in named_epitome_layers(model):
        if id(layer) in seen:  # one layer with two names; safetensors stores no shared memory
            own = {key: tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
            tensors |= {key: tensor.detach().clone() for key, tensor in own.items() if isinstance(tensor, Tensor)}
        seen.add(id(layer))
    return tensors


def _loading_difference(model: nn.Module, records: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """Say in what the network that transformers will make differs from a network; empty if in nothing."""
    config = copy.copy(model.config)
    vars(config).pop("quantization_config", None)
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            made = type(model)(config)
            put_epitome_layers_(made, records)
            _leave_out_shared_(made, records)
    except Exception as error:  # noqa: BLE001  whatever stops it here would stop transformers too
        return f"{type(model).__name__} cannot be made from its configuration: {error}"
    classes = [{name: type(module) for name, module in m.named_modules()} for m in (model, made)]
    for name in classes[0].keys() & classes[1].keys():
        here, there = (kinds[name] for kinds in classes)
        if here is not there and not issubclass(here, there):
            return f"{name!r} is a {here.__name__}, and a {there.__name__} in the network it makes"
    _keep_anchors_(made)
    shapes = [
        {name: tuple(t.shape) for name, t in m.items() if "_extra_state" not in name}
        for m in (tensors, made.state_dict())
    ]
    for name in {**shapes[0], **shapes[1]}:
        if shapes[0].get(name) != shapes[1].get(name):
            return f"{name} has shape {shapes[0].get(name)}, and {shapes[1].get(name)} in the network it makes (None: it is missing)"
    return ""
