"""Write the section of docs/speed.md about training with freed memory kept."""

from __future__ import annotations

from typing import Any

from benchmarks.speed_parts.words import table

__all__ = ["allocator"]


def allocator(data: dict[str, Any] | None) -> str:
    """Return the text and the table of the section.

    Args:
        data: The contents of results/allocator.json; None if it was not measured.
    """
    note = """\
By default glibc, the C library of most Linux systems, returns a large tensor to the system when it is freed, and fetches its pages
again for the next one. The processes in which `nes-lab`, the app and sweeps train keep freed memory for the next step, and use huge
pages where the system offers them. No computed number changes. Memory that was needed once, such as to load the data, stays with the
process until it ends. Where you have set `LD_PRELOAD` or one of glibc's variables, such as
`MALLOC_TRIM_THRESHOLD_`, nothing is changed. `nes_lab.train` in your own process does not touch its allocator; start Python with
the variables below if you train large images on a CPU."""
    if not data:
        return note + "\n\nNot measured yet: benchmarks/allocator.py writes the numbers."
    lines = [
        (
            r["network"],
            f"{r['batch']} x {r['pixels']} px",
            r["dtype"],
            f"{r['ms'][0]:.0f}",
            f"{r['ms'][1]:.0f}",
            f"**{r['ratio']:.2f}** ({r['lowest_ratio']:.2f} to {r['highest_ratio']:.2f})",
            f"{r['peak_mib'][0]} / {r['peak_mib'][1]}",
        )
        for r in data["rows"]
    ]
    head = ("network", "batch", "dtype", "default ms", "kept ms", "kept / default", "peak MiB, default / kept")
    settings = " ".join(f"{name}={value}" for name, value in data["allocator"].items())
    facts = f"""\
A training step with tiled epitomes at {data["madds"]} of the MAdds. {data["device"]}, 1 of {data["cores"]} cores, torch
{data["torch"]}, {data["libc"]}; seed {data["seed"]}; commit {data["commit"]}; {data["date"]}. Both processes took steps in turns;
times are CPU times, and the ratio is the median of the rounds (lowest to highest). Settings: `{settings}`."""
    return "\n\n".join((note, facts, table(head, lines)))
