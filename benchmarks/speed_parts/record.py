"""The result file: facts of the machine, and the rows of each finished job, written as soon as it ends."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.speed_parts.timing import Times

__all__ = ["Record", "compare", "row", "version_of"]

Row = dict[str, Any]


def row(case: str, contender: str, baseline: str, ratio: float, **more: Any) -> Row:
    """One measured comparison; ``met`` follows from ``target`` and ``at_least``.

    Args:
        case: What was measured, in words.
        contender: What is judged.
        baseline: What it is divided by.
        ratio: Time (or memory) of the contender over the baseline's; a share of bandwidth for expansions.
        **more: ``key`` and ``target`` where a target applies, ``floor``, ``median_ms``, ``madd_ratio`` and what else is known.
    """
    target = more.get("target")
    met = None if target is None else (ratio >= target if more.get("at_least") else ratio <= target)
    found = {"case": case, "contender": contender, "baseline": baseline, "ratio": ratio, **more, "met": met}
    return {key: _short(value) for key, value in found.items()}


def compare(times: Times, contender: str, baseline: str, case: str, **more: Any) -> Row:
    """A row of two contenders that took turns."""
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
    """Version of an installed distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@dataclass
class Record:
    """A result file.

    Args:
        path: Where it is.
        facts: Of the machine, the software and the settings.
        jobs: By name: when, at which commit, how long, and the rows, or why it was skipped.
    """

    path: Path
    facts: dict[str, Any]
    jobs: dict[str, dict[str, Any]]

    @classmethod
    def begin(cls, path: Path, facts: dict[str, Any], keep: bool) -> Record:
        """A new file, or one that goes on with the jobs that stand in it.

        Raises:
            SystemExit: If jobs were to be kept that another machine, torch or setting measured.
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
                    f"{path.name} was measured with another {', '.join(changed)}; begin anew, without --resume"
                )
        return cls(path, facts, jobs)

    def add(self, name: str, seconds: float, commit: str, rows: list[Row], skipped: str | None = None) -> None:
        """Keep what a job measured, or why it could not."""
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
        """Replace the file at once, so that a killed run leaves a whole one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({"facts": self.facts, "jobs": self.jobs}, indent=1) + "\n", encoding="utf-8")
        os.replace(fresh, self.path)
