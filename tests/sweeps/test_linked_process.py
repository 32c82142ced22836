"""A training that is tied to its parent: it ends when the parent is killed, and never begins without one."""

import os
import subprocess
import sys

import psutil
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
PARENT = """
import os, subprocess, sys, time
words = ["-m", "nes_lab.sweeps.linked_process", sys.argv[1] if len(sys.argv) > 1 else str(os.getpid()), "_run", "x"]
child = subprocess.Popen([sys.executable, *words], start_new_session=True)
print(child.pid, flush=True)
sys.exit(child.wait())
"""
WAIT = "import sys, time\nif 'nes_lab.cli' in sys.orig_argv: print('up', flush=True); time.sleep(60)"


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WAIT)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()])}


def test_it_ends_with_its_parent(environment):
    words = [sys.executable, "-c", PARENT]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        assert parent.stdout.readline() == "up\n"  # it has become the training
        parent.kill()
        child.wait(10)


def test_it_does_not_begin_when_its_parent_is_gone(environment):
    environment.pop("PYTHONPATH")
    done = subprocess.run([sys.executable, "-c", PARENT, "1"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and "process 1 ended before its training began" in done.stderr
