"""Processes that train keep the memory they free; a user's own allocator is left alone."""

import os
import subprocess
import sys

import pytest

from nes_lab.cli import train_here
from nes_lab.runs import spawn
from nes_lab.runs.allocator import allocator_settings, keep_freed_memory

linux = pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is Linux's")
FAULTS = """
import resource, sys
from nes_lab.runs.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        bytearray(48 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = faults()
print(first, keep_freed_memory(), faults())
"""


@linux
@pytest.mark.parametrize("chosen", ["LD_PRELOAD", "MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_an_environment_that_chooses_its_allocator_gets_no_settings(chosen):
    assert allocator_settings({"PATH": "/bin"})["MALLOC_MMAP_MAX_"] == "0"
    assert allocator_settings({chosen: "1"}) == {}


def test_other_systems_get_no_settings(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocator_settings({}) == {}
    assert keep_freed_memory() is False


@linux
def test_pages_of_large_tensors_are_fetched_once(tmp_path):
    script = tmp_path / "faults.py"
    script.write_text(FAULTS)
    plain = {"PATH": "/bin", "PYTHONPATH": ":".join(filter(None, sys.path))}
    said = subprocess.run([sys.executable, str(script)], env=plain, capture_output=True, text=True, check=True).stdout
    default, changed, kept = said.split()
    if changed == "False":
        pytest.skip("the C library is not glibc")
    assert int(kept) < int(default) / 5
    plain |= allocator_settings({})
    said = subprocess.run([sys.executable, str(script)], env=plain, capture_output=True, text=True, check=True).stdout
    assert said.split()[1] == "False"  # the environment has chosen already
    assert int(said.split()[0]) < int(default) / 5


@linux
def test_a_process_that_trains_gets_the_settings(tmp_path, monkeypatch):
    run = tmp_path / "20260101-000000-a-000000"
    run.mkdir()
    given = []
    monkeypatch.setattr(spawn, "start_python", lambda *words, **options: given.append(options) or _Child())
    for name in list(os.environ):
        if name.startswith(("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_")):
            monkeypatch.delenv(name)
    spawn.start_worker(tmp_path, run)
    assert given[0]["environment"] == allocator_settings({})


def test_a_command_that_trains_in_its_own_process_keeps_freed_memory(monkeypatch):
    asked = []
    monkeypatch.setattr(train_here, "keep_freed_memory", lambda: asked.append(True))
    with train_here.shown_progress():
        assert asked


class _Child:
    pid = 1

    def poll(self):
        return 0
