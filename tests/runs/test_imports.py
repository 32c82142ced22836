"""Runs of a network of the user's own, in processes that begin elsewhere than the one that created them."""

import shutil
import sys

import pytest

from nes_lab.cli import main
from nes_lab.errors import RunError
from nes_lab.runs import layout
from nes_lab.runs.files import read_json, write_json
from nes_lab.runs.imports import imports_of_run
from nes_lab.runs.store import RunStore

MODULE = """
from torch import nn

def make(num_classes):
    from far_parts import head
    return nn.Sequential(nn.Flatten(), head(num_classes))
"""
PARTS = "from torch import nn\n\ndef head(classes):\n    return nn.Linear(64, classes)\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with modules of the user's; it is the present one."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "far_nets.py").write_text(MODULE)
    (folder / "far_parts.py").write_text(PARTS)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path / "home"))
    yield folder
    forget()


def forget():
    for name in [name for name in sys.modules if name.startswith("far_")]:
        del sys.modules[name]


def test_imports_of_run_in_another_process_and_folder(project, tmp_path, monkeypatch, wait):
    from nes_lab.experiment.trained import save_trained

    settings = ["--data.limit", "64", "--training.epochs", "1", "--training.threads", "1", "--detach"]
    (project / "mine.yaml").write_text("backbone: {name: 'far_nets:make'}")
    assert main(["train", "mine.yaml", *settings]) == 0
    store, (info,) = RunStore(), RunStore().list()
    wait(lambda: store.get(info.id).is_final, 60)
    assert store.get(info.id).state == "finished", store.log_tail(info.id)

    forget()
    monkeypatch.chdir(tmp_path)
    folder = store.path(info.id)
    save_trained(store, info.id, tmp_path / "net")  # the folder of the module is known

    about = read_json(folder / layout.RUN)
    write_json(folder / layout.RUN, {key: value for key, value in about.items() if key != "imports"})
    with (
        pytest.raises(RunError, match=r"came from another machine .*far_nets:make.*--allow-import"),
        imports_of_run(folder),
    ):
        pass
    write_json(folder / layout.RUN, about)
    shutil.copytree(project, tmp_path / "copy")
    write_json(folder / layout.RUN, about | {"imports": {"backbone.name": str(tmp_path / "copy")}})
    with pytest.raises(RunError, match=r"this process has loaded the one in .*project"), imports_of_run(folder):
        pass
    write_json(folder / layout.RUN, about)
    forget()
    project.rename(tmp_path / "moved")
    with (
        pytest.raises(RunError, match=r"'far_nets', which is not found: it was in .*project\. Go to"),
        imports_of_run(folder),
    ):
        pass
    monkeypatch.syspath_prepend(tmp_path / "moved")
    with imports_of_run(folder):
        pass
