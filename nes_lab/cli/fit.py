"""``nes-lab fit``: epitomes fitted to a pretrained network as near as they can, as a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from nes_lab.cli.compress import show_saved
from nes_lab.cli.json_output import print_json, stdout_to_stderr
from nes_lab.cli.options import parse
from nes_lab.cli.plan_flags import PlanFlags, compression_config, dense_source, read_plan, search_options
from nes_lab.config import DataConfig, load_config
from nes_lab.errors import OptionError

__all__ = ["run_command"]

RENAMED = {"--starts plan": "--no-search-starts", "--starts search": ""}
"""Flags of older versions, and what they are called now."""


@dataclass(frozen=True, kw_only=True)
class FitCommand(PlanFlags):
    """Compress a pretrained backbone so that its epitomes come as near to its weights as they can, and save it."""

    folder: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER")]]
    """Where to save it; must not exist yet."""
    plan: Path | None = None
    """A plan that nes-lab plan --output wrote, instead of a budget."""
    routing: str = "free"
    """Who sets the starting indices. Only free stores starts that can be searched for; rules come far less near."""
    patch_channels: int | None = 1
    """Channels sampled in one piece. One comes nearest: rows and columns are then clustered."""
    search_starts: bool = True
    """Keep the starts of the plan; by default better ones are searched for."""
    learnable: bool = False
    """Keep the starts learnable, for training that goes on; by default they become integers for good, which run faster."""
    calibration: str | None = None
    """Images to calibrate on and to measure batch norms on: digits, cifar10, fashion_mnist, or a folder with train/ and val/."""
    images: int = 256
    """At most this many of them."""
    batch_size: int = 32
    """Images in one forward."""
    overwrite: bool = False
    """Replace a saved model."""
    json: bool = False
    """Print one JSON value to standard output; all else goes to standard error."""


def run_command(words: Sequence[str]) -> int:
    """Fit and save."""
    options = parse(FitCommand, "fit", words, renamed=RENAMED)
    plan = None if options.plan is None else read_plan(options.plan, options)
    wanted, dense = None if plan else compression_config(options), dense_source(options)
    chosen: dict[str, Any] = {
        "search_starts": options.search_starts,
        "snap": not options.learnable,
        "overwrite": options.overwrite,
    }
    chosen |= search_options(options) | {"progress": True}
    data = None if options.calibration is None else _data(options, options.calibration)
    with stdout_to_stderr():
        from nes_lab.models.jobs import fit_to_folder

        saved = fit_to_folder(
            dense, options.folder, wanted=wanted, plan=plan, calibration=data, batch_size=options.batch_size, **chosen
        )
    if options.json:
        print_json(saved.to_dict())
    else:
        print(saved.fit)
        show_saved(saved)
    return 0


def _data(options: FitCommand, calibration: str) -> DataConfig:
    """The data section that a name or a folder amounts to."""
    own = {"image_size": options.input[-1], "limit": options.images}
    if options.input[-1] != options.input[-2]:
        raise OptionError(f"--input {' '.join(map(str, options.input))}: calibration images are square")
    if Path(calibration).is_dir():
        own |= {"name": "image_folder", "root": calibration}
    else:
        own |= {"name": calibration}
    return load_config({"data": own}).data
