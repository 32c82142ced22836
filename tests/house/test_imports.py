"""Who may import whom, and what an import may cost: in interpreters of their own."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT

HEAVY = ("torch", "torchvision", "timm", "plotly", "streamlit", "captum", "pydantic", "tyro")
LIGHT = (
    "after_import",
    "errors",
    "text",
    "renamed",
    "import_spec",
    "packages",
    "progress_bar",
    "geometry",
    "records",
    "config",
    "recipes",
    "runs",
    "figures",
)


def python(code: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(cwd)}
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def lint_imports(cwd: Path) -> subprocess.CompletedProcess[str]:
    return python("from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])", cwd)


def loaded(code: str, names: tuple[str, ...]) -> list[str]:
    """Run ``code`` in a fresh interpreter; which of ``names`` are imported afterwards?"""
    done = python(f"{code}\nimport sys\nprint('loaded:', *[n for n in {names!r} if n in sys.modules])")
    assert done.returncode == 0, done.stderr
    return done.stdout.rsplit("loaded:", 1)[1].split()


def modules_of(name: str) -> list[str]:
    """``nes_lab.name`` and every module below it."""
    package = ROOT / "nes_lab" / name
    below = [path for path in package.rglob("*.py") if path.name != "__main__.py"] if package.is_dir() else []
    dotted = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in below}
    return sorted(dotted | {f"nes_lab.{name}"})


def test_import_directions_hold():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("nes_lab/errors.py", "import nes_lab.geometry.start_rules", "Imports point downwards"),
        ("nes_lab/unplaced/__init__.py", "", "Imports point downwards"),
        ("nes_lab/epitome/extra.py", "import plotly.graph_objects", "plotly is imported in figures and widgets only"),
        ("nes_lab/nn/extra.py", "def f():\n    import timm", "timm and torchvision are imported in"),
        ("nes_lab/planning/extra.py", "from pydantic import BaseModel", "pydantic is imported in"),
        ("nes_lab/cost/extra.py", "import streamlit", "streamlit belongs to app/"),
        ("nes_lab/cost/extra.py", "import captum.attr", "captum is imported in attribution only"),
    ],
)
def test_a_wrong_import_breaks_its_contract(tmp_path, module, line, contract):
    shutil.copytree(ROOT / "nes_lab", tmp_path / "nes_lab", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    changed = tmp_path / module
    changed.parent.mkdir(exist_ok=True)
    (changed.parent / "__init__.py").touch()
    changed.write_text((changed.read_text() if changed.exists() else "") + f"\n{line}\n")
    done = lint_imports(tmp_path)
    broken = [text for text in done.stdout.splitlines() if "BROKEN" in text]
    assert done.returncode == 1 and any(contract in text for text in broken), done.stdout + done.stderr


LIGHT_MODULES = [module for name in LIGHT for module in modules_of(name)]
EACH_ALONE = """
import os, sys
for name in {names!r}:
    sys.stdout.flush()
    if os.fork() == 0:  # a fresh process: nothing but this loop was imported before
        __import__(name)
        heavy = [n for n in {heavy!r} if n in sys.modules]
        heavy += [n for n in sys.modules if n.startswith("nes_lab.") and n.split(".")[1] not in {light!r}]
        print(name, "imports", *heavy) if heavy else None
        sys.stdout.flush()
        os._exit(0)
    if os.wait()[1]:
        print(name, "does not import")
print("done")
"""


def alone(names: list[str]) -> list[str]:
    """Import each module in a process of its own; return complaints."""
    done = python(EACH_ALONE.format(names=names, heavy=("torch", "timm", "torchvision"), light=LIGHT))
    *complaints, last = done.stdout.splitlines()
    assert last == "done", done.stderr
    return complaints


@pytest.mark.slow
def test_each_module_of_the_light_wing_imports_no_torch():
    assert len(LIGHT_MODULES) > 60
    assert not alone(LIGHT_MODULES), "the app's process and `nes-lab runs` use these and must start fast"


def test_a_heavy_module_would_be_noticed():
    assert alone(["nes_lab.errors", "nes_lab.nn.linear"])[0].startswith("nes_lab.nn.linear imports torch")


def test_importing_nes_lab_imports_nothing_heavy():
    assert loaded("import nes_lab", HEAVY) == []


def test_the_public_names_are_listed_and_load():
    names = "import nes_lab; assert nes_lab.__all__; assert set(nes_lab.__all__) <= set(dir(nes_lab))\n"
    load = "for name in nes_lab.__all__: getattr(nes_lab, name)"
    assert loaded(names + load, ("streamlit", "captum", "plotly")) == []


def test_an_unknown_public_name_is_an_attribute_error():
    done = python("import nes_lab\ntry: nes_lab.Epitom\nexcept AttributeError as e: print('ok', e)")
    assert done.stdout.startswith("ok") and "Epitom" in done.stdout, done.stderr


def app_imports() -> list[str]:
    """The nes_lab modules that app/ imports when its files are loaded (not those inside functions)."""
    found = set()
    for path in (ROOT / "app").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names if alias.name.startswith("nes_lab.")}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nes_lab"):
                found |= {f"from {node.module} import {alias.name}" for alias in node.names}
    return sorted(line if line.startswith("from") else f"import {line}" for line in found)


def test_what_app_imports_at_its_top_brings_no_torch():
    lines = app_imports()
    assert lines, "app/ imports nothing of nes_lab: has it moved?"
    assert loaded("\n".join(lines), ("torch", "timm", "torchvision", "captum")) == []


def test_every_folder_of_the_library_is_a_package():
    bare = {path.parent for path in (ROOT / "nes_lab").rglob("*.py") if not (path.parent / "__init__.py").exists()}
    assert not bare, f"without __init__.py the import contracts do not see: {sorted(map(str, bare))}"


def test_types_are_shipped():
    assert (ROOT / "nes_lab" / "py.typed").is_file()
