"""Networks made by a function of the user's own: what the function gets, and what each mistake is called."""

import re
import sys

import pytest
import torch
from torch import nn

import nes_lab
from nes_lab.cli import main
from nes_lab.errors import BudgetError, CheckpointError, OptionError
from nes_lab.export.pretrained import from_pretrained

MODULE = """
from torch import nn

def make(num_classes, in_channels, hidden=64):
    first = nn.Conv2d(in_channels, hidden, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(hidden, num_classes))

def fixed():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

def fails():
    raise KeyError("no weights")

def number():
    return 3

SHARED = fixed()

def same():
    return SHARED

def pictures():
    return nn.Conv2d(1, 10, 1)

def pair():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x
    return Pair()
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder that is the present one, with modules of the user's."""
    for name, text in {"own_nets": MODULE, "own_typo": "def make(:", "own_import": "import no_such_package"}.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


@pytest.fixture
def importable(own):
    sys.path.insert(0, str(own))
    return own


def test_create_backbone_gives_a_function_only_what_it_takes(importable):
    net = nes_lab.create_backbone("own_nets:make", num_classes=5, in_channels=2, hidden=4)
    assert net(torch.zeros(1, 2, 6, 6)).shape == (1, 5)
    assert nes_lab.create_backbone("own_nets:fixed", num_classes=5)[1].out_features == 3
    assert nes_lab.create_backbone("torch.nn:Identity", num_classes=5).nes_lab_backbone["name"] == "torch.nn:Identity"


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("own_net:make", {}, "there is no module 'own_net'"),
        ("own_nets.py:make", {}, "Leave out the ending .py"),
        ("own_nets:mak", {}, r"own_nets.py\) has no 'mak'. Did you mean 'make'"),
        ("own_nets:MODULE:make", {}, "'package.module:function'"),
        ("../own_nets:make", {}, "'package.module:function'"),
        ("__main__:make", {}, "cannot import __main__"),
        ("own_nets:__name__", {}, "not a function; it is a value of type str"),
        ("own_nets:SHARED", {}, "is a network; give a function"),
        ("own_typo:make", {}, "importing own_typo failed, SyntaxError"),
        ("own_import:make", {}, r"ModuleNotFoundError: No module named 'no_such_package' \(.*own_import.py, line 1\)"),
        ("own_nets:fails", {}, r"raised KeyError: 'no weights' \(.*own_nets.py, line 12\)"),
        ("own_nets:number", {}, "returned a int; return a torch.nn.Module"),
        (
            "own_nets:make",
            {"depth": 2},
            r"\(num_classes, in_channels, hidden=64\).*unexpected keyword argument 'depth'",
        ),
        ("own_nets:make", {"width": 0.5}, "unexpected keyword argument 'width'"),
    ],
)
def test_imported_backbone_names_what_was_wrong(importable, spec, options, message):
    with pytest.raises(OptionError, match=message):
        nes_lab.create_backbone(spec, num_classes=10, **options)


def test_imported_backbone_refuses_a_shared_network(importable):
    nes_lab.create_backbone("own_nets:same")
    with pytest.raises(OptionError, match="returned the same network as before"):
        nes_lab.create_backbone("own_nets:same")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fixed", "has 3 outputs, and the data has 10 classes"),
        ("pictures", r"outputs a tensor of shape \(1, 10, 8, 8\)"),
        ("pair", "outputs a tuple"),
    ],
)
def test_check_outputs_before_a_run_is_created(own, name, message, capsys, monkeypatch):
    monkeypatch.setenv("NES_LAB_HOME", str(own / "home"))
    (own / "one.yaml").write_text(f"backbone: {{name: 'own_nets:{name}'}}")
    assert main(["train", "one.yaml"]) == 2
    assert not (own / "home").exists()
    assert re.search(message, capsys.readouterr().err)


def test_commands_find_a_function_in_the_present_folder(own, capsys):
    before = list(sys.path)
    size = ["--input", "3", "8", "8", "--classes", "7", "--madds", "75%", "--round-to", "2", "--min-channels", "1"]
    assert main(["plan", "own_nets:make", *size]) == 0
    assert main(["compress", "own_nets:make", "net", *size]) == 0
    assert "--allow-import" in capsys.readouterr().out
    assert main(["zoo", "own_nets:make"]) == 0
    assert main(["tune", "net", "--dry-run", "--seconds", "1"]) == 2
    assert "'own_nets:make'" in (err := capsys.readouterr().err) and "--allow-import" in err
    assert main(["tune", "net", "--dry-run", "--seconds", "1", "--allow-import"]) == 0
    assert sys.path == before


def test_create_model_compresses_a_network_of_ones_own(importable):
    model = nes_lab.create_model("own_nets:make", madds="75%", input_size=8, num_classes=7, routing="tiled", round_to=2)
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, 7)
    assert model.nes_lab_plan.predicted.madds <= 0.75 * model.nes_lab_plan.dense.madds
    with pytest.raises(BudgetError, match="params"):
        nes_lab.create_model("own_nets:make", input_size=8)


def test_from_pretrained_imports_only_what_the_user_allows(importable, tmp_path):
    net = nes_lab.create_backbone("own_nets:make", num_classes=4)
    nes_lab.save_pretrained(net, tmp_path / "net")
    del sys.modules["own_nets"]
    with pytest.raises(CheckpointError, match="allow_import=True"):
        from_pretrained(tmp_path / "net")
    assert "own_nets" not in sys.modules
    other = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 4)
    )
    for again in (from_pretrained(tmp_path / "net", model=other), from_pretrained(tmp_path / "net", allow_import=True)):
        torch.testing.assert_close(again[0].weight, net[0].weight, rtol=0, atol=0)  # the same bits
