"""Sounds in ESC-50's layout: folds, lengths, formats, augmentation; what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from nes_lab.config import DataConfig
from nes_lab.datasets.audio_folder import load_audio_folder, random_delay, random_gain
from nes_lab.datasets.registry import load_dataset
from nes_lab.errors import DataError, OptionError
from tests.datasets.samples import batches, make_sounds, same, write_table


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return make_sounds(tmp_path / "sounds")


def load(root: Path, **options):
    return load_dataset(DataConfig(name="audio_folder", root=root, **{"val_fold": 3, **options}))


def test_load_audio_folder_serves_scaled_clips(sounds: Path) -> None:
    spec = load(sounds)
    assert spec.classes == ("dog", "rain")
    assert (spec.kind, spec.length, spec.input_shape) == ("audio", 1200, (1, 1200))
    assert (len(spec.train), len(spec.val)) == (8, 4)
    clips, labels = next(spec.val.eval_batches(4))
    assert labels.tolist() == [0, 0, 1, 1]
    assert clips.shape == (4, 1, 1200)
    assert clips.mean(-1).abs().max() < 1e-5
    assert (clips.std(-1, correction=0) - 1).abs().max() < 1e-5
    assert "8,000 samples per second; fold 3 of 1, 2, 3 is used for validation" in spec.notes


def test_load_audio_folder_validates_on_each_fold_once(sounds: Path) -> None:
    seen = torch.cat([load(sounds, val_fold=fold).val.clips for fold in (1, 2, 3)])
    assert len(seen.unique(dim=0)) == 12


def test_load_audio_folder_cuts_or_pads_clips(sounds: Path) -> None:
    short, long = load(sounds, samples=100), load(sounds, samples=2000)
    assert short.input_shape == (1, 100)
    assert long.train.clips[:, :100].equal(short.train.clips)
    assert long.train.clips[:, 1200:].abs().max() == 0


@pytest.mark.parametrize("augment", ["standard", "none"])
def test_clip_split_batches_resume_and_shard(sounds: Path, augment: str) -> None:
    train = load(sounds, augment=augment).train
    before = torch.get_rng_state()
    complete = batches(train, size=3)
    assert torch.get_rng_state().equal(before)
    assert same(complete[1:], batches(train, size=3, start=1))
    for rank in (0, 1):
        assert same(batches(train, size=3, shard=(rank, 2)), [(x[rank::2], y[rank::2]) for x, y in complete])
    plain = {tuple(clip.flatten().tolist()) for clip, _ in train.eval_batches(1)}
    kept = [tuple(clip.flatten().tolist()) in plain for clips, _ in complete for clip in clips]
    assert all(kept) if augment == "none" else not any(kept)


def test_random_delay_and_random_gain_stay_in_range() -> None:
    clip = torch.zeros(200, 1, 9)
    clip[:, 0, 4] = 1
    moved = random_delay(clip, torch.Generator().manual_seed(0), 4)
    assert moved.sum((1, 2)).eq(1).all()
    assert set(moved[:, 0].nonzero()[:, 1].tolist()) == set(range(9))
    louder = random_gain(torch.ones(500, 1, 1), torch.Generator().manual_seed(0), 6.0)
    assert 10**-0.3 <= louder.min() < 0.52
    assert 1.9 < louder.max() <= 10**0.3


def test_clip_split_keeps_silence_silent(sounds: Path) -> None:
    wavfile.write(sounds / "audio" / "3-dog-0.wav", 8000, np.zeros(1200, np.int16))
    clips, _ = next(load(sounds).val.eval_batches(4))
    assert clips[0].abs().max() == 0
    assert clips.isfinite().all()


def damaged(path: Path, how: str) -> None:
    rate, wave = wavfile.read(path)
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[:-400])
    elif how == "header only":
        path.write_bytes(content[:30])
    elif how == "text":
        path.write_bytes(b"no sound")
    elif how == "nothing":
        path.write_bytes(b"")
    elif how == "empty":
        wavfile.write(path, rate, wave[:0])
    else:
        wave = (wave / 32768).astype(np.float32)
        wave[7] = {"nan": np.nan, "loud": 3.0}[how]
        wavfile.write(path, rate, wave)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", "is cut short"),
        ("header only", "cannot be read as WAV"),
        ("text", "cannot be read as WAV"),
        ("nothing", "cannot be read as WAV"),
        ("empty", "is empty"),
        ("nan", "holds 1 samples that are NaN"),
        ("loud", "float sample of 3; floats should be -1 to 1"),
    ],
)
def test_load_audio_folder_names_a_damaged_sound(sounds: Path, how: str, message: str) -> None:
    damaged(sounds / "audio" / "2-rain-1.wav", how)
    with pytest.raises(DataError, match=rf"2-rain-1\.wav' .*{message}|2-rain-1\.wav' {message}"):
        load(sounds)


def test_load_audio_folder_names_another_sampling_rate(sounds: Path) -> None:
    wavfile.write(sounds / "audio" / "1-dog-1.wav", 16000, np.ones(99, np.int16))
    with pytest.raises(DataError, match=r"most clips have 8,000 .* 1 differ: 1-dog-1.wav \(16,000\)"):
        load(sounds)


ROW = {"filename": "1-dog-0.wav", "fold": 1, "target": 0, "category": "dog"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"filename": "a"}], r"has no column fold, target, category"),
        ([{"filename;fold;target;category": "a"}], r"commas between them, and begins with filename;fold;target;category$"),
        ([ROW | {"fold": "one"}], r"line 2: fold='one'"),
        ([ROW | {"target": -1}], r"should not be negative"),
        ([ROW | {"filename": "../../x.wav"}], r"filename='../../x.wav' should name a file in audio/"),
        ([ROW, ROW | {"filename": "gone.wav"}], r"1 files of .* are not in .*: gone.wav"),
        ([ROW, ROW], r"lists a file twice: 1-dog-0.wav"),
        ([ROW, ROW | {"filename": "1-rain-0.wav", "category": "rain"}], r"target 0 has two categories, 'dog' and 'rain'"),
        ([ROW, ROW | {"filename": "1-rain-0.wav", "target": 1}], r"one category has several targets"),
        ([ROW], r"data.val_fold=3: the folds of this set are 1"),
        (
            [ROW, ROW | {"filename": "3-dog-0.wav", "fold": 3}, ROW | {"filename": "1-rain-0.wav", "target": 1, "category": "rain"}],
            r"fold 3: 1 class\(es\) without a clip: rain",
        ),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_read_audio_table_names_what_is_wrong(sounds: Path, rows: list[dict], message: str) -> None:
    write_table(sounds, rows)
    with pytest.raises(DataError, match=message):
        load(sounds)


def test_load_audio_folder_names_missing_parts(tmp_path: Path, sounds: Path) -> None:
    with pytest.raises(DataError, match=r"needs data.root"):
        load_audio_folder(root=None)
    with pytest.raises(DataError, match="is not a folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"data.val_fold=9: the folds of this set are 1, 2, 3"):
        load(sounds, val_fold=9)
    (sounds / "meta" / "more.csv").write_text("a\n")
    with pytest.raises(DataError, match=r"holds 2 tables"):
        load(sounds)


def test_load_audio_folder_refuses_a_policy_for_images(sounds: Path) -> None:
    with pytest.raises(
        OptionError, match=r"data.augment='rand-m9' is a policy for images; for audio give standard or none"
    ):
        load(sounds, augment="rand-m9")


def test_read_audio_table_keeps_esc10_of_a_larger_table(tmp_path: Path) -> None:
    root = make_sounds(tmp_path / "ESC-10", names=("dog", "rain", "saw"))
    rows = [
        ROW | {"filename": file, "fold": file[0], "target": ord(name[0]), "category": name, "esc10": name != "saw"}
        for file in sorted(path.name for path in (root / "audio").iterdir())
        for name in [file.split("-")[1]]
    ]
    write_table(root, rows)
    assert load(root).classes == ("dog", "rain")
    root.rename(tmp_path / "all")
    assert load(tmp_path / "all").classes == ("dog", "rain", "saw")
