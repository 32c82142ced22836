"""The marker rules of the root conftest, tried in a pytest of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BODY = """
import pytest

@pytest.mark.browser
def test_browser(): pass

@pytest.mark.gpu
def test_gpu():
    import torch
    assert torch.cuda.is_available()
"""


def run_marked(tmp_path: Path, select: str, *, browser: bool, **env: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    gpu: x\n    browser: x\n")
    (tmp_path / "test_marked.py").write_text(BODY)
    tools = tmp_path / "bin"
    tools.mkdir()
    if browser:
        (tools / "chromium").write_text("#!/bin/sh\n")
        (tools / "chromium").chmod(0o755)
    clean = {k: v for k, v in os.environ.items() if k not in {"CI", "PYTEST_ADDOPTS"}}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "-k", select],
        cwd=tmp_path,
        env={**clean, "PATH": str(tools), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("browser", "ci", "outcome", "status"),
    [
        (True, "", "1 passed", 0),
        (True, "true", "1 passed", 0),
        (False, "", "1 skipped", 0),
        (False, "true", "1 error", 1),
    ],
)
def test_a_browser_test_without_chromium_skips_at_home_and_fails_in_ci(tmp_path, browser, ci, outcome, status):
    done = run_marked(tmp_path, "test_browser", browser=browser, CI=ci)
    assert outcome in done.stdout and done.returncode == status, done.stdout
    if not browser:
        assert "apt-get install chromium" in done.stdout


def test_a_gpu_test_without_a_gpu_skips_aloud(tmp_path):
    done = run_marked(tmp_path, "test_gpu", browser=False, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0 and "1 skipped" in done.stdout, done.stdout
    assert "needs a CUDA device" in done.stdout
