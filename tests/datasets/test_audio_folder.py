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
from nes_lab.datasets.wav import read_wav
from nes_lab.errors import DataError, OptionError
from tests.datasets.samples import batches, make_sounds, same, write_table


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return make_sounds(tmp_path / "sounds")


def load(root: Path, **options):
    return load_dataset(DataConfig(name="audio_folder", root=root, **{"val_fold": 3, **options}))


def test_good_set(sounds: Path) -> None:
    spec = load(sounds)
    assert spec.classes == ("dog", "rain")
    assert (spec.kind, spec.length, spec.input_shape) == ("audio", 1200, (1, 1200))
    assert (len(spec.train), len(spec.val)) == (8, 4)
    clips, labels = next(spec.val.eval_batches(4))
    assert labels.tolist() == [0, 0, 1, 1]
    assert clips.shape == (4, 1, 1200)
    assert clips.mean(-1).abs().max() < 1e-5
    assert (clips.std(-1, correction=0) - 1).abs().max() < 1e-5
    assert "8,000 samples per second; fold 3 of 1, 2, 3 validates" in spec.notes


def test_each_fold_validates_once(sounds: Path) -> None:
    seen = torch.cat([load(sounds, val_fold=fold).val.clips for fold in (1, 2, 3)])
    assert len(seen.unique(dim=0)) == 12


def test_clips_are_cut_or_padded(sounds: Path) -> None:
    short, long = load(sounds, samples=100), load(sounds, samples=2000)
    assert short.input_shape == (1, 100)
    assert long.train.clips[:, :100].equal(short.train.clips)
    assert long.train.clips[:, 1200:].abs().max() == 0


@pytest.mark.parametrize("augment", ["standard", "none"])
def test_batches_resume_and_shard(sounds: Path, augment: str) -> None:
    train = load(sounds, augment=augment).train
    before = torch.get_rng_state()
    whole = batches(train, size=3)
    assert torch.get_rng_state().equal(before)
    assert same(whole[1:], batches(train, size=3, start=1))
    for rank in (0, 1):
        assert same(batches(train, size=3, shard=(rank, 2)), [(x[rank::2], y[rank::2]) for x, y in whole])
    plain = {tuple(clip.flatten().tolist()) for clip, _ in train.eval_batches(1)}
    kept = [tuple(clip.flatten().tolist()) in plain for clips, _ in whole for clip in clips]
    assert all(kept) if augment == "none" else not any(kept)


def test_delay_and_gain() -> None:
    clip = torch.zeros(200, 1, 9)
    clip[:, 0, 4] = 1
    moved = random_delay(clip, torch.Generator().manual_seed(0), 4)
    assert moved.sum((1, 2)).eq(1).all()
    assert set(moved[:, 0].nonzero()[:, 1].tolist()) == set(range(9))
    louder = random_gain(torch.ones(500, 1, 1), torch.Generator().manual_seed(0), 6.0)
    assert 10**-0.3 <= louder.min() < 0.52
    assert 1.9 < louder.max() <= 10**0.3


def test_silence_stays_silent(sounds: Path) -> None:
    wavfile.write(sounds / "audio" / "3-dog-0.wav", 8000, np.zeros(1200, np.int16))
    clips, _ = next(load(sounds).val.eval_batches(4))
    assert clips[0].abs().max() == 0
    assert clips.isfinite().all()


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32])
def test_formats_and_stereo_agree(tmp_path: Path, kind: type) -> None:
    wave = np.sin(np.arange(400) / 9) * 0.5
    coded = {
        np.uint8: lambda x: np.round(x * 128 + 128),
        np.int16: lambda x: np.round(x * 32767),
        np.int32: lambda x: np.round(x * (2**31 - 1)),
        np.float32: lambda x: x,
    }[kind]
    wavfile.write(tmp_path / "mono.wav", 8000, coded(wave).astype(kind))
    wavfile.write(tmp_path / "both.wav", 8000, coded(np.stack([wave, -wave / 2], axis=1)).astype(kind))
    rate, mono = read_wav(tmp_path / "mono.wav")
    step = 256 if kind is np.uint8 else 1  # half a step of 1/128 is 128 of 32767, and one more for rounding
    assert rate == 8000
    assert np.abs(mono - wave * 32767).max() <= step
    assert np.abs(read_wav(tmp_path / "both.wav")[1] - wave * 32767 / 4).max() <= step


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
    ("how", "said"),
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
def test_a_damaged_sound_is_named(sounds: Path, how: str, said: str) -> None:
    damaged(sounds / "audio" / "2-rain-1.wav", how)
    with pytest.raises(DataError, match=rf"2-rain-1\.wav' .*{said}|2-rain-1\.wav' {said}"):
        load(sounds)


def test_a_sound_cut_anywhere_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for wave in (np.arange(40, dtype=np.int16), np.zeros((9, 2), np.float32)):
        wavfile.write(path, 8000, wave)
        whole = path.read_bytes()
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            with pytest.raises(DataError, match=r"a\.wav' (cannot be read as WAV|is cut short|is empty)"):
                read_wav(path)


def test_another_sampling_rate_is_named(sounds: Path) -> None:
    wavfile.write(sounds / "audio" / "1-dog-1.wav", 16000, np.ones(99, np.int16))
    with pytest.raises(DataError, match=r"most clips have 8,000 .* 1 differ: 1-dog-1.wav \(16,000\)"):
        load(sounds)


ROW = {"filename": "1-dog-0.wav", "fold": 1, "target": 0, "category": "dog"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"filename": "a"}], r"has no column fold, target, category"),
        ([{"filename;fold;target;category": "a"}], r"commas between them, and begins with filename;fold;target;category$"),
        ([ROW | {"fold": "one"}], r"line 2: fold='one'"),
        ([ROW | {"target": -1}], r"should not be negative"),
        ([ROW | {"filename": "../../x.wav"}], r"filename='../../x.wav' should name a file in audio/"),
        ([ROW, ROW | {"filename": "gone.wav"}], r"1 files of .* are not in .*: gone.wav"),
        ([ROW, ROW], r"lists a file twice: 1-dog-0.wav"),
        ([ROW, ROW | {"filename": "1-rain-0.wav", "category": "rain"}], r"target 0 is 'dog' and 'rain'"),
        ([ROW, ROW | {"filename": "1-rain-0.wav", "target": 1}], r"one category has several targets"),
        ([ROW], r"data.val_fold=3: the folds of this set are 1"),
        (
            [ROW, ROW | {"filename": "3-dog-0.wav", "fold": 3}, ROW | {"filename": "1-rain-0.wav", "target": 1, "category": "rain"}],
            r"fold 3: 1 class\(es\) without a clip: rain",
        ),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_wrong_table_is_named(sounds: Path, rows: list[dict], said: str) -> None:
    write_table(sounds, rows)
    with pytest.raises(DataError, match=said):
        load(sounds)


def test_missing_parts_are_named(tmp_path: Path, sounds: Path) -> None:
    with pytest.raises(DataError, match=r"needs data.root"):
        load_audio_folder(root=None)
    with pytest.raises(DataError, match="is not a folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"data.val_fold=9: the folds of this set are 1, 2, 3"):
        load(sounds, val_fold=9)
    (sounds / "meta" / "more.csv").write_text("a\n")
    with pytest.raises(DataError, match=r"holds 2 tables"):
        load(sounds)


def test_a_policy_for_images_is_refused(sounds: Path) -> None:
    with pytest.raises(
        OptionError, match=r"data.augment='rand-m9' is a policy for images; for audio give standard or none"
    ):
        load(sounds, augment="rand-m9")


def test_the_ten_easy_classes_of_a_larger_table(tmp_path: Path) -> None:
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
