"""Load the data set ``audio_folder``: sounds in the layout of ESC-50 (a public data set of environmental sounds).

The sounds are the files ``audio/*.wav``. A table, ``meta/*.csv``, has the class and the cross-validation fold of each sound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nes_lab.datasets.audio_table import AudioTable, Clip, read_audio_table
from nes_lab.datasets.check.listing import SPLITS, DatasetFiles, SplitFiles, collect_error
from nes_lab.datasets.contents import hash_tensors
from nes_lab.datasets.sampling import (
    Shard,
    batch_indices,
    check_shard,
    epoch_order,
    hold_out,
    keyed_generator,
    limit_examples,
    share_of,
)
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.datasets.tree_dataset import required_root
from nes_lab.datasets.wav import read_wav
from nes_lab.errors import DataError, OptionError
from nes_lab.records.options import ClassOrder
from nes_lab.text import list_some

__all__ = ["MAX_BYTES", "ClipSplit", "list_audio_folder", "load_audio_folder", "random_delay", "random_gain"]

MAX_BYTES = 4 << 30
"""Largest size of a data set of sounds in memory, as int16 samples; a larger data set is an error."""
MAX_DELAY = 0.1
"""Training shifts a clip in time by up to this share of its length."""
MAX_GAIN_DB = 6.0
"""Training makes a clip louder or quieter by up to this many decibels."""


def random_delay(clips: Tensor, generator: torch.Generator, most: int) -> Tensor:
    """Shift every clip in time at random, by no more samples than the number ``most``. Zeros fill the gap.

    Shape:
        - clips ``(N, 1, T)``, any dtype; the result has the same shape and dtype

    Examples:
        >>> random_delay(torch.ones(2, 1, 8), torch.Generator().manual_seed(0), 2).shape
        torch.Size([2, 1, 8])
    """
    length = clips.shape[-1]
    moves = torch.randint(-most, most + 1, (len(clips), 1, 1), generator=generator)
    source = torch.arange(length) - moves
    inside = (source >= 0) & (source < length)
    return clips.gather(-1, source.clamp(0, length - 1)).mul(inside)


def random_gain(clips: Tensor, generator: torch.Generator, decibels: float = MAX_GAIN_DB) -> Tensor:
    """Make every clip louder or quieter by a random amount of at most ``decibels``.

    Examples:
        >>> quiet = random_gain(torch.ones(1, 1, 4), torch.Generator().manual_seed(0), decibels=0.0)
        >>> quiet.flatten().tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    change = torch.rand(len(clips), 1, 1, generator=generator).mul(2).sub(1).mul(decibels)
    return clips * 10 ** (change / 20)


@dataclass
class ClipSplit:
    """A training or validation split of sounds in memory.

    In a batch, each clip is scaled to mean 0 and standard deviation 1. A silent clip stays 0.

    Args:
        clips: Clips ``(N, T)``, int16.
        labels: Labels ``(N,)``, int64.
        augment: Whether clips are shifted in time and made louder or quieter at random in training.

    Examples:
        >>> split = ClipSplit(torch.randint(-9, 9, (4, 32), dtype=torch.int16), torch.arange(4))
        >>> next(split.train_batches(2, seed=0, epoch=0))[0].shape
        torch.Size([2, 1, 32])
    """

    clips: Tensor
    labels: Tensor
    augment: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def contents(self) -> str:
        """Return a hash of the samples of the clips, because sound files of equal length have equal sizes."""
        return hash_tensors(self.clips)

    @staticmethod
    def _scaled(clips: Tensor) -> Tensor:
        values = clips.to(torch.float32)
        values = values - values.mean(-1, keepdim=True)
        deviation = values.square().mean(-1, keepdim=True).sqrt()
        return (values / deviation.clamp(min=1e-3))[:, None]  # any int16 clip that is not silent has a larger deviation

    def train_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0, shard: Shard = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the training batches ``(clips, labels)`` of one epoch, shuffled and augmented, from batch number ``start`` on.

        ``shard=(rank, world)`` divides each batch among ``world`` processes. Process number ``rank`` gets
        ``batch[rank::world]``.
        """
        batches = batch_indices(epoch_order(len(self), seed, epoch), batch_size, drop_last=True)
        for position in range(start, len(batches)):
            clips = self._scaled(self.clips[batches[position]])
            if self.augment:
                generator = keyed_generator(seed, epoch, 2 + position)
                clips = random_delay(clips, generator, int(MAX_DELAY * clips.shape[-1]))
                clips = random_gain(clips, generator)
            yield share_of(clips, shard), self.labels[share_of(batches[position], shard)]

    def eval_batches(self, batch_size: int, shard: Shard = (0, 1)) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all clips in batches ``(clips, labels)``: each clip once, in order, without augmentation.

        ``shard=(rank, world)`` divides the batches among ``world`` processes. Process number ``rank`` gets the batches
        number ``rank``, ``rank + world`` and so on.
        """
        rank, world = check_shard(shard)
        pairs = zip(self.clips.split(batch_size), self.labels.split(batch_size), strict=True)
        for clips, labels in islice(pairs, rank, None, world):
            yield self._scaled(clips), labels


def list_audio_folder(root: Path, val_fold: int) -> DatasetFiles:
    """List the sound files named in the table ``root/meta/*.csv``, and collect what is wrong with the table.

    Args:
        root: Folder that holds ``audio`` and ``meta``.
        val_fold: Number of the fold used for validation; the other folds are used for training.
    """
    problems: list[str] = []
    table = collect_error(problems, read_audio_table, root)
    if table is None:
        return DatasetFiles("audio_folder", root, "audio", problems=tuple(problems))
    collect_error(problems, table.split, val_fold)
    splits = {split: _clips_of_split(table, split, val_fold) for split in SPLITS}
    notes = (f"folds {', '.join(map(str, table.folds))}; fold {val_fold} is shown as val",)
    return DatasetFiles("audio_folder", root, "audio", table.classes, splits, tuple(problems), notes)


def _clips_of_split(table: AudioTable, split: str, val_fold: int) -> SplitFiles:
    clips = tuple(clip for clip in table.clips if (clip.fold == val_fold) == (split == "val"))
    return SplitFiles([clip.path for clip in clips], table.labels(clips))


def load_audio_folder(
    *,
    root: Path | None,
    samples: int | None = None,
    val_fold: int = 5,
    augment: str = "standard",
    limit: int | None = None,
    holdout: int | None = None,
    class_order: ClassOrder | Path = "own",
    seed: int = 0,
) -> DatasetSpec:
    """Load a data set of sounds in the layout of ESC-50: sounds ``audio/*.wav`` and a table ``meta/*.csv``.

    Clips become mono and are cut or padded with zeros to one length. The ``standard`` augmentation shifts a clip by up to
    a tenth of its length and changes its loudness by up to 6 dB.

    Args:
        root: Folder that holds ``audio`` and ``meta``.
        samples: Samples per clip. Longer clips are cut at the end, and shorter ones padded. None means the length of the
            longest clip.
        val_fold: Number of the fold used for validation; the other folds are used for training.
        augment: ``standard`` or ``none``.
        limit: Keep at most this many training clips, each class in proportion to its size; None keeps all.
        holdout: Number of training clips that are held out and used for validation instead of the fold; None: the fold is used.
        class_order: Order of the classes: ``own`` (their numbers in the table), ``text``, ``natural``, or the path of a file with
            one class name per line.
        seed: Seed for choosing the clips that ``limit`` keeps.

    Raises:
        DataError: If a file is missing, unreadable or empty, or if clips have different sampling rates. The message names
            the files.
        OptionError: If ``augment`` is neither ``standard`` nor ``none``.
    """
    if augment not in ("standard", "none"):
        raise OptionError(f"data.augment={augment!r} is a policy for images; for audio give standard or none")
    table = read_audio_table(required_root("audio_folder", root)).in_order(class_order)
    train, val = table.split(val_fold)
    labels = torch.tensor(table.labels(train))
    rest, held, held_notes = hold_out(labels, holdout, len(table.classes), "training clips")
    if held is not None:
        val = tuple(train[index] for index in held.tolist())
    train, labels = [train[index] for index in torch.arange(len(train))[rest].tolist()], labels[rest]
    kept, limit_notes = limit_examples(labels, limit, seed, len(table.classes), "training clips")
    labels = labels[kept]
    train = [train[index] for index in torch.arange(len(train))[kept].tolist()]
    rate, waves = _read_all((*train, *val))
    length = samples or max(map(len, waves))
    clips = torch.from_numpy(_to_length(waves, length))
    notes = (
        f"{rate:,} samples per second; fold {val_fold} of {', '.join(map(str, table.folds))} is used for validation",
    )
    return DatasetSpec(
        name="audio_folder",
        classes=table.classes,
        image_size=0,
        in_channels=1,
        train=ClipSplit(clips[: len(train)], labels, augment=augment == "standard"),
        val=ClipSplit(clips[len(train) :], torch.tensor(table.labels(val))),
        mean=(0.0,),
        std=(1.0,),
        notes=notes + held_notes + limit_notes,
        length=length,
    )


def _read_all(clips: Sequence[Clip]) -> tuple[int, list[np.ndarray]]:
    rates: dict[int, list[str]] = {}
    waves, total = [], 0
    for clip in clips:
        rate, wave = read_wav(clip.path)
        rates.setdefault(rate, []).append(clip.path.name)
        waves.append(wave)
        total += wave.nbytes
        if total > MAX_BYTES:
            raise DataError(
                f"the clips are more than {MAX_BYTES >> 30} GB, and must fit in memory; resample them, or use fewer clips"
            )
    if len(rates) > 1:
        usual = max(rates, key=lambda rate: len(rates[rate]))
        odd = [f"{name} ({rate:,})" for rate, names in rates.items() if rate != usual for name in names]
        raise DataError(
            f"most clips have {usual:,} samples per second, but {len(odd)} differ: {list_some(odd)}; resample them"
        )
    return next(iter(rates)), waves


def _to_length(waves: Sequence[np.ndarray], length: int) -> np.ndarray:
    """Cut or pad every clip to ``length`` samples, and return all clips as one int16 array ``(clips, length)``."""
    if len(waves) * length * 2 > MAX_BYTES:
        raise DataError(
            f"{len(waves)} clips of {length:,} samples are more than {MAX_BYTES >> 30} GB; give a smaller data.samples"
        )
    clips = np.zeros((len(waves), length), dtype=np.int16)
    for row, wave in zip(clips, waves, strict=True):
        row[: len(wave)] = wave[:length]
    return clips
