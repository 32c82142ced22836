"""The tables of docs/speed.md, one function each."""

from __future__ import annotations

from typing import Any

from benchmarks.speed_parts.words import rows_of, table, verdict

__all__ = [
    "audio_table",
    "compiled_table",
    "expansion_table",
    "factorized_table",
    "gpu_table",
    "layer_tables",
    "memory_table",
    "network_tables",
    "optimized_table",
    "training_table",
]

Data = dict[str, Any]
Row = dict[str, Any]


def _skipped(data: Data, part: str) -> str:
    whys = [job["skipped"] for name, job in data["jobs"].items() if name.startswith(part) and job["skipped"]]
    return f"Not measured: {whys[0]}." if whys else "Not measured yet."


def _of(row: Row, key: str) -> str:
    return f"{row[key]:.2f}" if row.get(key) is not None else "–"


def network_tables(data: Data) -> str:
    """Return one table per network, budget and batch, with every contender and its ratios to three baselines."""
    rows = list(rows_of(data, "networks"))
    parts = []
    for case in dict.fromkeys(r["case"] for r in rows):
        for batch in dict.fromkeys(r["batch"] for r in rows if r["case"] == case):
            here = [r for r in rows if r["case"] == case and r["batch"] == batch]
            parts.append(f"{case} multiply-adds, batch {batch}:\n\n" + _network_table(here))
    note = (
        "In eager mode. *floor*: the time of the same epitome network in which every layer that can run `factored` is replaced by a plain "
        "convolution with plain slices and concatenations, divided by the same baseline. *execution*: the number of layers for which "
        "`tune` chose each execution plan. Multiply-adds are those of the chosen plans. Times in ONNX Runtime: [formats.md](formats.md)."
    )
    return "\n\n".join([note, *(parts or [_skipped(data, "networks")])])


def _network_table(rows: list[Row]) -> str:
    lines = []
    for name in dict.fromkeys(r["contender"] for r in rows):
        by = {r["baseline"]: r for r in rows if r["contender"] == name}
        any_row = next(iter(by.values()))
        ran = ", ".join(f"{n} {plan}" for plan, n in any_row.get("executions", {}).items())
        ratios = [verdict(by[b]) if b in by else "1" if b == name else "–" for b in _BASELINES]
        floor = by.get("dense, fused", any_row)
        counts = [f"{any_row['madds'] / 1e6:.0f}", f"{any_row['params'] / 1e6:.2f}"]
        lines.append((name, *counts, f"{any_row['median_ms']:.1f}", *ratios, _of(floor, "floor"), ran))
    head = (
        "network",
        "MAdd M",
        "params M",
        "ms",
        "/ dense",
        "/ dense fused",
        "/ width multiplier",
        "floor / dense fused",
        "execution",
    )
    return table(head, lines)


_BASELINES = ("dense", "dense, fused", "width multiplier, fused")


def compiled_table(data: Data) -> str:
    """Return the table of networks under ``torch.compile``, with the seconds of compilation."""
    rows = list(rows_of(data, "compiled"))
    if not rows:
        return _skipped(data, "compiled")
    lines = [
        (
            r["case"],
            r["contender"],
            str(r["batch"]),
            f"{r['median_ms']:.1f}",
            verdict(r),
            f"{r['compile_s']:.0f}",
            f"{r['baseline_compile_s']:.0f}",
        )
        for r in rows
    ]
    return table(("what", "network", "batch", "ms", "/ dense fused compiled", "compile s", "dense compile s"), lines)


def optimized_table(data: Data) -> str:
    """Return the table of networks in the forms that ``nes_lab.optimize`` chose, beside dense networks in their fastest form."""
    note = (
        "`nes_lab.optimize` tries PyTorch, `torch.compile` with frozen weights and ONNX Runtime, each with epitomes and with dense "
        "layers, checks the outputs, and returns the fastest form. The dense network runs in its fastest form too. With "
        "`keep_madds=False` a form may have more multiply-adds than planned. The result file has the times of all forms."
    )
    rows = list(rows_of(data, "optimized"))
    if not rows:
        return f"{note}\n\n{_skipped(data, 'optimized')}"
    lines = [
        (
            r["case"],
            r["contender"],
            str(r["batch"]),
            str(r["keep_madds"]),
            r["form"],
            r["baseline_form"],
            f"{r['median_ms']:.3g}",
            f"{r['baseline_ms']:.3g}",
            verdict(r),
            f"≤ {r['target']:.2f}",
            f"{r['madds'] / r['baseline_madds']:.2f}",
        )
        for r in rows
    ]
    head = (
        "what",
        "network",
        "batch",
        "keep_madds",
        "form",
        "dense form",
        "ms",
        "dense ms",
        "ratio",
        "target",
        "MAdd ratio",
    )
    return f"{note}\n\n{table(head, lines)}"


def training_table(data: Data) -> str:
    """Return the table of times of a training step."""
    lines = [
        (
            r["case"],
            r["contender"],
            r["baseline"],
            f"{r['median_ms']:.0f}",
            verdict(r),
            _target(r),
            _of(r, "madd_ratio"),
        )
        for r in rows_of(data, "training")
    ]
    note = (
        "A step is forward, backward and SGD with momentum, in eager mode. Every layer that can run `factored` does. `free` starts are "
        "fractional and learned, `tiled` starts are fixed, and `learner` predicts the starts from the batch."
    )
    head = ("what", "starts, wiring", "baseline", "ms", "ratio", "target", "MAdd ratio")
    return note + "\n\n" + (table(head, lines) if lines else _skipped(data, "training"))


def memory_table(data: Data) -> str:
    """Return the table of peak memory of a training step."""
    lines = [
        (r["case"], r["contender"], f"{r['mib']:.0f}", f"{r['baseline_mib']:.0f}", verdict(r), _target(r))
        for r in rows_of(data, "memory")
    ]
    note = (
        "The most bytes of tensors that forward and backward use at once: activations kept for the backward pass, and gradients. `free` "
        "starts need one more tensor per layer: the output before it is expanded."
    )
    head = ("what", "starts", "MiB", "dense MiB", "ratio", "target")
    return note + "\n\n" + (table(head, lines) if lines else _skipped(data, "memory"))


def _target(row: Row) -> str:
    return "–" if row.get("target") is None else f"{'≥' if row.get('at_least') else '≤'} {row['target']:.2f}"


def layer_tables(data: Data) -> str:
    """Return the table of single layers: one line per shape, batch and axis, with integer and fractional starts."""
    rows = list(rows_of(data, "layers"))
    note = (
        "Inference of `factored` layers without bias, compared with the dense convolution. Each cell is time (target; floor), in bold if "
        "the target was missed. Layers below 20 M multiply-adds or 64 channels have no target. *input axis*, *output axis*: that axis is "
        "halved, and so are the multiply-adds. *both axes*: a quarter of the multiply-adds. Fractional starts: patches of 16 channels, "
        "and every start lies between two cells."
    )
    lines = []
    for key in dict.fromkeys((r["network"], r["case"], r["batch"], r["axes"]) for r in rows):
        here = {r["starts"]: r for r in rows if (r["network"], r["case"], r["batch"], r["axes"]) == key}
        shares = [_of(here[s], "madd_ratio") if s in here else "–" for s in _STARTS[:1]]
        dense = f"{next(iter(here.values()))['baseline_ms']:.2f}"
        lines.append(
            (f"{key[0]} {key[1]}", str(key[2]), key[3], dense, *shares, *(_layer(here.get(s)) for s in _STARTS))
        )
    head = ("layer", "batch", "shrunk", "dense ms", "MAdd ratio", "integer starts", "fractional starts")
    return note + "\n\n" + (table(head, lines) if lines else _skipped(data, "layers"))


_STARTS = ("integer", "fractional")


def _layer(row: Row | None) -> str:
    if row is None:
        return "–"
    target = f"{_target(row)}; " if row.get("target") is not None else ""
    return f"{verdict(row)} ({target}floor {_of(row, 'floor')})"


def factorized_table(data: Data) -> str:
    """Return the table of tensorly-torch layers and epitomes of about half the params."""
    return _shares_table(data, "factorized")


def audio_table(data: Data) -> str:
    """Return the table of execution plans of one-dimensional layers with long kernels."""
    return _shares_table(data, "audio")


def _shares_table(data: Data, part: str) -> str:
    lines = [
        (r["case"], str(r["batch"]), r["contender"], _of(r, "params_ratio"), _of(r, "madd_ratio"), verdict(r))
        for r in rows_of(data, part)
    ]
    head = ("layer", "batch", "contender", "params ratio", "MAdd ratio", "time / dense")
    return table(head, lines) if lines else _skipped(data, part)


def expansion_table(data: Data) -> str:
    """Return the table of the bandwidth of ``materialize()``."""
    lines = [
        (
            r["device"],
            r["case"],
            f"{r['mib']:.1f}",
            r["axes"],
            r["starts"],
            f"{r['gb_per_s']:.1f}",
            f"{r['copy_gb_per_s']:.1f}",
            verdict(r),
        )
        for r in rows_of(data, "expansion")
    ]
    note = (
        "`materialize()` reads the epitome and writes the weight. *share* is its bytes per second divided by those of a copy of the weight "
        "between two existing tensors. `nes_lab.for_inference` materializes once and keeps the weight."
    )
    head = ("device", "what", "MiB", "shrunk", "starts", "GB/s", "copy GB/s", "share")
    return note + "\n\n" + (table(head, lines) if lines else _skipped(data, "expansion"))


def gpu_table(data: Data) -> str:
    """Return the table of the speed of compiled layers on a GPU, as shares of the speed of their floors."""
    rows = list(rows_of(data, "gpu"))
    if not rows:
        return _skipped(data, "gpu")
    lines = [
        (
            r["case"],
            r["axes"],
            r["starts"],
            f"{r['median_ms']:.3f}",
            f"{r['baseline_ms']:.3f}",
            verdict(r),
            _of(r, "dense_ratio"),
        )
        for r in rows
    ]
    note = (
        "`factored` at half the multiply-adds, batch 256, bfloat16, channels last, compiled. *share*: the speed divided by that of a dense "
        "convolution with the epitome's shape, a copy of what the fold reads, and a copy of what the expansion writes."
    )
    head = ("layer", "shrunk", "starts", "ms", "floor ms", "share", "/ dense")
    return note + "\n\n" + table(head, lines)
