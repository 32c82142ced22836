"""A path that the user names is written if it is a regular file, a link to one or new; nothing else is touched."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch

import nes_lab
from nes_lab.cli.entry import main
from nes_lab.errors import CheckpointError, OptionError, RunError
from nes_lab.experiment import demo
from nes_lab.experiment.run import Run
from nes_lab.runs.files import write_json
from nes_lab.runs.pack import pack_run
from nes_lab.runs.replace import target_of, write_target
from nes_lab.runs.store import RunStore

NET, INPUT = torch.nn.Linear(4, 3), torch.zeros(1, 4)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A special file that any user can make; a device like /dev/full needs root."""
    path = tmp_path / "pipe.pt2"
    os.mkfifo(path)
    return path


def _run(folder: Path) -> Run:
    store = RunStore(folder / "runs")
    return Run(store, store.create({"seed": 0}))


def _demo(path: Path) -> None:
    (path.parent / "results.json").symlink_to(path)
    demo._writable(path.parent)


WRITERS = {
    "onnx": lambda path: nes_lab.export_onnx(NET, INPUT, path),
    "torch": lambda path: nes_lab.export_torch(NET, INPUT, path),
    "folder": lambda path: nes_lab.save_pretrained(NET, path, overwrite=True),
    "report": lambda path: _run(path.parent).report(path),
    "pack": lambda path: pack_run(_run(path.parent).store, _run(path.parent).id, path),
    "demo": _demo,
    "json": lambda path: write_json(path, {}),
    "text": lambda path: write_target(path, ""),
}


@pytest.mark.parametrize("name", WRITERS)
def test_target_of_refuses_a_special_file_for_every_writer(pipe: Path, name: str) -> None:
    before = pipe.stat()
    with pytest.raises((CheckpointError, OptionError, RunError, OSError)) as error:
        WRITERS[name](pipe)
    if name not in ("folder", "pack"):  # these say that something is there already
        assert "is a named pipe, not a regular file" in str(error.value)
    assert stat.S_ISFIFO(pipe.stat().st_mode) and pipe.stat().st_ino == before.st_ino
    assert not [item for item in pipe.parent.iterdir() if ".tmp-" in item.name]


def test_target_of_refuses_a_device_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "small_mobilenetv2", "--params", "90%", "--output", "/dev/full"]) == 2
    assert "/dev/full cannot be written: it is a device" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["onnx", "torch", "report", "text"])
def test_target_of_follows_a_link_to_the_file_that_is_served(tmp_path: Path, name: str) -> None:
    served, link = tmp_path / "served" / "real", tmp_path / "link.pt2"
    served.parent.mkdir()
    served.write_text("old")
    link.symlink_to("served/real")
    WRITERS[name](link)
    assert link.is_symlink() and served.read_bytes() != b"old"
    assert [item.name for item in served.parent.iterdir()] == ["real"]


def test_target_of_explains_a_loop_and_a_missing_folder(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    (tmp_path / "dangling").symlink_to(tmp_path / "gone" / "file")
    assert target_of(tmp_path / "new") == tmp_path / "new"
    for path, why in (("loop", "symbolic links"), ("dangling", "gone is missing"), ("gone/x", "gone is missing")):
        with pytest.raises(OSError, match=why):
            target_of(tmp_path / path)
