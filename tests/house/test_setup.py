"""The set-up script, driven with a stub Python: what it says when something is missing, and when it rebuilds."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.house.tree import ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the set-up is a bash script")

# One script plays both the base interpreter and the one inside .venv. STUB_* variables say how it behaves.
STUB = r"""#!/bin/bash
echo "$(basename "$0") $*" >>"$STUB_LOG"
case "$*" in
    *'"%d.%d"'*) echo "${STUB_VERSION:-3.11}" ;;
    *'sys.version_info < (3, 11)'*) [ "${STUB_VERSION:-3.11}" != 3.9 ] ;;
    *ensurepip*) [ -z "${STUB_NO_ENSUREPIP:-}" ] ;;
    "-m venv "*)
        mkdir -p "$3/bin"
        cp "$0" "$3/bin/python"
        echo "VIRTUAL_ENV=$PWD/$3" >"$3/bin/activate"
        ;;
    "-m pip install"*) cp "$0" "$(dirname "$0")/uv" ;;
    "pip install"*) [ -z "${STUB_FAIL:-}" ] && cp "$0" "$(dirname "$0")/nes-lab" ;;
esac
"""


class Place:
    """A clone as the script sees it, on a PATH where python3 is the stub."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "clone"
        self.log = folder / "log"
        self.bin = folder / "bin"
        (self.root / ".ci").mkdir(parents=True)
        self.bin.mkdir()
        for name in ("pyproject.toml", "constraints.txt", ".ci/setup"):
            shutil.copy(ROOT / name, self.root / name)
        (self.bin / "python3").write_text(STUB)
        (self.bin / "python3").chmod(0o755)
        tools = "bash basename cat cksum cp dirname flock grep mkdir mv rm sed"
        for tool in tools.split():
            if where := shutil.which(tool):
                (self.bin / tool).symlink_to(where)

    def setup(self, **env: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        keep = {k: v for k, v in os.environ.items() if k not in {"PYTHON", "TORCH_BACKEND"}}
        env = {**keep, "PATH": str(self.bin), "STUB_LOG": str(self.log), **env}
        return subprocess.run([self.root / ".ci/setup"], env=env, capture_output=True, text=True, timeout=30)

    @property
    def built(self) -> bool:
        return "-m venv" in self.log.read_text()

    @property
    def installed(self) -> bool:
        return "uv pip install" in self.log.read_text()

    @property
    def stamped(self) -> bool:
        return (self.root / ".venv/.setup-stamp").exists()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def ready(place: Place) -> Place:
    done = place.setup()
    assert done.returncode == 0 and place.built and place.installed and place.stamped, done.stderr
    return place


def test_a_second_call_does_nothing(ready):
    done = ready.setup()
    assert done.returncode == 0 and done.stdout == "" and not ready.built and not ready.installed


def test_uv_goes_into_the_venv_and_the_constraints_apply(ready):
    log = ready.log.read_text()
    assert "python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv" in log
    assert "-c constraints.txt -e .[train,app,notebooks,explain,site,export,sweep,cluster,dev]" in log
    assert "--torch-backend" not in log


def test_without_venv_the_message_names_the_package(place):
    done = place.setup(STUB_NO_ENSUREPIP="1")
    assert done.returncode == 1 and "apt-get install python3-venv" in done.stderr
    assert not (place.root / ".venv").exists()


def test_an_old_python_is_named_with_what_is_needed(place):
    done = place.setup(STUB_VERSION="3.9")
    assert done.returncode == 1 and "Python 3.11 or newer is needed" in done.stderr and "python3 (3.9)" in done.stderr


def test_no_python_at_all_is_said(place):
    (place.bin / "python3").unlink()
    done = place.setup()
    assert done.returncode == 1 and "found: none" in done.stderr


def test_a_newer_python_beside_an_old_one_is_found(place):
    (place.bin / "python3").rename(place.bin / "python3.12")
    (place.bin / "python3").write_text("#!/bin/bash\nexit 1\n")
    (place.bin / "python3").chmod(0o755)
    done = place.setup(STUB_VERSION="3.12")
    assert done.returncode == 0 and "with python3.12 (3.12)" in done.stdout, done.stderr


def test_a_failed_install_leaves_no_stamp_and_the_next_call_starts_anew(place):
    done = place.setup(STUB_FAIL="1")
    assert done.returncode == 1 and "could not be installed" in done.stderr and not place.stamped
    done = place.setup()
    assert done.returncode == 0 and "was interrupted" in done.stdout and place.built and place.stamped


def test_a_changed_pin_installs_again_without_rebuilding(ready):
    with (ready.root / "constraints.txt").open("a") as pins:
        pins.write("something==1.0\n")
    assert ready.setup().returncode == 0
    assert ready.installed and not ready.built and ready.stamped
    assert ready.setup().stdout == ""


def test_an_install_that_fails_after_a_change_takes_the_old_stamp_away(ready):
    (ready.root / "constraints.txt").write_text("something==1.0\n")
    assert ready.setup(STUB_FAIL="1").returncode == 1
    assert not ready.stamped


def test_a_moved_clone_is_rebuilt(ready):
    moved = ready.root.with_name("moved clone")
    ready.root = ready.root.rename(moved)
    done = ready.setup()
    assert done.returncode == 0 and "it was built in" in done.stdout and ready.built
    assert ready.setup().stdout == ""


def test_a_broken_python_is_rebuilt(ready):
    (ready.root / ".venv/bin/python").unlink()
    done = ready.setup()
    assert done.returncode == 0 and "its python does not run" in done.stdout and ready.built


def test_a_base_python_that_changed_under_the_venv_is_rebuilt(ready):
    done = ready.setup(STUB_VERSION="3.12")
    assert done.returncode == 0 and "changed from 3.11 to 3.12" in done.stdout and ready.built


def test_a_lost_console_script_installs_again(ready):
    (ready.root / ".venv/bin/nes-lab").unlink()
    assert ready.setup().returncode == 0
    assert ready.installed and not ready.built


def test_the_torch_backend_is_passed_on_and_remembered(ready):
    done = ready.setup(TORCH_BACKEND="cpu")
    assert "TORCH_BACKEND changed to cpu" in done.stdout
    assert "--torch-backend cpu" in ready.log.read_text()
    assert ready.setup().stdout == "", "without the variable the choice stays"


def test_a_venv_made_by_hand_is_kept_if_it_belongs_here(ready):
    (ready.root / ".venv/.setup-stamp").unlink()
    assert ready.setup().returncode == 0
    assert ready.installed and not ready.built
    (ready.root / ".venv/.setup-stamp").unlink()
    (ready.root / ".venv/bin/activate").write_text("VIRTUAL_ENV=/elsewhere/.venv\n")
    done = ready.setup()
    assert done.returncode == 0 and "it was not built here" in done.stdout and ready.built


@pytest.mark.parametrize("wish", ["", "1"])
def test_packages_are_compiled_at_once_where_python_would_do_it_in_every_process(place: Place, wish: str) -> None:
    place.setup(PYTHONDONTWRITEBYTECODE=wish)
    assert place.installed and ("--compile-bytecode" in place.log.read_text()) == bool(wish)
