"""pyproject.toml, constraints.txt and environment.yml say the same thing."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.house.tree import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["optional-dependencies"]
FLOOR = SpecifierSet(PROJECT["requires-python"])


def conda_pip_lines() -> list[str]:
    return next(entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict))


def extras_in(line: str) -> set[str]:
    return set(re.search(r"\[([a-z,]+)\]", line)[1].split(","))


def pins() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in CONSTRAINTS.splitlines():
        if line.strip():
            pin = Requirement(line)
            found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


def unmet(wanted: Requirement, pinned: dict[str, list[Requirement]]) -> str:
    """Why the pins do not answer a requirement; empty when they do."""
    known = pinned.get(canonicalize_name(wanted.name), [])
    if not known:
        return f"{wanted} has no pin"
    for pin in known:
        version = next(iter(pin.specifier)).version
        if not wanted.specifier.contains(version, prereleases=True):
            return f"{wanted} is not met by {pin}"
    return ""


ALL = [Requirement(text) for group in (PROJECT["dependencies"], *EXTRAS.values()) for text in group]
DEPENDENCIES = sorted({str(wanted): wanted for wanted in ALL if wanted.name != PROJECT["name"]}.items())


@pytest.mark.parametrize("wanted", [wanted for _, wanted in DEPENDENCIES], ids=lambda wanted: wanted.name)
def test_every_dependency_has_a_pin_that_satisfies_it(wanted):
    assert not unmet(wanted, pins())


def test_a_missing_or_older_pin_would_be_noticed():
    pinned = {"torch": [Requirement("torch==2.0.0")]}
    assert unmet(Requirement("torch>=2.11"), pinned) == "torch>=2.11 is not met by torch==2.0.0"
    assert unmet(Requirement("tyro>=1.0"), pinned) == "tyro>=1.0 has no pin"


def test_constraints_are_exact_pins_without_addresses():
    for name, lines in pins().items():
        for pin in lines:
            operators = [specifier.operator for specifier in pin.specifier]
            assert pin.url is None and operators == ["=="], f"{name}: {pin}"
    assert "://" not in CONSTRAINTS and not re.search(r"^\s*(-|#)", CONSTRAINTS, re.MULTILINE)


def test_the_extra_all_is_all_extras():
    [everything] = EXTRAS["all"]
    assert extras_in(everything) == set(EXTRAS) - {"all"}


def test_conda_takes_python_and_pip_from_conda_and_the_rest_through_pip():
    plain = [entry for entry in CONDA["dependencies"] if isinstance(entry, str)]
    assert [re.split(r"[<>=]", entry)[0] for entry in plain] == ["python", "pip"]
    assert CONDA["channels"][0] == "conda-forge" and "defaults" not in CONDA["channels"]
    assert CONDA["name"] == PROJECT["name"]


def test_conda_asks_for_the_same_python():
    [python] = [entry for entry in CONDA["dependencies"] if isinstance(entry, str) and entry.startswith("python")]
    assert SpecifierSet(python.removeprefix("python")) == FLOOR
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py311"
    assert PYPROJECT["tool"]["pyright"]["pythonVersion"] == "3.11"
    assert "3.11" in FLOOR and "3.10" not in FLOOR


def test_conda_uses_the_constraints_and_extras_that_setup_installs():
    pinned, project = conda_pip_lines()
    assert pinned == "-c constraints.txt" and (ROOT / "constraints.txt").is_file()
    assert project.startswith("-e .[")
    setup = (ROOT / ".ci" / "setup").read_text(encoding="utf-8")
    assert extras_in(project) == set(re.search(r"^EXTRAS=(.*)$", setup, re.MULTILINE)[1].split(","))
    assert extras_in(project) <= set(EXTRAS)


def test_uv_is_pinned_because_setup_installs_it_by_the_constraints():
    assert "uv" in pins()
