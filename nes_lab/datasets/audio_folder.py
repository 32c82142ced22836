"""Sounds in ESC-50's layout, held in memory: ``audio/*.wav`` and ``meta/*.csv`` with folds and classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nes_lab.datasets.audio_table import Clip, read_audio_table
from nes_lab.datasets.sampling import (
    Shard,
    batch_indices,
    check_shard,
    epoch_order,
    keyed_generator,
    limit_notes,
    share_of,
    stratified_subset,
)
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.datasets.wav import read_wav
from nes_lab.errors import DataError, OptionError
from nes_lab.text import list_some

__all__ = ["MOST_BYTES", "ClipSplit", "load_audio_folder", "random_gain", "random_delay"]

MOST_BYTES = 4 << 30
"""Clips are held in memory as int16; a set beyond this is refused."""
_DELAY_SHARE = 0.1
_GAIN_DB = 6.0


def random_delay(clips: Tensor, generator: torch.Generator, most: int) -> Tensor:
    """Move every clip by up to ``most`` samples in time, filling with zeros.

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


def random_gain(clips: Tensor, generator: torch.Generator, decibels: float = _GAIN_DB) -> Tensor:
    """Make every clip louder or quieter by up to so many decibels.

    Examples:
        >>> quiet = random_gain(torch.ones(1, 1, 4), torch.Generator().manual_seed(0), decibels=0.0)
        >>> quiet.flatten().tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    change = torch.rand(len(clips), 1, 1, generator=generator).mul(2).sub(1).mul(decibels)
    return clips * 10 ** (change / 20)


@dataclass
class ClipSplit:
    """Sounds in memory, each scaled to mean 0 and deviation 1 when it is served (silence stays 0).

    Args:
        clips: ``(N, T)``, int16.
        labels: ``(N,)``, int64.
        moved: Whether training moves clips in time and changes their loudness.

    Examples:
        >>> split = ClipSplit(torch.randint(-9, 9, (4, 32), dtype=torch.int16), torch.arange(4))
        >>> next(split.train_batches(2, seed=0, epoch=0))[0].shape
        torch.Size([2, 1, 32])
    """

    clips: Tensor
    labels: Tensor
    moved: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    @staticmethod
    def _scaled(clips: Tensor) -> Tensor:
        values = clips.to(torch.float32)
        values = values - values.mean(-1, keepdim=True)
        deviation = values.square().mean(-1, keepdim=True).sqrt()
        return (values / deviation.clamp(min=1e-3))[:, None]  # int16: what sounds at all deviates by more

    def train_batches(
        self, batch_size: int, seed: int, epoch: int, start: int = 0, shard: Shard = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield shuffled, augmented batches of one epoch, from batch number ``start`` on; see :class:`Split`."""
        batches = batch_indices(epoch_order(len(self), seed, epoch), batch_size, drop_last=True)
        for position in range(start, len(batches)):
            clips = self._scaled(self.clips[batches[position]])
            if self.moved:
                generator = keyed_generator(seed, epoch, 2 + position)
                clips = random_gain(
                    random_delay(clips, generator, int(_DELAY_SHARE * clips.shape[-1])), generator, _GAIN_DB
                )
            yield share_of(clips, shard), self.labels[share_of(batches[position], shard)]

    def eval_batches(self, batch_size: int, shard: Shard = (0, 1)) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every clip once, in order, without augmentation; process ``rank`` every ``world``-th batch."""
        rank, world = check_shard(shard)
        pairs = zip(self.clips.split(batch_size), self.labels.split(batch_size), strict=True)
        for clips, labels in islice(pairs, rank, None, world):
            yield self._scaled(clips), labels


def load_audio_folder(
    *,
    root: Path | None,
    samples: int | None = None,
    val_fold: int = 5,
    augment: str = "standard",
    limit: int | None = None,
    seed: int = 0,
) -> DatasetSpec:
    """Load sounds in ESC-50's layout: mono, of one sampling rate, cut or padded with zeros to one length.

    ``standard`` augmentation moves a clip by up to a tenth of its length and changes its loudness by up to 6 dB.

    Args:
        root: The folder that holds ``audio`` and ``meta``.
        samples: Length of a clip; longer ones are cut at the end, shorter ones padded. None takes the longest.
        val_fold: The fold that validates; the others train.
        augment: ``standard`` or ``none``.
        limit: At most this many training clips, every class in proportion.
        seed: Decides which clips a limit keeps.

    Raises:
        DataError: Naming what is missing, unreadable, empty or of another sampling rate.
        OptionError: If ``augment`` names a policy for images.
    """
    if augment not in ("standard", "none"):
        raise OptionError(f"data.augment={augment!r} is a policy for images; for audio give standard or none")
    if root is None:
        raise DataError("data.name='audio_folder' needs data.root: a folder that holds audio/*.wav and meta/*.csv")
    table = read_audio_table(Path(root))
    train, val = table.split(val_fold)
    labels = torch.tensor(table.labels(train))
    limited: tuple[str, ...] = ()
    if limit is not None and limit < len(train):
        chosen = stratified_subset(labels, limit, seed)
        limited = limit_notes(limit, len(train), labels[chosen], len(table.classes), "training clips")
        train, labels = tuple(train[index] for index in chosen.tolist()), labels[chosen]
    rate, waves = _read_all((*train, *val))
    length = samples or max(map(len, waves))
    clips = torch.from_numpy(_even(waves, length))
    notes = (f"{rate:,} samples a second; fold {val_fold} of {', '.join(map(str, table.folds))} validates",)
    return DatasetSpec(
        name="audio_folder",
        classes=table.classes,
        image_size=0,
        in_channels=1,
        train=ClipSplit(clips[: len(train)], labels, moved=augment == "standard"),
        val=ClipSplit(clips[len(train) :], torch.tensor(table.labels(val))),
        mean=(0.0,),
        std=(1.0,),
        notes=notes + limited,
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
        if total > MOST_BYTES:
            raise DataError(
                f"more than {MOST_BYTES >> 30} GB of sound, which is held in memory; resample it, or use fewer clips"
            )
    if len(rates) > 1:
        usual = max(rates, key=lambda rate: len(rates[rate]))
        odd = [f"{name} ({rate:,})" for rate, names in rates.items() if rate != usual for name in names]
        raise DataError(
            f"most clips have {usual:,} samples a second, but {len(odd)} differ: {list_some(odd)}; resample them"
        )
    return next(iter(rates)), waves


def _even(waves: Sequence[np.ndarray], length: int) -> np.ndarray:
    """Cut or pad every clip to one length."""
    if len(waves) * length * 2 > MOST_BYTES:
        raise DataError(
            f"{len(waves)} clips of {length:,} samples are more than {MOST_BYTES >> 30} GB; give a smaller data.samples"
        )
    clips = np.zeros((len(waves), length), dtype=np.int16)
    for row, wave in zip(clips, waves, strict=True):
        row[: len(wave)] = wave[:length]
    return clips
