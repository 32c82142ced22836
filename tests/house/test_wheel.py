"""The wheel alone, in a clean environment with the oldest core dependencies that it accepts, used from another project."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.house.tree import ROOT, files

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OTHER_PROJECT = """
import torch
from torch import nn

import nes_lab
from nes_lab import EpitomeConv2d

net = nn.Sequential(
    EpitomeConv2d(3, 16, 3, epitome_shape=(8, 3, 3, 3), patch_channels=(8, 3), padding=1),
    nn.ReLU(),
    nn.Flatten(),
    nn.LazyLinear(4),
)
images = torch.randn(2, 3, 8, 8)
net(images)
optimizer = torch.optim.AdamW(net.parameters())
loss = net(images).square().mean()
loss.backward()
before = net[0].epitome.detach().clone()
optimizer.step()
assert not torch.equal(net[0].epitome, before), "one training step changes the epitome"
weight = net[0].materialize()
assert tuple(weight.shape) == (16, 3, 3, 3)
expected = nn.functional.conv2d(images, weight, net[0].bias, padding=1)
torch.testing.assert_close(net[0](images), expected, rtol=1e-5, atol=1e-5)  # float32, sums of 27 products
print("used", nes_lab.__file__, "with torch", torch.__version__)
"""
ABSENT = "import importlib.util as u; print([n for n in {names!r} if u.find_spec(n)])"
EXTRAS_ONLY = ["timm", "torchvision", "plotly", "streamlit", "sklearn", "captum", "jupyterlab", "pytest"]


def run(*command: str | Path, cwd: Path) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV", "NES_LAB_HOME"}}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=clean, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tree (a build leaves nothing in the repository)."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in files():
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source, cwd=out)
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a clean environment that holds the wheel and the lowest core dependencies of pyproject.toml."""
    home = tmp_path_factory.mktemp("clean")
    # uv takes the lowest version of requirements that it is given by name, and the newest of any other
    oldest = ["--resolution", "lowest-direct", *PYPROJECT["project"]["dependencies"]]
    yield install(wheel, home, sys.executable, *oldest)
    shutil.rmtree(home)  # several GB; pytest would keep the last three


def install(wheel: Path, home: Path, interpreter: str, *options: str | Path) -> Path:
    """Install the wheel in a new environment, and return the environment's bin folder."""
    uv = [sys.executable, "-m", "uv", "--quiet"]
    run(*uv, "venv", "--python", interpreter, home / "venv", cwd=home)
    python = home / "venv" / "bin" / "python"
    run(*uv, "pip", "install", "--python", python, wheel, *options, cwd=home)
    return python.parent


def test_the_wheel_holds_the_library_and_its_types(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"nes_lab"}
    assert "nes_lab/py.typed" in names and any(name.endswith("licenses/LICENSE") for name in names)
    there = {path.relative_to(ROOT).as_posix() for path in files() if path.is_relative_to(ROOT / "nes_lab")}
    assert {name for name in names if name.startswith("nes_lab/")} == there


def test_core_dependencies_only(installed, tmp_path):
    assert run(installed / "python", "-c", ABSENT.format(names=EXTRAS_ONLY), cwd=tmp_path).strip() == "[]"


def test_a_layer_trains_a_step_in_another_project_with_the_lowest_torch(installed, tmp_path):
    [torch] = [Requirement(text) for text in PYPROJECT["project"]["dependencies"] if text.startswith("torch>")]
    [lowest] = [limit.version for limit in torch.specifier if limit.operator == ">="]
    printed = use_in_another_project(installed, tmp_path)
    assert printed.startswith(f"used {installed.parent}") and f"with torch {lowest}" in printed, printed


def test_a_layer_trains_a_step_on_python_3_13(wheel, tmp_path):
    found = subprocess.run(
        [sys.executable, "-m", "uv", "python", "find", "--no-python-downloads", "3.13"], capture_output=True, text=True
    )
    if found.returncode:
        pytest.skip("there is no Python 3.13 on this machine")
    bin_folder = install(wheel, tmp_path, found.stdout.strip(), "-c", ROOT / "constraints.txt")
    try:
        assert "with torch" in use_in_another_project(bin_folder, tmp_path)
    finally:
        shutil.rmtree(tmp_path / "venv")


def use_in_another_project(bin_folder: Path, tmp_path: Path) -> str:
    project = tmp_path / "another project"
    project.mkdir()
    (project / "main.py").write_text(OTHER_PROJECT)
    return run(bin_folder / "python", "main.py", cwd=project)


def test_the_command_says_what_it_can_do(installed, tmp_path):
    printed = run(installed / "nes-lab", "--help", cwd=tmp_path)
    for verb in ("demo", "plan", "train", "resume", "runs", "report"):
        assert verb in printed


def test_a_verb_that_needs_an_extra_says_which(installed, tmp_path):
    command = [str(installed / "nes-lab"), "plan", "mobilenetv2_100", "--params", "50%", "--input", "3", "224", "224"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "train" in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_every_public_name_loads_without_extras(installed, tmp_path):
    code = "import nes_lab; [getattr(nes_lab, name) for name in nes_lab.__all__]; print('ok')"
    assert run(installed / "python", "-c", code, cwd=tmp_path).strip() == "ok"
