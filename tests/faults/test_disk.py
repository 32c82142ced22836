"""A disk that is full, and one that turns read-only: real ones, small and mounted for the test."""

import os
import subprocess

import pytest

from nes_lab.errors import RunError
from nes_lab.runs.store import RunStore
from tests.faults.conftest import config, corners, count_lost, saved

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path):
    """A disk of 8 MiB; unmounted at the end."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    done = subprocess.run(words, capture_output=True, text=True, check=False) if os.geteuid() == 0 else None
    if done is None or done.returncode:
        why = done.stderr.strip() if done else "not root"
        pytest.skip(f"mounting a small disk needs root and a kernel that allows it: {why}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


WRITES = (("metric", 6), ("status", 3), ("checkpoint_paths", 2), ("commit_checkpoint", 2))


@pytest.mark.parametrize(
    ("name", "number", "left"),
    corners([(*write, left) for write in WRITES for left in (0, 4096, 30_000)], (0, 4, 6, 8, 9)),
)
def test_the_disk_is_full(disk, tmp_path, zygote, ends_exactly, tally, name, number, left):
    store = RunStore(disk / "runs")
    run_id, log = store.create(config()), tmp_path / "log"
    ended = zygote.train(store, run_id, output=log, fill_disk={"name": name, "number": number, "left": left})
    assert ended == 2, log.read_text()
    assert "No space left on device" in log.read_text() or "cannot be written" in log.read_text()
    info = store.get(run_id)
    assert info.state == "failed"
    assert info.reason.strip() in " ".join(log.read_text().split()) or "cannot be" in info.reason
    before = saved(store, run_id)
    (disk / "ballast").unlink()
    tally(
        "the disk is full at a row, a status or a checkpoint",
        "fails and says what could not be written; the last checkpoint stays; continues when there is room",
        resumed=1,
        identical=ends_exactly(store, run_id),
        lost=count_lost(store, run_id, before),
    )


@pytest.mark.parametrize(("name", "number"), [("metric", 6), ("checkpoint_paths", 2)])
def test_the_disk_turns_read_only(disk, tmp_path, zygote, ends_exactly, tally, name, number):
    store = RunStore(disk / "runs")
    run_id, log = store.create(config()), tmp_path / "log"
    order = {"name": name, "number": number, "mount": str(disk)}
    assert zygote.train(store, run_id, output=log, make_read_only=order) != 0
    assert "Read-only file system" in log.read_text() or "cannot be" in log.read_text()
    info = store.get(run_id)
    assert info.state == "lost" and "is gone" in info.reason  # nobody could write more
    assert [found.id for found in store.list()] == [run_id]
    with pytest.raises(RunError, match=r"Read-only.*NES_LAB_HOME"):
        store.create({})
    before = saved(store, run_id)
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    tally(
        "the root folder of the runs becomes read-only",
        "lost, and the log says why; can still be read; continues when the folder is writable again",
        resumed=1,
        identical=ends_exactly(store, run_id),
        lost=count_lost(store, run_id, before),
    )
