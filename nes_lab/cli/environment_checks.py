"""Check what this machine has (Python, memory, disk, torch, GPUs, packages), and say how to get what is missing.

Tests: tests/cli/test_doctor.py
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

__all__ = ["Finding", "check_environment"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LEAST_DISK, LEAST_MEMORY, LEAST_PYTHON = 2 << 30, 2 << 30, (3, 11)
TORCH_SECONDS = 120
_TORCH = """
import json, torch
gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip,
    "threads": torch.get_num_threads(), "mps": torch.backends.mps.is_available(),
    "gpus": [f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in gpus]}))
"""
_EXTRA = re.compile(r"extra == ['\"]([a-z]+)['\"]")
_SKIPPED = ("all", "dev", "bench")


@dataclass(frozen=True)
class Finding:
    """Holds the result of one check of this machine.

    Attributes:
        part: Heading under which the check is listed: machine, runs, torch, tools or packages.
        name: What was checked.
        state: ``"ok"``, ``"note"`` (something optional is missing) or ``"missing"`` (something essential is missing).
        value: What the machine has, as text, such as the version of a package.
        advice: What the user should do; empty if nothing needs to be done.
    """

    part: str
    name: str
    state: str
    value: str
    advice: str = ""


def check_environment(root: Path) -> Iterator[Finding]:
    """Yield the results of all checks of this machine, the quick ones first.

    Args:
        root: Folder of all training runs, which is checked too.
    """
    yield from _machine()
    yield from _run_root(root)
    yield from _torch()
    yield from _tools()
    yield from _packages()


def _machine() -> Iterator[Finding]:
    is_new = sys.version_info >= LEAST_PYTHON
    oldest = ".".join(map(str, LEAST_PYTHON))
    advice = "" if is_new else f"install Python {oldest} or newer"
    yield Finding("machine", "python", "ok" if is_new else "missing", platform.python_version(), advice)
    try:
        yield Finding("machine", "nes-lab", "ok", version("nes-lab"))
    except PackageNotFoundError:
        yield Finding("machine", "nes-lab", "note", "not installed", "in its folder: pip install -e '.[train]'")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS")
    value = f"{cores} of {os.cpu_count()} usable" + (f", OMP_NUM_THREADS={threads}" if threads else "")
    yield Finding("machine", "cpu cores", "ok", value)
    memory = _memory()
    state = "ok" if memory >= LEAST_MEMORY else "note"
    advice = "" if state == "ok" else "train with small batches: data.batch_size"
    yield Finding("machine", "memory", state, f"{memory / 2**30:.1f} GiB", advice)


def _memory() -> int:
    """Return how many bytes of memory this process may use. If it runs in a container, the limit of the container is respected."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return memory


def _run_root(root: Path) -> Iterator[Finding]:
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    value = str(root) if place == root else f"{root} (will be created in {place})"
    cure = "set NES_LAB_HOME to a folder on a local disk that you can write to"
    problem = _why_unfit(place)
    yield Finding("runs", "run root", "missing" if problem else "ok", f"{value}{problem}", cure if problem else "")
    free = shutil.disk_usage(place).free
    state = "ok" if free >= LEAST_DISK else "note"
    advice = "" if state == "ok" else "free some: nes-lab rm --state failed,lost; or set NES_LAB_HOME to another disk"
    yield Finding("runs", "free disk", state, f"{free / 2**30:.1f} GiB", advice)


def _why_unfit(place: Path) -> str:
    """Return the reason why runs cannot be stored in a folder, or an empty text if they can.

    The check tries to write, lock, link and replace files in the folder.
    """
    trial = place / f".doctor-{os.getpid()}-{os.urandom(3).hex()}"
    other = trial.with_name(f"{trial.name}-2")
    what = "be written"
    try:
        with open(trial, "xb") as first, open(trial, "rb") as second:
            first.write(b"x")
            first.flush()
            os.fsync(first.fileno())
            what = "lock files (flock)"
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return ": its file system lets two processes hold the same file lock (flock)"
        what = "link files"
        os.link(trial, other)
        what = "replace files in one step"
        os.replace(other, trial)
    except OSError as error:
        return f": it cannot {what}: {error.strerror or error}"
    finally:
        for path in (trial, other):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    return ""


def _torch() -> Iterator[Finding]:
    """Check torch, and the GPUs that torch can use."""
    # A child process imports torch, because a broken build of torch can crash the process that imports it.
    cure = "pip install torch, in the build for this machine"
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TORCH], capture_output=True, text=True, timeout=TORCH_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding("torch", "torch", "missing", f"could not be imported: {error}", cure)
        return
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"its import ended with status {done.returncode}"])[-1]
        yield Finding("torch", "torch", "missing", last[:200], cure)
        return
    about = json.loads(done.stdout.splitlines()[-1])
    build = f"CUDA {about['cuda']}" if about["cuda"] else f"ROCm {about['hip']}" if about["hip"] else "CPU build"
    yield Finding("torch", "torch", "ok", f"{about['version']}, {build}, {about['threads']} threads")
    gpus = "; ".join(about["gpus"]) or ("Apple's (mps)" if about["mps"] else "")
    unused = not gpus and shutil.which("nvidia-smi") is not None
    advice = "nvidia-smi is installed, but torch sees no GPU: check the driver, and that torch is a CUDA build" * unused
    yield Finding("torch", "gpu", "note" if unused else "ok", gpus or "none; training uses the CPU", advice)


def _tools() -> Iterator[Finding]:
    browser = next(filter(None, map(shutil.which, BROWSERS)), "")
    advice = (
        ""
        if browser
        else "needed for figures as PNG and for browser tests; on Debian, as root: apt-get install chromium"
    )
    yield Finding("tools", "chromium", "ok" if browser else "note", browser or "not found", advice)


def _packages() -> Iterator[Finding]:
    """Check whether each required and each optional package of nes-lab is installed, in a version that works with nes-lab.

    Yield one result per package.
    """
    # A group is an extra. A package of several extras is listed under the first of them.
    try:
        lines = requires("nes-lab") or []
    except PackageNotFoundError:
        return
    seen: dict[str, tuple[Requirement, str | None]] = {}
    for requirement in map(Requirement, lines):
        extra = _EXTRA.search(str(requirement.marker))
        if requirement.name not in ("torch", "nes-lab") and not (extra and extra[1] in _SKIPPED):
            seen.setdefault(requirement.name, (requirement, extra[1] if extra else None))
    for requirement, extra in seen.values():
        yield _package(requirement, extra)


def _package(requirement: Requirement, extra: str | None) -> Finding:
    name, needed = requirement.name, str(requirement.specifier)
    package = f"nes-lab[{extra}]" if extra else "nes-lab"
    cure, lacking = f"pip install '{package}'", "note" if extra else "missing"
    part = f"packages: {extra or 'always needed'}"
    try:
        have = version(name)
    except PackageNotFoundError:
        return Finding(part, name, lacking, "not installed", cure)
    if not requirement.specifier.contains(have, prereleases=True):
        return Finding(part, name, lacking, f"{have} does not meet {needed}", f"pip install '{name}{needed}'")
    return Finding(part, name, "ok", have)
