"""Store a run's initial network in the folder ``start/`` of the run, if it is not a new backbone.

The folder is one that :func:`nes_lab.save_pretrained` wrote. It lets the run start and resume without any file outside its own
folder.

Tests: tests/experiment/test_start_from.py.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from nes_lab.config import ExperimentConfig
from nes_lab.cost.probe import in_mode
from nes_lab.errors import RunError
from nes_lab.export.pretrained import from_pretrained
from nes_lab.export.saved_config import read_saved_config
from nes_lab.nn.inspect import epitome_layers
from nes_lab.runs import layout
from nes_lab.runs.info import RunInfo

__all__ = ["is_compressed", "load_initial"]


def is_compressed(network: nn.Module) -> bool:
    """Return True if a network has an epitome layer.

    Examples:
        >>> is_compressed(nn.Linear(2, 3))
        False
    """
    return any(True for _ in epitome_layers(network))


def load_initial(
    folder: Path, info: RunInfo, config: ExperimentConfig, network: nn.Module | None = None
) -> nn.Module | None:
    """Load the initial network of a run, bit for bit.

    Args:
        folder: Folder of the run.
        info: The run.
        config: Configuration of the run.
        network: A network with the same layers, if the run's files cannot make one; it does not change. None: they can.

    Returns:
        The network, or None if the run starts from a new backbone.

    Raises:
        RunError: If the run was created with a network in memory, and ``network`` is None.
        CheckpointError: If the files are damaged, or ``network`` has other layers.
    """
    place = folder / layout.START
    if not place.is_dir():
        if config.start is not None:
            raise RunError(f"run {info.id} should start from {config.start}, but its folder {layout.START}/ is missing")
        return None
    if "network" in info.given and network is None:
        raise RunError(
            f"run {info.id} was created with a network in memory ({info.given['network']}), which its files alone cannot make "
            f"again; give the network again as network=, as in nes_lab.train(resume={info.id!r}, network=net)"
        )
    stamp = read_saved_config(place).get("backbone") or {}
    # imports_of_run has checked that this run may import what its configuration names
    allow_import = stamp.get("name") == config.backbone.name
    return in_mode(from_pretrained(place, model=network, allow_import=allow_import), training=True)
