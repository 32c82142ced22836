"""Read WAV files as mono int16, and refuse damaged files."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np

from nes_lab.errors import DataError
from nes_lab.packages import needed_for

__all__ = ["FULL_SCALE", "read_wav"]

FULL_SCALE = 32767
"""The int16 sample that stands for 1.0."""

# SciPy raises all of these on damaged files; the list comes from flipping bytes in files and cutting them short.
_READ_ERRORS = (OSError, ValueError, TypeError, struct.error, ArithmeticError, MemoryError, UnboundLocalError)


def read_wav(path: Path) -> tuple[int, np.ndarray]:
    """Read a WAV file of 8-, 16-, 24- or 32-bit integers, or of floats between -1 and 1, and average its channels.

    Returns:
        The sampling rate in samples per second, and the samples ``(N,)``, int16.

    Raises:
        DataError: If the file is not a WAV file, is cut short or empty, or holds NaN or values beyond 1. The message
            names the file.
    """
    with needed_for("reading sounds"):
        from scipy.io import wavfile

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rate, samples = wavfile.read(path)
    except _READ_ERRORS as error:
        reason = str(error) if isinstance(error, OSError | ValueError) and str(error) else "a damaged header"
        raise DataError(f"sound {str(path)!r} cannot be read as WAV ({reason})") from error
    if cut := [str(entry.message) for entry in caught if "prematurely" in str(entry.message)]:
        raise DataError(f"sound {str(path)!r} is cut short ({cut[0]})")
    if samples.size == 0 or rate <= 0:
        raise DataError(f"sound {str(path)!r} is empty: {samples.size} samples at {rate} per second")
    unit = _unit(samples, path)
    mono = unit.mean(axis=1) if unit.ndim == 2 else unit
    return int(rate), np.round(mono * FULL_SCALE).astype(np.int16)


def _unit(samples: np.ndarray, path: Path) -> np.ndarray:
    """Scale the samples of a WAV file to -1..1. Refuse NaN and floats beyond 1."""
    if samples.dtype == np.uint8:
        return (samples.astype(np.float64) - 128) / 128
    if samples.dtype in (np.int16, np.int32):
        return np.maximum(samples.astype(np.float64) / np.iinfo(samples.dtype).max, -1.0)
    if samples.dtype not in (np.float32, np.float64):
        raise DataError(f"sound {str(path)!r} has samples of type {samples.dtype}; use 8-, 16- or 32-bit or float WAV")
    if not np.isfinite(samples).all():
        raise DataError(
            f"sound {str(path)!r} holds {int((~np.isfinite(samples)).sum())} samples that are NaN or infinite"
        )
    if np.abs(samples).max() > 1:
        raise DataError(
            f"sound {str(path)!r} has a float sample of {float(np.abs(samples).max()):g}; floats should be -1 to 1"
        )
    return samples.astype(np.float64)
