"""``nes-lab fit``: compress a pretrained backbone, fit the epitomes to its weights, and save the network in a folder.

Tests: tests/cli/test_models.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nes_lab.cli.compress import print_saved
from nes_lab.cli.json_output import stdout_to_stderr
from nes_lab.cli.options import parse
from nes_lab.cli.plan_flags import SaveFlags, saving_arguments
from nes_lab.config import DataConfig, load_config
from nes_lab.errors import OptionError
from nes_lab.import_spec import is_import_spec
from nes_lab.records.options import Preprocess

__all__ = ["FitCommand", "run_command"]

RENAMED = {"--learnable": "--no-snap", "--starts plan": "--no-search-starts", "--starts search": ""}
"""Flags of older versions, and what they are called now."""


@dataclass(frozen=True, kw_only=True)
class FitCommand(SaveFlags):
    """Compress a pretrained backbone, fit the epitomes as closely as possible to its weights, and save the network in a folder."""

    routing: str = "free"
    """How the starting indices are set. Only free stores starts that can be searched for; with the others the fit is much less close."""
    patch_channels: str | None = "1"
    """Channels sampled in one piece, or a pair such as 16,32. The fit is closest with 1, where similar channels share epitome cells."""
    search_starts: bool = True
    """Keep the starts of the plan; by default better ones are searched for."""
    snap: bool = True
    """Keep the starts learnable, for further training; by default they are fixed at integers, which run faster. A --plan decides it."""
    calibration: str | None = None
    """Images to calibrate the fit and measure batch norms again: a data set, package.module:function, or a folder with train/ or val/."""
    sequential: bool = False
    """Fit layer after layer, each on its inputs in the compressed network; keeps more of the network, and needs --calibration."""
    images: int = 256
    """Largest number of calibration images."""
    preprocess: Preprocess | None = None
    """How calibration images are prepared: as for the backbone's weights (the default where it is known), or as for training (data)."""
    batch_size: int = 32
    """Number of calibration images in one forward pass."""


def run_command(words: Sequence[str]) -> int:
    """Compress the backbone that the command line names, fit the epitomes to its weights, and save the network in a folder."""
    options = parse(FitCommand, "fit", words, renamed=RENAMED)
    arguments = saving_arguments(options)
    arguments["progress"] = True
    with stdout_to_stderr():
        data = None if options.calibration is None else _data_config(options, options.calibration)
        from nes_lab.models.jobs import fit_to_folder

        saved = fit_to_folder(
            **arguments,
            search_starts=options.search_starts,
            snap=None if options.snap else False,
            calibration=data,
            sequential=options.sequential,
            images=options.images,
            batch_size=options.batch_size,
        )
    print_saved(options, saved)
    return 0


def _data_config(options: FitCommand, calibration: str) -> DataConfig:
    """Return the configuration of the data set with the calibration images.

    Calibration images are the images on which the compressed network is fitted to the dense one.

    Args:
        options: The flags of ``nes-lab fit``.
        calibration: Name of a data set, a function of the user's own as ``package.module:function``, or path of a folder with
            ``train/`` or ``val/``.

    Raises:
        OptionError: If the network's input is not square.
    """
    if is_import_spec(calibration) and not Path(calibration).is_dir():
        return load_config({"data": {"name": calibration}}).data
    preprocess = options.preprocess or _known_preprocess(options)
    data = {"image_size": options.input[-1], "limit": options.images, "preprocess": preprocess}
    if options.input[-1] != options.input[-2]:
        shape = " ".join(map(str, options.input))
        raise OptionError(f"--input {shape}: calibration needs square images; give equal height and width")
    if Path(calibration).is_dir():
        data |= {"name": "image_folder", "root": calibration}
    else:
        data |= {"name": calibration}
    return load_config({"data": data}).data


def _known_preprocess(options: FitCommand) -> Preprocess:
    """Return ``backbone`` if it is known how images of these channels were prepared for the backbone; otherwise ``data``."""
    from nes_lab.backbones.registry import named_preprocessing

    known = named_preprocessing(options.backbone)
    return "backbone" if known is not None and len(known.mean) == options.input[0] else "data"
