"""For every test: a GPU test skips aloud, a browser test may not skip in CI, and none leaves a process behind.

The terminal summary says how many minutes of tests each share of the CI time took.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

# Tests are many tiny operations: one thread runs them several times faster than two that wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

GRACE_SECONDS = 20.0  # for a process that has been told to stop
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip (or fail) a marked test that cannot run here, with the reason and the cure."""
    if item.get_closest_marker("gpu") and not _has_gpu():
        pytest.skip("needs a CUDA device; torch sees none on this machine")
    if item.get_closest_marker("browser") and not any(map(shutil.which, BROWSERS)):
        missing = "needs Chromium on PATH; on Debian, as root: apt-get install chromium"
        if _in_ci():
            pytest.fail(f"browser test {missing} (with CI=true this is a failure, not a skip)", pytrace=False)
        pytest.skip(missing)


def _processes_in(folder: Path) -> dict[int, str]:
    """Find living processes whose command line names the folder: trainings, keepers, servers."""
    name, found = re.compile(re.escape(os.fsencode(folder)) + rb"(?![\w-])"), {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if name.search(words) and int(entry.name) != os.getpid():  # a zombie has no command line
            found[int(entry.name)] = words.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


@pytest.fixture(autouse=True)
def _nothing_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves processes behind: they would take the cores of all tests after it."""
    yield
    folder = request.node.funcargs.get("tmp_path") if hasattr(request.node, "funcargs") else None
    if folder is None:
        return
    end = time.monotonic() + GRACE_SECONDS
    while (left := _processes_in(folder)) and time.monotonic() < end:
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    if left:
        pytest.fail("still running after the test: " + "; ".join(left.values()), pytrace=False)


SHARES = {  # folder of tests -> the share of CI time it counts in; all others are "what stands"
    "app": "dashboard",
    "notebooks": "notebooks and site",
    "widgets": "notebooks and site",
    "benchmarks": "evidence",
}


def minutes_by_share(durations: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Add up seconds of tests into minutes per share, largest first.

    Examples:
        >>> minutes_by_share([("tests/app/test_views.py::test_a", 30.0), ("tests/nn/test_conv.py::test_b", 90.0)])
        {'what stands': 1.5, 'dashboard': 0.5}
    """
    minutes: Counter[str] = Counter()
    for node, seconds in durations:
        folder = node.removeprefix("tests/").split("/")[0]
        minutes[SHARES.get(folder, "what stands")] += seconds / 60
    return dict(minutes.most_common())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the minutes per share, before pytest's own last line."""
    reports = [report for group in terminalreporter.stats.values() for report in group]
    timed = [(report.nodeid, report.duration) for report in reports if isinstance(report, pytest.TestReport)]
    spent = ", ".join(f"{share} {minutes:.1f}" for share, minutes in minutes_by_share(timed).items())
    if spent:
        terminalreporter.write_line(f"minutes of tests per share: {spent}")
