"""Write the section of docs/speed.md about evaluation without ``nes_lab.for_inference``."""

from __future__ import annotations

from typing import Any

from benchmarks.speed_parts.words import table

__all__ = ["plain_eval"]

_STARTS = {"tiled": "integer (`tiled`)", "free": "fractional (`free`)"}


def plain_eval(data: dict[str, Any] | None) -> str:
    """Return the text and the table of the section.

    Args:
        data: The contents of results/plain_eval.json; None if it was not measured.
    """
    note = """\
A layer's numbers can be changed in ways that torch does not count, such as `p.data.mul_(0.9)` in a target network. Evaluation
must not use a weight that was sampled before such a change. So plain evaluation, `network.eval()` under `torch.no_grad()` or
`torch.inference_mode()`, looks at each call:

* On a CPU, a layer compares its epitome, scale and starts with a copy, byte by byte. It samples its weight again if they differ.
  It keeps the weight and the copy.
* On a GPU, a comparison would wait for the device, so the layer samples its weight at each call. The same holds for compiled
  code.

`serving = nes_lab.for_inference(network)` returns a copy that samples each weight once and does not look again. It has the speed
that the other tables of this page show. Its docstring says which changes it still sees. `serving.train()` ends it. `freeze`,
`snap`, `fuse` and `tune` do not replace this call."""
    if not data:
        return note + "\n\nNot measured yet: benchmarks/plain_eval.py writes the numbers."
    lines = [
        (
            f"{r['network']}, {r['params']:.0%} params",
            r["scope"],
            _STARTS[r["routing"]],
            str(r["batch"]),
            f"{r['median_ms']['plain']:.1f}",
            f"**{r['plain / for_inference']:.2f}**",
            f"{r['plain / dense']:.2f}",
            f"{r['for_inference / dense']:.2f}",
        )
        for r in data["rows"]
    ]
    head = (
        "network",
        "scope",
        "starts",
        "batch",
        "plain ms",
        "plain / for_inference",
        "plain / dense",
        "for_inference / dense",
    )
    facts = f"""\
{data["device"]}, 1 of {data["cores"]} cores (load {data["load"]}), {data["dtype"]}, torch {data["torch"]}; seed {data["seed"]};
commit {data["commit"]}; {data["date"]}. All three networks ran in turns in one process, in eager mode. Times are CPU times of this
process. `execution` is `auto`, and nothing is tuned or fused. Differences of 0.03 mean nothing. The linear layer of 2048 x 2048
weights at batch 1 is the worst case: its product reads each weight only once. [The result
file](../benchmarks/results/plain_eval.json) is written by `python -m benchmarks.plain_eval`."""
    return "\n\n".join((note, table(head, lines), facts))
