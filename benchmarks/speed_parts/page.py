"""docs/speed.md, made of the result file alone: the same file gives the same page."""

from __future__ import annotations

from typing import Any

from benchmarks.speed_parts.settings import RELU_MIB
from benchmarks.speed_parts.tables import (
    audio_table,
    compiled_table,
    expansion_table,
    factorized_table,
    gpu_table,
    layer_tables,
    memory_table,
    network_tables,
    training_table,
)
from benchmarks.speed_parts.targets import TARGETS, Target
from benchmarks.speed_parts.words import advice, named, rows_of, table

__all__ = ["page"]

Data = dict[str, Any]


def page(data: Data) -> str:
    """The whole page as Markdown.

    Args:
        data: The result file's contents.
    """
    sections = [
        _head(data),
        "## The targets\n\n" + _targets(data),
        "## What was missed\n\n" + _missed(data),
        "## When epitomes make a network faster, and when they only make it smaller\n\n" + advice(data),
        "## Whole networks, inference\n\n" + network_tables(data),
        "### Compiled\n\n" + compiled_table(data),
        "## Training steps\n\n" + training_table(data),
        "### Peak memory of a step\n\n" + memory_table(data),
        "## Single layers\n\n" + layer_tables(data),
        "### Beside factorized layers of equal params\n\n" + factorized_table(data),
        "### Long one-dimensional kernels with shared products\n\n" + audio_table(data),
        "## From epitome to weight\n\n" + expansion_table(data),
        "## GPU\n\n" + gpu_table(data),
        "## How this was measured\n\n" + _method(data),
    ]
    return "\n\n".join(part.strip() for part in sections) + "\n"


def _head(data: Data) -> str:
    f = data["facts"]
    quick = (
        "\n\n**Made with `--quick`: it shows that the script works. The numbers mean nothing.**" if f["quick"] else ""
    )
    gpu = f"; GPU: {f['gpu']}" if f["gpu"] else ""
    return (
        "# How fast: measured\n\n"
        "<!-- Written by benchmarks/speed.py from benchmarks/results/speed.json; do not edit. -->\n\n"
        "Times are ratios to a dense layer or network that took turns with the contender in one process. Everything is exact: an "
        "execution plan changes how a result is computed, never which.\n\n"
        f"{f['device']}, {f['cores']} cores, {f['threads']} used, {f['dtype']}, torch {f['torch']}{gpu}; commit "
        f"{', '.join(_commits(data))}; {f['date']}.{quick}"
    )


def _commits(data: Data) -> list[str]:
    return list(dict.fromkeys(job["commit"] for job in data["jobs"].values())) or [data["facts"]["commit"]]


def _targets(data: Data) -> str:
    lines = [(t.what, t.limit.replace("<=", "≤").replace(">=", "≥"), *_judged(t, data)) for t in TARGETS]
    return table(("what", "target", "measured", "met"), lines)


def _judged(target: Target, data: Data) -> tuple[str, str]:
    rows = [r for r in rows_of(data) if r.get("key") == target.key]
    if not rows:
        why = next((j["skipped"] for n, j in data["jobs"].items() if j["skipped"] and n.startswith(target.part)), None)
        return f"not measured: {why or 'not run yet'}", "–"
    met = sum(r["met"] for r in rows)
    verdict = "yes" if met == len(rows) else f"{met} of {len(rows)}" if met else "no"
    if len(rows) > 8:
        order = sorted(rows, key=lambda r: r["ratio"] / r["target"], reverse=not target.at_least)
        nearest, middle = order[0], sorted(r["ratio"] for r in rows)[len(rows) // 2]
        return f"median {middle:.2f}; farthest off: {nearest['ratio']:.2f} ({named(nearest)})", verdict
    return "; ".join(f"{r['ratio']:.2f} ({named(r)})" for r in rows), verdict


def _missed(data: Data) -> str:
    note = (
        "The floor is what a plan would take if folding and expanding cost no more than moving their bytes: the dense convolution of "
        "the epitome's own shape, and copies. Where the floor is above the target, the target is out of reach on this machine."
    )
    rows = [r for r in rows_of(data) if r["met"] is False]
    layers = [r for r in rows if r["part"] == "layers"]
    others = [r for r in rows if r["part"] != "layers"]
    parts = [note, _missed_layers(layers, data)]
    if others:
        lines = [
            (named(r), r["baseline"], f"{r['ratio']:.2f}", f"{r['target']:.2f}", _floor(r), _reading(r)) for r in others
        ]
        parts.append(table(("what", "against", "measured", "target", "floor", "reading"), lines))
    return "\n\n".join(part for part in parts if part) if rows else "Nothing that was measured."


def _missed_layers(missed: list[dict[str, Any]], data: Data) -> str:
    if not missed:
        return ""
    judged = sum(r["met"] is not None for r in rows_of(data, "layers"))
    barred = [r for r in missed if r["floor"] > r["target"]]
    over = sorted(r["ratio"] - r["target"] for r in missed)
    return (
        f"Single layers: {len(missed)} of {judged} missed, by {over[len(over) // 2]:.2f} in the median and {over[-1]:.2f} at most; for "
        f"{len(barred)} of them the floor itself is above the target. The table of single layers has each with its floor."
    )


def _floor(row: dict[str, Any]) -> str:
    return f"{row['floor']:.2f}" if row.get("floor") is not None else "–"


def _reading(row: dict[str, Any]) -> str:
    floor = row.get("floor")
    if floor is None:
        return f"off by {abs(row['ratio'] - row['target']):.2f}"
    if floor > row["target"]:
        return f"out of reach: the floor is {floor - row['target']:.2f} above the target"
    return f"within reach: {row['ratio'] - floor:.2f} above the floor"


def _method(data: Data) -> str:
    f = data["facts"]
    seconds = sum(job["seconds"] for job in data["jobs"].values())
    packages = ", ".join(f"{name} {v}" for name, v in f["versions"].items() if v)
    allocator = " ".join(f"{key}={value}" for key, value in f["allocator"].items())
    return (
        "`make bench` runs it all; `.venv/bin/python benchmarks/speed.py` this page alone (`--list`, `--only TEXT`, `--resume` and "
        f"`--again` choose parts, `--quick` tries them). It took {seconds / 60:.0f} minutes. Every contender runs once a round, in turn, "
        "for at least 20 rounds; a ratio is the median of the rounds' own ratios, and [the result file]"
        "(../benchmarks/results/speed.json) also holds medians and 90th percentiles in milliseconds.\n\n"
        f"The process runs with `{allocator}`, for dense and epitome networks alike. By default glibc gives large tensors back to the "
        f"system at every call and fetches their pages again: a relu on {RELU_MIB} MiB took {f['relu_ms']['default']:.1f} ms so and "
        f"{f['relu_ms']['here']:.1f} ms here. Whoever serves large batches on a CPU gains by the same settings, or by jemalloc; without "
        "them dense and epitome networks are both slower, and the ratios differ from these.\n\n"
        "Weights are random, batch norms have random numbers (equal ones fold more cheaply than trained ones). Width multiplier and "
        "Torch-Pruning are bisected to the epitome network's multiply-adds, as near as channels in multiples of 8 come; all are fused. "
        f"A copy of 64 MiB moved {f['copy_gb_per_s']} GB/s. Seed {f['seed']}; Python {f['python']}; {packages}; {f['system']}."
    )
