"""Data from a function of the user's own: what the function gets, what it may return, and what each mistake is called."""

import re
import sys

import pytest

from nes_lab.cli import main
from nes_lab.config import load_config
from nes_lab.datasets.registry import load_dataset
from nes_lab.errors import NesLabError
from nes_lab.runs.store import RunStore
from tests.house.tree import ROOT

MODULE = """
import torch
from torch.utils.data import DataLoader, TensorDataset

def digits(limit, seed=0, image_size=None):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(limit or 96, 1, 8, 8, generator=generator), torch.arange(limit or 96) % 10
    return (x, y), (x[:32], y[:32])

def loaders():
    train, val = (TensorDataset(*part) for part in digits(64))
    return DataLoader(train, batch_size=16, shuffle=True), DataLoader(val, batch_size=16)

def needs(path):
    return path

def fails():
    raise FileNotFoundError("/no/such/images")

def number():
    return 7

class Broken:
    def __len__(self):
        return 8
    def __getitem__(self, index):
        return {}["image"]

def broken():
    return Broken(), Broken()
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with a module of the user's; it is the present one and on Python's path."""
    (tmp_path / "own_data.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path / "home"))
    yield tmp_path
    sys.modules.pop("own_data", None)


def load(name, **fields):
    return load_dataset(load_config({"data": {"name": name, **fields}}).data, seed=5)


def test_load_imported_gives_a_function_the_fields_it_takes(own):
    data = load("own_data:digits", limit=40)
    assert (len(data.train), data.input_shape, data.num_classes, data.resumable) == (40, (1, 8, 8), 10, True)
    assert not load("own_data:loaders").resumable


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("own_data:digit", {}, r"has no 'digit'. Did you mean 'digits'"),
        ("own_data:needs", {}, r"takes \(path\): missing a required argument: 'path'; its parameters may be"),
        ("own_data:digits", {"augment": "none"}, r"data.augment='none' has no effect: .* a parameter augment"),
        ("own_data:fails", {}, r"raised FileNotFoundError: /no/such/images \(.*own_data.py, line 18\)"),
        ("own_data:number", {}, "returned no data: data=a int; give"),
        ("own_data:broken", {}, "'own_data:broken'.*KeyError"),
    ],
)
def test_load_imported_names_what_was_wrong(own, name, fields, message):
    with pytest.raises(NesLabError, match=message):
        load(name, **fields)


def test_load_imported_refuses_another_form_before_a_run_exists(own, capsys):
    assert main(["train", "cifar10", "--data.name", "own_data:number"]) == 2
    assert "returned no data" in capsys.readouterr().err
    assert main(["data", "check", "own_data:digits"]) == 2
    assert RunStore().list() == []


def test_commands_train_and_calibrate_on_own_data(own):
    size = {"backbone": {"width": 0.35}, "training": {"epochs": 1, "threads": 1, "warmup_epochs": 0}}
    (own / "mine.yaml").write_text(str(size | {"data": {"name": "own_data:digits", "limit": 64}}))
    assert main(["train", "mine.yaml"]) == 0
    info = RunStore().list()[0]
    assert info.state == "finished" and info.summary["top1"] >= 0
    assert main(["export", info.id, "net", "--format", "folder"]) == 0
    weights = ["--checkpoint", "net/model.safetensors", "--calibration", "own_data:digits", "--images", "32"]
    small = ["--input", "1", "8", "8", "--classes", "10", "--width", "0.35", "--madds", "75%", "--round-to", "2"]
    assert main(["fit", "small_mobilenetv2", "fitted", *weights, *small]) == 0


def test_page_on_own_code_works_as_written(own, monkeypatch, capsys):
    page = (ROOT / "docs" / "own_code.md").read_text()
    code, commands = re.findall(r"```\w*\n(.*?)```", page, re.DOTALL)
    (own / "my_project.py").write_text(code)
    (own / "my.yaml").write_text(str({"training": {"epochs": 1, "threads": 1, "warmup_epochs": 0}}))
    for line in commands.strip().splitlines():
        assert main(line.split()[1:]) == 0, line
    assert "finished" in (printed := capsys.readouterr().out) and "compressed" in printed
    sys.modules.pop("my_project", None)


def test_loaders_say_that_they_do_not_resume_and_what_they_lack(own, capsys):
    (own / "own_net.py").write_text(
        "from torch import nn\n\ndef make(num_classes=10):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))\n\n"
        "def needs(num_classes):\n    return make(num_classes)\n"
    )
    settings = {"data": {"name": "own_data:loaders"}, "training": {"epochs": 1, "threads": 1, "warmup_epochs": 0}}
    (own / "mine.yaml").write_text(str(settings))
    assert main(["train", "mine.yaml", "--backbone.name", "own_net:needs"]) == 2
    assert "does not say how many classes it has" in capsys.readouterr().err
    assert main(["train", "mine.yaml", "--backbone.name", "own_net:make"]) == 0
    assert "not resumable bit for bit" in RunStore().list()[0].notes[0]
    sys.modules.pop("own_net", None)
