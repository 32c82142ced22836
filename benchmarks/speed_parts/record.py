"""The result file: facts about the machine, and the rows of each finished job, written as soon as it ends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.speed_parts.timing import Times
from nes_lab.runs.replace import write_target

__all__ = ["Record", "compare", "row", "version_of"]

Row = dict[str, Any]


def row(case: str, contender: str, baseline: str, ratio: float, **more: Any) -> Row:
    """Return one measured comparison; ``met`` follows from ``target`` and ``at_least``.

    Args:
        case: Short description of what was measured.
        contender: Name of the network, layer or call that was measured.
        baseline: Name of what its time is divided by.
        ratio: Time (or memory) of the contender divided by the baseline's; for expansions, the share of a copy's bandwidth.
        **more: ``key`` and ``target`` if a target applies, ``floor``, ``median_ms``, ``madd_ratio`` and others.
    """
    target = more.get("target")
    met = None if target is None else (ratio >= target if more.get("at_least") else ratio <= target)
    values = {"case": case, "contender": contender, "baseline": baseline, "ratio": ratio, **more, "met": met}
    return {key: _short(value) for key, value in values.items()}


def compare(times: Times, contender: str, baseline: str, case: str, **more: Any) -> Row:
    """Return the row of a contender and a baseline that were timed in turns."""
    return row(
        case,
        contender,
        baseline,
        times.ratio(contender, baseline),
        median_ms=times.median(contender),
        p90_ms=times.p90(contender),
        baseline_ms=times.median(baseline),
        pairs=times.pairs,
        **more,
    )


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def version_of(package: str) -> str | None:
    """Return the version of an installed package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@dataclass
class Record:
    """A result file.

    Args:
        path: Path of the file.
        facts: Names, versions and settings of the machine and the software.
        jobs: For each job's name, its date, commit, seconds and rows, or the reason why it was skipped.
    """

    path: Path
    facts: dict[str, Any]
    jobs: dict[str, dict[str, Any]]

    @classmethod
    def begin(cls, path: Path, facts: dict[str, Any], keep: bool) -> Record:
        """Start a new file, or continue one and keep its jobs.

        Raises:
            SystemExit: If the jobs to keep were measured with another machine, torch or setting.
        """
        jobs = {}
        if keep and path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))
            jobs = before["jobs"]
            changed = [
                k for k in ("device", "threads", "torch", "allocator", "quick") if before["facts"][k] != facts[k]
            ]
            if changed:
                raise SystemExit(
                    f"{path.name} was measured with another {', '.join(changed)}; run it without --resume to start again"
                )
        return cls(path, facts, jobs)

    def add(self, name: str, seconds: float, commit: str, rows: list[Row], skipped: str | None = None) -> None:
        """Store the rows of a job, or the reason why it was skipped, and write the file."""
        when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        self.jobs[name] = {
            "seconds": round(seconds, 1),
            "date": when,
            "commit": commit,
            "skipped": skipped,
            "rows": rows,
        }
        self.write()

    def write(self) -> None:
        """Write a new file and rename it, so that a killed process leaves a complete one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_target(self.path, json.dumps({"facts": self.facts, "jobs": self.jobs}, indent=1) + "\n")
