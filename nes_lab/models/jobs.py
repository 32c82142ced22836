"""Jobs from a backbone's name to a folder: what ``nes-lab plan``, ``compress`` and ``fit`` call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nes_lab.cost.count import count
from nes_lab.datasets.registry import load_dataset
from nes_lab.errors import DataError, OptionError, PlanError
from nes_lab.export.pretrained import save_pretrained
from nes_lab.fitting.fit import fit, plan_or_search
from nes_lab.models.source import DenseSource
from nes_lab.planning.from_config import plan_as_wanted
from nes_lab.progress_bar import OnProgress
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.fit_report import FitReport
from nes_lab.renamed import renamed_arguments
from nes_lab.surgery.replace import compress

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
    """What a job left in a folder.

    Args:
        folder: Where :func:`nes_lab.from_pretrained` reads it.
        plan: How it was compressed.
        params: Stored numbers, counted.
        madds: Multiply-adds of one input, counted.
        bytes: Size of the folder's files.
        fit: What the fit found; None where nothing was fitted by :func:`nes_lab.fit`.
    """

    folder: Path
    plan: CompressionPlan
    params: int
    madds: int
    bytes: int
    fit: FitReport | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        numbers = {"params": self.params, "madds": self.madds, "bytes": self.bytes}
        fitted = None if self.fit is None else self.fit.to_dict()
        return {"folder": str(self.folder), **numbers, "plan": self.plan.to_dict(), "fit": fitted}


def plan_backbone(
    source: DenseSource,
    wanted: Any,
    *,
    seconds: float = 60.0,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> CompressionPlan:
    """Plan the compression of a backbone.

    Args:
        source: The dense network.
        wanted: What to plan for, as :func:`nes_lab.planning.from_config.plan_as_wanted` takes it.
        seconds: About how long a search for a limit on time may take.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each piece of work; None: nobody is.

    Raises:
        NesLabError: If an option, the budget or the weights are wrong.

    Examples:
        >>> from nes_lab.config import CompressionConfig  # any object with its fields serves
        >>> small = DenseSource("small_mobilenetv2", (1, 8, 8))
        >>> plan = plan_backbone(small, CompressionConfig(madds="75%", round_to=2))
        >>> plan.predicted.madds <= 0.75 * plan.dense.madds
        True
    """
    return plan_as_wanted(
        source.make(),
        source.example(),
        wanted,
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
    wanted: Any = None,
    plan: CompressionPlan | None = None,
    initial_weights: str | None = None,
    overwrite: bool = False,
    seconds: float = 60.0,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> SavedModel:
    """Compress a backbone and save it.

    Args:
        source: The dense network.
        folder: Must not exist, or hold a saved model and ``overwrite`` be true.
        wanted: What to plan for, as :func:`nes_lab.planning.from_config.plan_as_wanted` takes it.
        plan: A plan made before, instead.
        initial_weights: ``"fit"`` or ``"reset"``, as :func:`nes_lab.compress` takes it; None: fit where there is something to fit to.
        overwrite: Replace a saved model.
        seconds: As in :func:`plan_backbone`.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each piece of work; None: nobody is.

    Raises:
        NesLabError: If an option, the budget, the plan or the weights are wrong; nothing is written then.
    """
    dense = source.make()
    plan = _plan(dense, source, wanted, plan, seconds, progress, on_progress)
    chosen = initial_weights or ("fit" if source.taught else "reset")
    small = compress(dense, plan, weights=chosen, generator=torch.Generator().manual_seed(source.seed))
    return _save(small, plan, source, folder, overwrite)


@renamed_arguments(starts=plan_or_search)
def fit_to_folder(
    source: DenseSource,
    folder: str | Path,
    *,
    wanted: Any = None,
    plan: CompressionPlan | None = None,
    search_starts: bool = False,
    snap: bool = False,
    calibration: DataConfig | None = None,
    batch_size: int = 32,
    overwrite: bool = False,
    seconds: float = 60.0,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> SavedModel:
    """Compress a pretrained backbone by :func:`nes_lab.fit`, and save it.

    Args:
        source: The dense network, with weights worth fitting to.
        folder: As in :func:`compress_to_folder`.
        wanted: Likewise.
        plan: Likewise.
        search_starts: Choose the starts too, as :func:`nes_lab.fit` does.
        snap: Round the starts found to integers for good.
        calibration: The data section of a config: its training images, without augmentation, serve to minimize the error of each
            layer's output and to measure the batch norms anew. None: the weights alone decide.
        batch_size: Images in one forward.
        overwrite: Replace a saved model.
        seconds: As in :func:`plan_backbone`.
        progress: Show a bar on standard error.
        on_progress: Called with a :class:`~nes_lab.progress_bar.ProgressEvent` at each piece of work; None: nobody is.

    Raises:
        NesLabError: If an option, the budget, the plan, the weights or the data are wrong; nothing is written then.
    """
    if not source.taught:
        raise OptionError(
            f"backbone {source.name!r} would have fresh weights, to which nothing need be fitted; "
            "give a checkpoint or pretrained, or use compress"
        )
    batches = None if calibration is None else _batches(calibration, source, batch_size)
    dense = source.make()
    plan = _plan(dense, source, wanted, plan, seconds, progress, on_progress)
    chosen: dict[str, Any] = {
        "search_starts": search_starts,
        "snap": snap,
        "seed": source.seed,
        "progress": progress,
        "on_progress": on_progress,
    }
    small, report = fit(dense, plan, calibration=batches, norms=batches, **chosen)
    return _save(small, plan, source, folder, overwrite, report)


def _plan(
    dense: nn.Module,
    source: DenseSource,
    wanted: Any,
    plan: CompressionPlan | None,
    seconds: float,
    progress: bool,
    on_progress: OnProgress | None,
) -> CompressionPlan:
    if (wanted is None) == (plan is None):
        raise PlanError("give a budget or preset to plan for, or a plan made before: one of the two")
    if plan is not None:
        return plan
    return plan_as_wanted(
        dense, source.example(), wanted, source.seed, seconds=seconds, progress=progress, on_progress=on_progress
    )


def _save(
    model: nn.Module,
    plan: CompressionPlan,
    source: DenseSource,
    folder: str | Path,
    overwrite: bool,
    report: FitReport | None = None,
) -> SavedModel:
    save_pretrained(model, folder, plan=plan, overwrite=overwrite)
    size = sum(file.stat().st_size for file in Path(folder).iterdir() if file.is_file())
    cost = count(model, source.example())
    return SavedModel(Path(folder), plan, cost.params, cost.madds, size, report)


def _batches(data: DataConfig, source: DenseSource, batch_size: int) -> list[Tensor]:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise OptionError(f"batch_size={batch_size!r}; give a whole number of at least 1")
    found = load_dataset(data, seed=source.seed)
    if found.input_shape != source.input_shape:
        raise DataError(
            f"calibration images are {found.input_shape}; {source.name!r} is compressed for {source.input_shape}"
        )
    return [images for images, _ in found.train.eval_batches(batch_size)]
