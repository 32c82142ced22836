"""A folder appears complete or not at all, and only a saved model is ever replaced."""

import pytest

from nes_lab import save_pretrained
from nes_lab.errors import CheckpointError
from nes_lab.export import atomic_write
from nes_lab.export.saved_config import read_saved_config
from tests.export.networks import Net, compressed
from tests.export.saving import NAMES


def test_new_folder_replaces_a_saved_model_only_if_asked(tmp_path):
    first, second = Net(), compressed(Net(), NAMES)
    folder = save_pretrained(first, tmp_path / "m")
    with pytest.raises(CheckpointError, match="overwrite=True"):
        save_pretrained(second, folder)
    assert not read_saved_config(folder)["epitome_layers"]
    save_pretrained(second, folder, overwrite=True)
    assert set(read_saved_config(folder)["epitome_layers"]) == set(NAMES)
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("swap", [True, False])
def test_new_folder_replaces_with_and_without_the_system_call(tmp_path, swap, monkeypatch):
    if not swap:
        monkeypatch.setattr(atomic_write, "_exchange", lambda one, other: False)
    folder = save_pretrained(Net(), tmp_path / "m")
    save_pretrained(compressed(Net(), NAMES), folder, overwrite=True)
    assert read_saved_config(folder)["epitome_layers"] and [entry.name for entry in tmp_path.iterdir()] == ["m"]


def test_new_folder_leaves_other_files_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(CheckpointError, match="so it is not replaced"):
            save_pretrained(Net(), tmp_path / "mine", overwrite=overwrite)
    folder = save_pretrained(Net(), tmp_path / "m")
    (folder / "notes.md").write_text("mine")
    with pytest.raises(CheckpointError, match="so it is not replaced"):
        save_pretrained(Net(), folder, overwrite=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError):
        save_pretrained(Net(), tmp_path / "file", overwrite=True)
    assert (folder / "notes.md").exists() and (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("stop", ["save_file", "sha256_of", "add_checksum"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError])
def test_new_folder_leaves_the_old_model_when_interrupted(tmp_path, monkeypatch, stop, kind):
    from nes_lab.export import pretrained

    folder = save_pretrained(Net(), tmp_path / "m")

    def fail(*args, **kwargs):
        raise kind("no space left on device")

    monkeypatch.setattr(pretrained, stop, fail)
    with pytest.raises((KeyboardInterrupt, CheckpointError)):
        save_pretrained(compressed(Net(), NAMES), folder, overwrite=True)
    with pytest.raises((KeyboardInterrupt, CheckpointError)):
        save_pretrained(Net(), tmp_path / "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"] and not read_saved_config(folder)["epitome_layers"]
