"""Every code block of docs/importers.md runs, after the block that makes the page's network."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.house.tree import ROOT

PAGE = (ROOT / "docs" / "importers.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^## ([^\n]+)\n+```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
SETUP = BLOCKS.pop("The network of this page")
NOT_INSTALLED = {"Lightning": "lightning", "Hugging Face Trainer": "transformers"}
DEPRECATED = "ignore:`torch.jit"


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """Run in a folder of its own, as the only process of a distributed job."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    yield
    if "accelerate" in sys.modules:
        sys.modules["accelerate"].state.AcceleratorState._reset_state(reset_partial_state=True)


def test_importers_page_has_a_block_under_each_heading():
    assert len(BLOCKS) + 1 == PAGE.count("\n## ") == PAGE.count("```python")


@pytest.mark.filterwarnings(DEPRECATED)
@pytest.mark.parametrize("heading", BLOCKS)
def test_importers_page_runs_as_written(heading):
    if heading in NOT_INSTALLED:
        pytest.importorskip(NOT_INSTALLED[heading], reason=f"{NOT_INSTALLED[heading]} is not installed: pip install it")
    exec(compile(SETUP + BLOCKS[heading], f"docs/importers.md, {heading}", "exec"), {"__name__": "page"})


@pytest.mark.slow
def test_importers_page_distributed_block_with_two_processes(tmp_path):
    (tmp_path / "page.py").write_text(SETUP + BLOCKS["DistributedDataParallel"])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "page.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
