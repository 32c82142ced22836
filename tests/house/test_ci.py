"""The continuous-integration script, with stubs for make, apt-get and pytest: order, exit status, last line."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.house.tree import ROOT

STUBS = {
    "make": """echo "make $1 CI=$CI"
case "$1" in
    lint) exit ${LINT:-0};;
    test) exit ${FAST:-0};;
    test-slow) echo "== 3 passed in 1 s =="; [ "${SLOW:-0}" = 0 ] || { echo "make: Error" >&2; exit 2; };;
esac""",
    "apt-get": 'echo "apt-get $*"',
    "python3": "exit ${NO_VENV:-0}",
    "git": "",
    "chromium": "",
}


def script(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def ci(tmp_path):
    """Run .ci/run in a folder of stubs; keyword arguments are the stubs' exit statuses."""
    for name, body in STUBS.items():
        script(tmp_path / "bin" / name, body)
    for name in ("bash", "cat", "dirname", "mktemp", "rm", "tail", "tee"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    script(tmp_path / ".ci/setup", "exit ${SETUP:-0}")
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")

    def run(**status: int) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if k != "CI"}
        env = {**clean, "PATH": str(tmp_path / "bin"), **{k: str(v) for k, v in status.items()}}
        return subprocess.run([tmp_path / ".ci/run"], env=env, capture_output=True, text=True, timeout=30)

    return run


def test_all_green(ci):
    done = ci()
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "== 3 passed in 1 s ==", "pytest's summary is the last line"
    order = [lines.index(f"make {target} CI=true") for target in ("lint", "test", "test-slow")]
    assert order == sorted(order)
    assert re.match(r"== minutes: set-up \d+:\d\d, lint .*, slow tests .*, total \d+:\d\d", lines[-2])


@pytest.mark.parametrize(("part", "name"), [("LINT", "lint"), ("FAST", "fast and browser tests")])
def test_a_failure_does_not_hide_the_rest_and_is_not_forgotten(ci, part, name):
    done = ci(**{part: 2})
    assert done.returncode != 0
    assert f"== failed so far: {name}" in done.stdout
    assert done.stdout.splitlines()[-1] == "== 3 passed in 1 s =="


@pytest.mark.parametrize("status", [1, 5])
def test_failing_or_missing_slow_tests_are_a_failure(ci, status):
    assert ci(SLOW=status).returncode != 0


def test_a_failed_set_up_ends_it(ci):
    done = ci(SETUP=1)
    assert done.returncode != 0
    assert "make" not in done.stdout


def test_apt_brings_what_is_missing(ci):
    done = ci(NO_VENV=1)
    assert done.returncode == 0
    assert "apt-get install" in done.stdout
    assert "python3-venv chromium fonts-dejavu-core" in done.stdout
