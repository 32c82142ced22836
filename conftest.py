"""What the markers mean, for every test: a GPU test skips aloud, a browser test may not skip in CI."""

from __future__ import annotations

import os
import shutil

import pytest

# Tests are many tiny operations: one thread runs them several times faster than two that wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip (or fail) a marked test that cannot run here, with the reason and the cure."""
    if item.get_closest_marker("gpu") and not _has_gpu():
        pytest.skip("needs a CUDA device; torch sees none on this machine")
    if item.get_closest_marker("browser") and not any(map(shutil.which, BROWSERS)):
        missing = "needs Chromium on PATH; on Debian, as root: apt-get install chromium"
        if _in_ci():
            pytest.fail(f"browser test {missing} (with CI=true this is a failure, not a skip)", pytrace=False)
        pytest.skip(missing)
