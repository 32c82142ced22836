"""Write docs/speed.md from the result files only: the same files give the same page."""

from __future__ import annotations

from typing import Any

from benchmarks.speed_parts.allocator import allocator
from benchmarks.speed_parts.in_short import before_and_now, in_short
from benchmarks.speed_parts.plain_eval import plain_eval
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
    optimized_table,
    training_table,
)
from benchmarks.speed_parts.targets import TARGETS, Target
from benchmarks.speed_parts.words import advice, named, rows_of, table

__all__ = ["page"]

Data = dict[str, Any]


def page(data: Data, plain: Data | None = None, before: Data | None = None, kept: Data | None = None) -> str:
    """Return the complete page as Markdown.

    Args:
        data: The contents of the result file.
        plain: The contents of results/plain_eval.json; None if it was not measured.
        before: The contents of results/before_speed.json, which an earlier commit measured; None if there is none.
        kept: The contents of results/allocator.json; None if it was not measured.
    """
    sections = [
        _head(data),
        "## In short\n\n" + in_short(data),
        "## The targets\n\n" + _targets(data),
        "## Targets that were missed\n\n" + _missed(data),
        "## When epitomes make a network faster, and when only smaller\n\n" + advice(data),
        "## Inference of complete networks\n\n" + network_tables(data),
        "### With torch.compile\n\n" + compiled_table(data),
        "## The fastest exact form\n\n" + optimized_table(data),
        "## Plain evaluation, and the call that makes it fast\n\n" + plain_eval(plain),
        "## Training steps\n\n" + training_table(data),
        "### Learned starts: before and now\n\n" + before_and_now(data, before),
        "### Freed memory is kept\n\n" + allocator(kept),
        "### Peak memory of a step\n\n" + memory_table(data),
        "## Single layers\n\n" + layer_tables(data),
        "### Factorized layers of equal params\n\n" + factorized_table(data),
        "### Long one-dimensional kernels with shared products\n\n" + audio_table(data),
        "## From epitome to weight\n\n" + expansion_table(data),
        "## GPU\n\n" + gpu_table(data),
        "## How this was measured\n\n" + _method(data),
    ]
    return "\n\n".join(part.strip() for part in sections) + "\n"


def _head(data: Data) -> str:
    f = data["facts"]
    quick = (
        "\n\n**Made with `--quick`, which shows that the script works. The numbers mean nothing.**"
        if f["quick"]
        else ""
    )
    gpu = f"; GPU: {f['gpu']}" if f["gpu"] else ""
    return (
        "# Measured speed\n\n"
        "<!-- Written by benchmarks/speed.py from benchmarks/results/speed*.json; do not edit. -->\n\n"
        "Times are ratios to the time of a dense layer or network that ran in turns with the contender, in one process. All execution "
        "plans are exact: they compute the same result in different ways.\n\n"
        f"{f['device']}, {f['cores']} cores, {f['threads']} threads, {f['dtype']}, torch {f['torch']}{gpu}; commit "
        f"{', '.join(_commits(data))}; {f['date']}.{quick}"
        f"{_other_machines(data)}"
    )


def _other_machines(data: Data) -> str:
    """Return a sentence for each other machine, with the parts of the page that it measured and the commits."""
    parts: dict[str, dict[str, None]] = {}
    for name, job in data["jobs"].items():
        if "machine" in job:
            parts.setdefault(job["machine"], {})[name.split("/")[0]] = None
    lines = [
        f"Measured on {machine}: the jobs of {', '.join(names)}; commit {', '.join(_commits(data, machine))}."
        for machine, names in parts.items()
    ]
    return "".join(f"\n\n{line}" for line in lines)


def _commits(data: Data, machine: str | None = None) -> list[str]:
    """Return the commits that a machine measured; None stands for the machine of the page's head."""
    own = [job["commit"] for job in data["jobs"].values() if job.get("machine") == machine]
    return list(dict.fromkeys(own)) or [data["facts"]["commit"]]


def _targets(data: Data) -> str:
    lines = [(t.what, t.limit.replace("<=", "≤").replace(">=", "≥"), *_target_result(t, data)) for t in TARGETS]
    return table(("what", "target", "measured", "met"), lines)


def _target_result(target: Target, data: Data) -> tuple[str, str]:
    rows = [r for r in rows_of(data) if r.get("key") == target.key]
    if not rows:
        why = next((j["skipped"] for n, j in data["jobs"].items() if j["skipped"] and n.startswith(target.part)), None)
        return f"not measured: {why or 'not run yet'}", "–"
    met = sum(r["met"] for r in rows)
    verdict = "yes" if met == len(rows) else f"{met} of {len(rows)}" if met else "no"
    if len(rows) > 8:
        order = sorted(rows, key=lambda r: r["ratio"] / r["target"], reverse=not target.at_least)
        nearest, middle = order[0], sorted(r["ratio"] for r in rows)[len(rows) // 2]
        return f"median {middle:.2f}; farthest from the target: {nearest['ratio']:.2f} ({named(nearest)})", verdict
    return "; ".join(f"{r['ratio']:.2f} ({named(r)})" for r in rows), verdict


def _missed(data: Data) -> str:
    note = (
        "The floor is the time an execution plan would take if folding and expanding cost no more than moving their bytes: a dense "
        "convolution with the epitome's shape, plus copies. If the floor is above the target, this machine cannot reach the target."
    )
    rows = [r for r in rows_of(data) if r["met"] is False]
    layers = [r for r in rows if r["part"] == "layers"]
    others = [r for r in rows if r["part"] != "layers"]
    parts = [note, _missed_layers(layers, data)]
    if others:
        lines = [
            (named(r), r["baseline"], f"{r['ratio']:.2f}", f"{r['target']:.2f}", _floor(r), _conclusion(r))
            for r in others
        ]
        parts.append(table(("what", "baseline", "measured", "target", "floor", "conclusion"), lines))
    return "\n\n".join(part for part in parts if part) if rows else "None of those that were measured."


def _missed_layers(missed: list[dict[str, Any]], data: Data) -> str:
    if not missed:
        return ""
    with_target = sum(r["met"] is not None for r in rows_of(data, "layers"))
    unreachable = [r for r in missed if r["floor"] > r["target"]]
    over = sorted(r["ratio"] - r["target"] for r in missed)
    return (
        f"Single layers: {len(missed)} of {with_target} miss their target, by {over[len(over) // 2]:.2f} in the median and by up to "
        f"{over[-1]:.2f}. For {len(unreachable)} of them the floor is above the target. The table of single layers has all floors."
    )


def _floor(row: dict[str, Any]) -> str:
    return f"{row['floor']:.2f}" if row.get("floor") is not None else "–"


def _conclusion(row: dict[str, Any]) -> str:
    floor = row.get("floor")
    if "full_width" in row:
        return f"missed by {_apart(row['ratio'], row['target'])}; the dense network of full width takes {row['full_width']:.2f}"
    if floor is None:
        return f"missed by {_apart(row['ratio'], row['target'])}"
    if floor > row["target"]:
        return f"out of reach: the floor is {_apart(floor, row['target'])} above the target"
    return f"within reach: {_apart(row['ratio'], floor)} above the floor"


def _apart(first: float, second: float) -> str:
    """Return a distance with two digits, or that it is smaller."""
    return f"{abs(first - second):.2f}" if abs(first - second) >= 0.005 else "less than 0.01"


def _method(data: Data) -> str:
    f = data["facts"]
    seconds = sum(job["seconds"] for job in data["jobs"].values())
    packages = ", ".join(f"{name} {v}" for name, v in f["versions"].items() if v)
    allocator = " ".join(f"{key}={value}" for key, value in f["allocator"].items())
    return (
        "`make bench SCRIPTS=speed` repeats the measurements of this page. `.venv/bin/python benchmarks/speed.py` does too; its options "
        "`--list`, `--only TEXT`, `--resume` and `--again` choose jobs, and `--quick` tests them. All jobs took "
        f"{seconds / 60:.0f} minutes. In each round every contender runs once, in turns, for at least 20 rounds. A ratio is the median of "
        "the ratios of the rounds. [The result file](../benchmarks/results/speed.json) also has medians and 90th percentiles in "
        "milliseconds.\n\n"
        f"Dense and epitome networks ran with the same settings of the allocator: `{allocator}`. By default glibc returns large tensors to "
        f"the system after every call and fetches their pages again. A relu on {RELU_MIB} MiB took {f['relu_ms']['default']:.1f} ms with "
        f"the defaults and {f['relu_ms']['here']:.1f} ms with these settings. If you serve large batches on a CPU, use the same settings "
        "or jemalloc; without them dense and epitome networks are slower, and the ratios differ.\n\n"
        "Weights are random. Batch norms have random numbers too, because equal numbers could be folded more cheaply than trained ones. "
        "The width of narrower networks and the ratio of Torch-Pruning are chosen by bisection to match the multiply-adds of the epitome "
        "network, as closely as channels in multiples of 8 allow. All networks are fused, and run as `nes_lab.for_inference` makes them. "
        f"A copy of 64 MiB moved {f['copy_gb_per_s']} GB/s. Seed {f['seed']}; Python {f['python']}; {packages}; {f['system']}."
    )
