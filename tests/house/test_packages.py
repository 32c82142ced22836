"""Where a package of an extra is missing, the core works, and everything else says which extra brings the package."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib

import pytest

from nes_lab.packages import PACKAGES
from tests.house.tree import ROOT

HIDE = """
import sys

class Hide:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else self.finder.find_spec(name, path, target)

HIDDEN = set(sys.argv[1].split(","))
sys.meta_path[:] = [Hide(finder) for finder in sys.meta_path]
"""

WALK = """
import importlib, json, pkgutil
import nes_lab
from nes_lab.errors import MissingPackageError

def outcome(call):
    try:
        call()
        return "works"
    except MissingPackageError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def load(name):
    return outcome(lambda: importlib.import_module(name))

names = {f"nes_lab.{name}": outcome(lambda: getattr(nes_lab, name)) for name in nes_lab.__all__}
files = [m.name for m in pkgutil.walk_packages(nes_lab.__path__, "nes_lab.", onerror=lambda _: None)]
files += [f"{room}.{m.name}" for room in ("nes_lab.figures", "nes_lab.config", "nes_lab.widgets", "nes_lab.attribution")
          for m in pkgutil.iter_modules([nes_lab.__path__[0] + "/" + room.partition(".")[2]])]
skip = ("nes_lab.epitome.triton_", "nes_lab.cli.")  # for Triton, the GPU tests; the command line catches errors itself
modules = {name: load(name) for name in files if not name.startswith(skip)}
"""

CALLS = """
import tempfile
from pathlib import Path
import torch
from torch import nn

from nes_lab.training.loop import Trainer
from nes_lab.training.recipe import Recipe

folder = Path(tempfile.mkdtemp())
pairs = torch.utils.data.TensorDataset(torch.zeros(8, 1, 4, 4), torch.zeros(8).long())
load_config = lambda tree: importlib.import_module("nes_lab.config").load_config(tree)
train = lambda: Trainer(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), (pairs, pairs), Recipe(epochs=1, batch_size=4, lr=0.1)).fit()
calls = {
    "create_backbone": outcome(lambda: nes_lab.create_backbone("resnet18")),
    "create_model": outcome(lambda: nes_lab.create_model("nes_resnet18")),
    "check_data": outcome(lambda: nes_lab.check_data(load_config({"data": {"name": "imagenette"}}).data)),
    "export_onnx": outcome(lambda: nes_lab.export_onnx(nn.Linear(4, 3), torch.zeros(1, 4), folder / "net.onnx")),
    "push_to_hub": outcome(lambda: nes_lab.push_to_hub(nn.Linear(4, 3), "user/repository")),
    "digits": outcome(lambda: importlib.import_module("nes_lab.datasets.digits").load_digits()),
    "train": outcome(train),
}
"""

CORE = """
import warnings
warnings.simplefilter("ignore")

def core():
    net, x = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16)), torch.randn(4, 8, 6, 6)
    plan = nes_lab.plan_for_budget(net, nes_lab.Budget(params="60%"), x, routing="free", patch_channels=4)
    small, report = nes_lab.fit(net, plan, search_starts=True, norms=[x])
    small = nes_lab.compress(net, madds="60%", example_input=x)
    str(plan), plan._repr_html_(), str(report), str(nes_lab.count(small, x))
    nes_lab.save_pretrained(small, folder / "small")
    again = nes_lab.from_pretrained(folder / "small", model=net)
    assert torch.equal(again.eval()(x), small.eval()(x))
    nes_lab.tune(small, x, seconds=0.2)
    nes_lab.export_torch(nes_lab.materialize(small), x, folder / "net.pt2")
    nes_lab.create_backbone("small_mobilenetv2")

calls["core"] = outcome(core)
print(json.dumps({"names": names, "modules": modules, "calls": calls}))
"""

EXTRAS = sorted(name for name, (_, extra) in PACKAGES.items() if extra)


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [EXTRAS, [*EXTRAS, "pydantic", "pydantic_core"]], ids=["extras", "pydantic too"])
def test_packages_that_are_missing_are_named(hidden: list[str]):
    code = HIDE + WALK + CALLS + CORE
    run = subprocess.run(
        [sys.executable, "-c", code, ",".join(hidden)], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["calls"].pop("core") == "works"
    hint = re.compile(r".+ needs \S+, which is not installed; install it with: pip install '(nes-lab\[\w+\]|pydantic)'")
    silent = {where: text for kind in found.values() for where, text in kind.items() if text != "works"}
    assert {where: text for where, text in silent.items() if not hint.fullmatch(text)} == {}
    assert {name: text for name, text in found["calls"].items() if text == "works"} == {}
    assert {f"nes_lab.figures.{path.stem}" for path in (ROOT / "nes_lab/figures").glob("[a-z]*.py")} <= silent.keys()


def test_packages_are_those_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    brings = {"": project["dependencies"], **project["optional-dependencies"]}
    for module, (package, extra) in PACKAGES.items():
        names = [re.split(r"[\[><=]", line)[0] for line in brings[extra]]
        assert package in names, f"{module}: the extra {extra!r} does not bring {package}"
