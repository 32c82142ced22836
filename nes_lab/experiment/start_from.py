"""Prepare a run that starts from a saved network, from another run, or from a network in memory."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from nes_lab.config import BackboneConfig, CompressionConfig, ExperimentConfig
from nes_lab.cost.count import count
from nes_lab.cost.left_as_it_was import left_as_it_was
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import CheckpointError, OptionError, RunError, check_choice
from nes_lab.experiment.initial_network import is_compressed
from nes_lab.experiment.memory import Memory
from nes_lab.experiment.run import Run
from nes_lab.experiment.same_network import network_difference
from nes_lab.experiment.start_outputs import with_outputs_for
from nes_lab.experiment.trained import trained_network
from nes_lab.export.backbone_stamp import stamp_of
from nes_lab.export.plain_attributes import plain_attributes
from nes_lab.export.pretrained import from_pretrained, save_pretrained
from nes_lab.export.rebuild import dense_network
from nes_lab.export.saved_config import CONFIG, WEIGHTS, read_saved_config
from nes_lab.import_spec import origin_of
from nes_lab.records.budget import Budget
from nes_lab.records.counts import QUANTITIES
from nes_lab.runs import layout
from nes_lab.runs.files import sha256_of
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.store import RunStore
from nes_lab.surgery.replace import materialize

__all__ = ["Beginning", "beginning", "open_start"]

MEMORY = "memory:"
"""How ``config.start`` begins for a network that was given in memory."""
_CHECKPOINTS = {
    "last": {},
    "best": {"best": True},
    "averaged": {"averaged": True},
    "best averaged": {"best": True, "averaged": True},
}


@dataclass(frozen=True)
class Beginning:
    """A network from which a run starts, and the configuration that fits it.

    Attributes:
        network: The network, as the run will load it.
        config: The configuration of the run.
        folder: A temporary folder that holds the saved network, to be copied into the run's folder.
        given: ``{"network": name}`` if the saved files alone cannot make the network again; otherwise empty.
        notes: Sentences about what the network decides instead of the configuration.
        difference: In what the network differs from one that is made again by its name; empty if in nothing that is known.
    """

    network: nn.Module
    config: ExperimentConfig
    folder: Path
    given: dict[str, str]
    notes: tuple[str, ...]
    difference: str = ""


@contextmanager
def beginning(
    source: Any,
    config: ExperimentConfig,
    data: DatasetSpec | None,
    store: RunStore,
    *,
    own_loss: bool = False,
    allow_import: bool = False,
) -> Iterator[Beginning]:
    """Open the network from which a run is to start, save it in a temporary folder, and adjust the configuration to it.

    Args:
        source: A network in memory, a run, the path of a saved network, or text as :func:`open_start` reads it.
        config: The configuration that the user wrote.
        data: The data of the run. None: it is not downloaded yet, so the network is not compared with it.
        store: The store of the runs.
        own_loss: Whether the run has a loss of its own, so that the network's outputs need not be classes.
        allow_import: Import the function that a saved network names as its backbone, even if ``config`` does not name it.

    Raises:
        OptionError: If there is no such network, or if it contradicts the configuration or the data.
        CheckpointError: If the network cannot be read, or cannot be saved.
    """
    with tempfile.TemporaryDirectory(prefix="nes-lab-") as place:
        network, name = open_start(source, store, allow_import=allow_import, backbone=config.backbone.name)
        folder = Path(place) / layout.START
        opened = network
        if data is not None and not own_loss:
            network = with_outputs_for(data, network, name, new_head=config.backbone.new_head, seed=config.seed)
        new_head = network is not opened
        network, given, difference = _saved(network, folder, data)
        name = name or f"{MEMORY}{type(network).__name__}-{sha256_of(folder / WEIGHTS)[:8]}"
        fitted, notes = _fitted_config(config, network, name, data, new_head)
        notes = (
            (*notes, f"{difference}; so the run continues only when the network is given again")
            if difference
            else notes
        )
        yield Beginning(network, fitted, folder, given, notes, difference)


def open_start(
    source: Any, store: RunStore, *, allow_import: bool = False, backbone: str = ""
) -> tuple[nn.Module, str]:
    """Open the network that the user named as the start of a run.

    Args:
        source: A network in memory; a run; or text: the path of a folder that :func:`nes_lab.save_pretrained` wrote, the id or
            folder of a run, or these with ``:best`` or ``:averaged`` at the end.
        store: The store in which ids of runs are looked up.
        allow_import: Import the function that a saved network names as its backbone.
        backbone: Name of a function that may be imported in any case, because the user wrote it.

    Returns:
        The network, and the text to record in the run's configuration; empty for a network in memory.

    Raises:
        OptionError: If the text names neither a saved network nor a run.
        RunError: If the run has no such checkpoint.
        CheckpointError: If the files are damaged.

    Examples:
        >>> from nes_lab.runs.store import RunStore
        >>> open_start(nn.Linear(2, 3), RunStore("nowhere"))
        (Linear(in_features=2, out_features=3, bias=True), '')
    """
    if isinstance(source, nn.Module):
        return source, ""
    if isinstance(source, RunHandle):
        return _of_run(source, "last", store)
    if not isinstance(source, str | Path):
        raise OptionError(f"start is a {type(source).__name__}; give a folder, a run or a network")
    text = str(source)
    if text.startswith(MEMORY):
        raise OptionError(f"start={text!r} was a network in memory; give the network again as network=")
    if text.startswith("hf://") or ((Path(text) / CONFIG).is_file() and not (Path(text) / layout.RUN).is_file()):
        try:
            return from_pretrained(text, allow_import=_may_import(text, allow_import, backbone)), _whole(text)
        except CheckpointError as error:
            if "model=" not in str(error):
                raise
            loaded = f"In Python: network = nes_lab.from_pretrained({text!r}, model=...), and give this as network="
            raise CheckpointError(f"start={text!r}: {error}. {loaded}") from error
    name, _, which = text.rpartition(":")
    name, which = (name, which) if which in _CHECKPOINTS else (text, "last")
    try:
        run = _find_run(name, store)
    except RunError as error:
        _check_which(text, store)
        raise OptionError(f"start={text!r} is neither the folder of a saved network nor a run: {error}") from error
    return _of_run(run, which, store)


def _check_which(text: str, store: RunStore) -> None:
    """Raise an error if text names a run and, after a colon, a network that no run has."""
    name, colon, which = text.rpartition(":")
    if not colon:
        return
    try:
        _find_run(name, store)
    except RunError:
        return
    check_choice(f"start={text!r}: the network", which, list(_CHECKPOINTS))


def _whole(text: str) -> str:
    return text if text.startswith("hf://") else str(Path(text).absolute())


def _may_import(text: str, allow_import: bool, backbone: str) -> bool:
    if allow_import or text.startswith("hf://"):
        return allow_import
    return (read_saved_config(text).get("backbone") or {}).get("name") == backbone


def _find_run(name: str, store: RunStore) -> RunHandle:
    if (Path(name) / layout.RUN).is_file():
        folder = Path(name).absolute()
        return RunHandle(RunStore(folder.parent), folder.name)
    return RunHandle(store, store.find_id(name))


def _of_run(run: RunHandle, which: str, store: RunStore) -> tuple[nn.Module, str]:
    memory = run.memory if isinstance(run, Run) else Memory()
    if memory.network is None and (name := run.info.given.get("network")):
        raise OptionError(
            f"start: run {run.id} was created with a network in memory ({name}), which its files alone cannot make again; give it "
            f"to the run first: run = nes_lab.open_run({run.id!r}); run.remember(network=network); then give start=run"
        )
    found = trained_network(run.store, run.id, network=memory.network, **_CHECKPOINTS[which])
    name = run.id if run.store.root == store.root else str(run.folder)
    return found.network, name if which == "last" else f"{name}:{which}"


# ---- a folder that makes the network again ---------------------------------------------------------------------------


def _saved(network: nn.Module, folder: Path, data: DatasetSpec | None) -> tuple[nn.Module, dict[str, str], str]:
    """Save the initial network of a run in a folder, and load it again.

    The folder also says how to make the network, if that is known. :func:`~nes_lab.experiment.build.build` compares it with its plan.

    Returns:
        The loaded network, a dict, and text. The dict is ``{"network": name}`` if the user must give the network again to resume
        the run, because the folder does not say how to make it. Otherwise it is empty. The last value says in what a network
        that was made again differs from this one; it may be empty.
    """
    difference, example = "", None if data is None else data.example_input()
    about = {"attributes": plain_attributes(network)}
    save_pretrained(network, folder, backbone="", metadata=about, overwrite=True, verify=False)
    loaded = from_pretrained(folder, model=network)
    for backbone in _stamps(network, data):
        try:
            with left_as_it_was():  # a function that makes a network draws random numbers
                # the user gave or allowed the function
                dense = dense_network({"backbone": stamp_of(network, backbone)}, allow_import=True)
            found = network_difference(loaded, from_pretrained(folder, model=dense), example)
            if not found:
                save_pretrained(network, folder, backbone=backbone, overwrite=True, verify=False)
                return from_pretrained(folder, allow_import=True), {}, ""
        except CheckpointError:
            continue
        difference = difference or f"{type(network).__name__} has {found}, as {backbone['name']} makes it"
    if (own := getattr(network, "nes_lab_backbone", None)) is not None:
        loaded.nes_lab_backbone = own  # it says what the network was before it was changed
    return loaded, {"network": type(network).__name__}, difference


def _stamps(network: nn.Module, data: DatasetSpec | None) -> Iterator[dict[str, Any]]:
    """Yield dicts that say how to make a network again, in the form of its attribute ``nes_lab_backbone``.

    The dicts that exist are tried in this order:

    - the network's own attribute ``nes_lab_backbone``
    - the same dict, with the number of classes of the data
    - the import path of the network's class, and its arguments
    """
    own = getattr(network, "nes_lab_backbone", None)
    if own is not None:
        yield own
        if data is not None and data.num_classes:
            yield own | {"num_classes": data.num_classes}  # its classifier was replaced
    if (by_class := _class_stamp(network, data)) is not None:
        yield by_class


def _class_stamp(network: nn.Module, data: DatasetSpec | None) -> dict[str, Any] | None:
    """Return the import path and the arguments with which the class of a network can be called again.

    The result has the form of the attribute ``nes_lab_backbone``. It is None if the class cannot be imported.
    """
    kind = type(network)
    spec = f"{kind.__module__}:{kind.__qualname__}"
    found: Any = sys.modules.get(kind.__module__)
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    if kind.__module__ == "__main__" or found is not kind or not origin_of(spec):
        return None
    shapes = {} if data is None else {"num_classes": data.num_classes or None, "in_channels": data.in_channels}
    return {"name": spec, **shapes}


# ---- what the network decides ----------------------------------------------------------------------------------------


def _fitted_config(
    config: ExperimentConfig, network: nn.Module, name: str, data: DatasetSpec | None, new_head: bool
) -> tuple[ExperimentConfig, tuple[str, ...]]:
    """Adjust the configuration of a run to the run's initial network.

    Return the new configuration, and sentences for the user: which settings of the configuration the network overrides.
    """
    backbone, notes = _fitted_backbone(config.backbone, getattr(network, "nes_lab_backbone", None), name)
    backbone = backbone.model_copy(update={"new_head": new_head})
    compression = config.compression
    if compression is not None and is_compressed(network):
        notes.append(_why_kept(compression, network, name, data))
        compression = None
    elif compression is not None and "initial_weights" not in compression.model_fields_set:
        compression = compression.model_copy(
            update={"initial_weights": "fit"}
        )  # "reset" would drop the start's weights
    update = {"start": name, "backbone": backbone, "compression": compression}
    return config.model_copy(update=update), tuple(notes)


def _fitted_backbone(
    backbone: BackboneConfig, stamp: dict[str, Any] | None, name: str
) -> tuple[BackboneConfig, list[str]]:
    values: dict[str, Any] = (
        {key: stamp[key] for key in ("name", "width", "options")} if stamp else {"name": backbone.name}
    )
    fitted = BackboneConfig(**values)
    asked = {key: getattr(backbone, key) for key in backbone.model_fields_set - {"new_head"}}
    lost = [f"backbone.{key}={value!r}" for key, value in asked.items() if value != getattr(fitted, key)]
    if not lost:
        return fitted, []
    verb = "does" if len(lost) == 1 else "do"
    return fitted, [f"the start {name} decides the network and its weights; {', '.join(lost)} {verb} not apply"]


def _why_kept(compression: CompressionConfig, network: nn.Module, name: str, data: DatasetSpec | None) -> str:
    """Return a sentence for the user: the run starts from a compressed network, so no new compression plan is made.

    Raises:
        OptionError: If the network has more params or multiply-adds than the configuration allows.
    """
    asked = {
        key: value
        for key in ("params", "madds", "latency_ms", "stored_bytes", "preset")
        if (value := getattr(compression, key))
    }
    words = ", ".join(f"compression.{key}={value}" for key, value in asked.items())
    limits = {key: asked[key] for key in QUANTITIES if key in asked}
    about = ""
    if data is not None:
        example = data.example_input()
        own, dense = count(network, example), count(materialize(network), example)
        about = f" (params {own.params:,} of {dense.params:,}, madds {own.madds:,} of {dense.madds:,})"
        for key, limit in (Budget(**limits).limits(dense.counts) if limits else {}).items():
            if getattr(own, key) > limit:
                raise OptionError(
                    f"start={name!r} is compressed already, to {key} {getattr(own, key):,}, which is above "
                    f"compression.{key}={asked[key]} ({limit:,.0f}). Leave the compression out to train it as it is "
                    "(--compression none), or start from its dense network"
                )
    return f"the start {name} is compressed already{about} and is trained as it is; {words} makes no new plan"
