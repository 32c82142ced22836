"""Do the work of the commands ``nes-lab plan``, ``nes-lab compress`` and ``nes-lab fit``.

- ``plan`` makes a compression plan for a backbone.
- ``compress`` also replaces the layers by epitome layers, and saves the network.
- ``fit`` does the same for a pretrained backbone. It can also search for better starts, and match the outputs of the layers
  on calibration images.

Tests: tests/cli/test_models.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nes_lab.backbones.preprocessing import preprocessing_note
from nes_lab.backbones.registry import named_preprocessing
from nes_lab.cost.count import count
from nes_lab.datasets.registry import load_dataset
from nes_lab.errors import DataError, OptionError, PlanError, check_int
from nes_lab.export.pretrained import save_pretrained
from nes_lab.fitting.fit import fit, plan_or_search
from nes_lab.models.source import DenseSource
from nes_lab.planning.compress import compress
from nes_lab.planning.from_config import plan_from_config
from nes_lab.progress_bar import OnProgress
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.fit_report import FitReport
from nes_lab.records.options import EpitomeInit
from nes_lab.records.preprocessing import Preprocessing
from nes_lab.renamed import renamed_arguments, warn_renamed

if TYPE_CHECKING:
    from nes_lab.config import DataConfig

__all__ = [
    "SavedModel",
    "compress_to_folder",
    "fit_to_folder",
    "plan_backbone",
]


@dataclass(frozen=True)
class SavedModel:
    """A compressed model that was saved in a folder, and its cost.

    Args:
        folder: Folder in which the model was saved, for :func:`nes_lab.from_pretrained`.
        plan: The compression plan of the model.
        params: Number of params, counted in the model.
        madds: Multiply-adds for one input, counted in the model.
        file_bytes: Size of all files in the folder, in bytes.
        fit: Report of :func:`nes_lab.fit`; None: the model was not fitted.
        notes: Sentences about the calibration images: how they were prepared, and where this differs from how the backbone's
            weights were trained.
    """

    folder: Path
    plan: CompressionPlan
    params: int
    madds: int
    file_bytes: int
    fit: FitReport | None = None
    notes: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Return the size of all files in the folder, in bytes. This is the old name of ``file_bytes``."""
        warn_renamed("SavedModel.bytes", "SavedModel.file_bytes")
        return self.file_bytes

    def to_dict(self) -> dict[str, Any]:
        """Return the saved model's fields as plain data for JSON. ``file_bytes`` is also stored under its older name ``bytes``."""
        counts = {"params": self.params, "madds": self.madds, "file_bytes": self.file_bytes, "bytes": self.file_bytes}
        fit_report = None if self.fit is None else self.fit.to_dict()
        return {"folder": str(self.folder), **counts, "plan": self.plan.to_dict(), "fit": fit_report} | {
            "notes": list(self.notes)
        }


def plan_backbone(
    source: DenseSource,
    compression: Any,
    *,
    seconds: float = 60.0,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> CompressionPlan:
    """Plan the compression of a backbone.

    Args:
        source: Description of the dense network.
        compression: The settings, such as the budget: a :class:`~nes_lab.config.CompressionConfig`, or an object with the same
            fields.
        seconds: About how long planning may take if the budget limits the measured time.
        progress: Show a progress bar on standard error.
        on_progress: Function called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each step; None: nothing is called.

    Raises:
        NesLabError: If an option has a wrong value, the budget cannot be met, or the weights cannot be read.

    Examples:
        >>> from nes_lab.config import CompressionConfig  # or any object with its fields
        >>> small = DenseSource("small_mobilenetv2", (1, 8, 8))
        >>> plan = plan_backbone(small, CompressionConfig(madds="75%", round_to=2))
        >>> plan.predicted.madds <= 0.75 * plan.dense.madds
        True
    """
    return plan_from_config(
        source.make(),
        source.example(),
        compression,
        source.seed,
        seconds=seconds,
        progress=progress,
        on_progress=on_progress,
    )


@renamed_arguments(weights="initial_weights")
def compress_to_folder(
    source: DenseSource,
    folder: str | Path,
    *,
    compression: Any = None,
    plan: CompressionPlan | None = None,
    initial_weights: EpitomeInit | None = None,
    overwrite: bool = False,
    seconds: float = 60.0,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> SavedModel:
    """Compress a backbone and save the compressed model in a folder.

    Args:
        source: Description of the dense network.
        folder: Folder to write. It must be new or empty, unless it holds a saved model and ``overwrite`` is True.
        compression: The settings, such as the budget: a :class:`~nes_lab.config.CompressionConfig`, or an object with the same
            fields; None: ``plan`` is used.
        plan: An existing compression plan; None: a plan is made from ``compression``.
        initial_weights: ``"fit"``: fit each epitome to the layer's weight. ``"reset"``: copy into each entry of the epitome one
            of the weight entries that it replaces; this suits training from scratch. None: ``"fit"`` if the source has trained
            weights, otherwise ``"reset"``.
        overwrite: Replace a model that is already saved in the folder.
        seconds: About how long planning may take if the budget limits the measured time.
        progress: Show a progress bar on standard error.
        on_progress: Function called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each step; None: nothing is called.

    Raises:
        NesLabError: If an option, the plan or the weights are wrong, or the budget cannot be met. The folder is not changed then.
    """
    dense = source.make()
    plan = _plan(dense, source, compression, plan, seconds, progress, on_progress)
    chosen = initial_weights or ("fit" if source.has_trained_weights else "reset")
    small = compress(dense, plan, chosen, torch.Generator().manual_seed(source.seed))
    return _save(small, plan, source, folder, overwrite)


@renamed_arguments(starts=plan_or_search)
def fit_to_folder(
    source: DenseSource,
    folder: str | Path,
    *,
    compression: Any = None,
    plan: CompressionPlan | None = None,
    search_starts: bool = False,
    snap: bool | None = None,
    calibration: DataConfig | None = None,
    sequential: bool = False,
    images: int | None = None,
    batch_size: int = 32,
    overwrite: bool = False,
    seconds: float = 60.0,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> SavedModel:
    """Compress a pretrained backbone (a dense network) with :func:`nes_lab.fit`, and save the compressed model in a folder.

    Args:
        source: Description of the dense network, which must have trained weights.
        folder: Folder to write. It must be new or empty, unless it holds a saved model and ``overwrite`` is True.
        compression: The settings, such as the budget: a :class:`~nes_lab.config.CompressionConfig`, or an object with the same
            fields; None: ``plan`` is used.
        plan: An existing compression plan; None: a plan is made from ``compression``.
        search_starts: Also choose the starts (positions in the epitome); False: keep the starts of the plan.
        snap: Round the starts permanently to integers; None: as the plan says.
        calibration: The ``data`` section of a configuration. The training images of this data set are used, without
            augmentation. The fit brings the output of each layer close to the output of the dense layer, and measures the
            batch-norm statistics again. None: no images are used; the fit brings the weight of each layer close to the dense
            weight.
        sequential: Fit layer after layer, each on its inputs in the compressed network. Norms are corrected on the way and are not
            measured again. It needs ``calibration``.
        images: Largest number of calibration images; None: all training images.
        batch_size: Number of calibration images in one forward pass.
        overwrite: Replace a model that is already saved in the folder.
        seconds: About how long planning may take if the budget limits the measured time.
        progress: Show a progress bar on standard error.
        on_progress: Function called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each step; None: nothing is called.

    Raises:
        NesLabError: If an option, the plan, the weights or the data are wrong, or the budget cannot be met. The folder is not
            changed then.
    """
    if not source.has_trained_weights:
        raise OptionError(
            f"backbone {source.name!r} has fresh weights, and fitting to random weights is useless; give checkpoint or "
            "pretrained, or use compress"
        )
    batches, notes = (None, ()) if calibration is None else _batches(calibration, source, batch_size, images)
    dense = source.make()
    plan = _plan(dense, source, compression, plan, seconds, progress, on_progress)
    chosen: dict[str, Any] = {
        "search_starts": search_starts,
        "snap": snap,
        "seed": source.seed,
        "progress": progress,
        "on_progress": on_progress,
    }
    norms = None if sequential else batches
    small, report = fit(dense, plan, calibration=batches, sequential=sequential, norms=norms, **chosen)
    return replace(_save(small, plan, source, folder, overwrite, report), notes=notes)


def _plan(
    dense: nn.Module,
    source: DenseSource,
    compression: Any,
    plan: CompressionPlan | None,
    seconds: float,
    progress: bool,
    on_progress: OnProgress | None,
) -> CompressionPlan:
    if (compression is None) == (plan is None):
        raise PlanError("give either a budget or preset to plan for, or an existing plan")
    if plan is not None:
        return plan
    return plan_from_config(
        dense, source.example(), compression, source.seed, seconds=seconds, progress=progress, on_progress=on_progress
    )


def _save(
    model: nn.Module,
    plan: CompressionPlan,
    source: DenseSource,
    folder: str | Path,
    overwrite: bool,
    report: FitReport | None = None,
) -> SavedModel:
    save_pretrained(model, folder, plan=plan, overwrite=overwrite, verify=False)  # compress or fit has compared them
    size = sum(file.stat().st_size for file in Path(folder).iterdir() if file.is_file())
    cost = count(model, source.example())
    return SavedModel(Path(folder), plan, cost.params, cost.madds, size, report)


def _batches(
    data: DataConfig, source: DenseSource, batch_size: int, images: int | None
) -> tuple[list[Tensor], tuple[str, ...]]:
    """Return the calibration images in batches, and sentences about how they were prepared."""
    check_int("batch_size", batch_size, 1)
    most = None if images is None else -(-check_int("images", images, 1) // batch_size)
    trained = named_preprocessing(source.name)
    dataset = load_dataset(data, seed=source.seed, one_split=True, backbone=trained)
    if dataset.input_shape != source.input_shape:
        raise DataError(
            f"calibration images are {dataset.input_shape}; {source.name!r} is compressed for {source.input_shape}"
        )
    inputs = [inputs for inputs, _ in islice(dataset.train.eval_batches(batch_size), most)]
    return inputs, _about_preparation(trained, dataset.preprocessing)


def _about_preparation(trained: Preprocessing | None, applied: Preprocessing | None) -> tuple[str, ...]:
    if trained is None or applied is None:
        return ()
    if note := preprocessing_note(trained, applied):
        return (f"calibration {note}; preprocess='backbone' prepares them so here",)
    return (f"calibration images are prepared as for the weights, by {trained.source}: {applied}",)
