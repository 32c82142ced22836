"""WAV files of every format agree; damaged ones are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from nes_lab.datasets.wav import read_wav
from nes_lab.errors import DataError


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32])
def test_read_wav_agrees_over_formats_and_stereo(tmp_path: Path, kind: type) -> None:
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


def test_read_wav_notices_a_cut_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for wave in (np.arange(40, dtype=np.int16), np.zeros((9, 2), np.float32)):
        wavfile.write(path, 8000, wave)
        complete = path.read_bytes()
        for length in range(len(complete)):
            path.write_bytes(complete[:length])
            with pytest.raises(DataError, match=r"a\.wav' (cannot be read as WAV|is cut short|is empty)"):
                read_wav(path)
