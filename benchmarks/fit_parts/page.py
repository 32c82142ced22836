"""Write docs/fit.md from the result file only: the same file gives the same page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.fit_parts.mobilenet_page import mobilenet_section

__all__ = ["page", "readme_sentence"]

Data = dict[str, Any]
OPPONENTS = ("svd", "pruned", "folded")
"""How the keys of contenders without epitomes begin."""


def page(data: Data, sizes: Data | None = None, in_turn: Data | None = None, mobilenet: Data | None = None) -> str:
    """Return the complete page as Markdown.

    Args:
        data: The contents of the result file.
        sizes: The contents of the result file of the ways to size layers; None: it is not there.
        in_turn: The contents of the result file of the fits layer after layer; None: it is not there.
        mobilenet: The contents of the result file of MobileNetV2; None: it is not there.
    """
    parts = [
        _head(data),
        "## The comparison\n\n" + _table(data),
        _verdict(data),
        "" if in_turn is None else "## Layer after layer\n\n" + _in_turn(data, in_turn),
        "" if sizes is None else "## How large each layer's epitome is\n\n" + _sizes(sizes),
        "" if mobilenet is None else mobilenet_section(mobilenet),
        "## How long a fit takes\n\n" + _seconds(data),
    ]
    parts += ["## How this was measured\n\n" + _method(data)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def readme_sentence(data: Data, in_turn: Data, mobilenet: Data) -> str:
    """Return the sentence that README has on fits without training.

    Args:
        data: The contents of the result file.
        in_turn: The contents of the result file of the fits layer after layer.
        mobilenet: The contents of the result file of MobileNetV2.
    """
    flat, best = in_turn["rows"]["flat_sequential"], mobilenet["rows"]["flat_80"]
    every = data["rows"] | in_turn["rows"]
    rival = max(
        (r[k], r["title"]) for key, r in every.items() if key.startswith(OPPONENTS) for k in ("fit", "norms") if k in r
    )
    dense, photographs = data["rows"]["dense"]["fit"], mobilenet["facts"]["other"]
    return (
        f"Without training, a pretrained ResNet-56 keeps {flat['fit']:.1f} % top-1 of {dense:.1f} % on CIFAR-10 at half its params (the "
        f"best of SVD, pruning and folding: {rival[0]:.1f} %), and MobileNetV2 predicts the same class as before for {best['other']:.0f} % "
        f"of {photographs} photographs at 80 % of its params. Such flat epitomes save params, not multiply-adds: [measured](docs/fit.md)."
    )


def _head(data: Data) -> str:
    dense = data["rows"]["dense"]
    return (
        "# Fitting epitomes to a pretrained network: measured\n\n"
        "<!-- Written by benchmarks/fit_resnet56.py from benchmarks/results/fit_resnet56.json; do not edit. -->\n\n"
        f"A CIFAR-10 ResNet-56 ({dense['params']:,} params, {dense['madds'] / 1e6:.1f} M multiply-adds, {dense['fit']:.2f} % top-1 on "
        "the 10,000 test images) is compressed to half its params. The table shows its accuracy at three stages: right after the fit; "
        "after its batch norm statistics are estimated again on training images, without labels; and after one epoch of training."
    )


def _table(data: Data) -> str:
    rows = [row for key, row in data["rows"].items() if key != "dense"]
    rows.sort(key=lambda r: (-_last(r), r["title"]))
    lines = [
        "| contender | params k | MAdds M | residual of the weights | after the fit | new norms | one epoch |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for r in rows:
        residual = f"{r['residual']:.3f}" if "residual" in r else "–"
        shown = [f"{r[stage]:.2f}" if stage in r else "–" for stage in ("fit", "norms", "epoch")]
        lines.append(
            f"| {r['title']} | {r['params'] / 1e3:.1f} | {r['madds'] / 1e6:.1f} | {residual} | {' | '.join(shown)} |"
        )
    return (
        "\n".join(lines)
        + "\n\nTop-1 in percent, one seed: differences of a few tenths are noise. A dash means not measured."
    )


def _last(row: Data) -> float:
    """Return the accuracy that rows are ordered by: that with new norms, which all pretrained contenders have."""
    return row.get("norms", row.get("epoch", 0.0))


def _verdict(data: Data) -> str:
    """Return a list of the best epitome and the best opponent at each stage."""
    rows = {key: row for key, row in data["rows"].items() if key != "dense"}
    lines = []
    for stage, name in (
        ("fit", "Right after the fit"),
        ("norms", "With new norms"),
        ("epoch", "After one epoch"),
    ):
        scores = {key: row[stage] for key, row in rows.items() if stage in row}
        ours = {k: v for k, v in scores.items() if not k.startswith(OPPONENTS)}
        theirs = {k: v for k, v in scores.items() if k.startswith(OPPONENTS)}
        if not ours or not theirs:
            continue
        best, rival = max(ours, key=lambda k: ours[k]), max(theirs, key=lambda k: theirs[k])
        gap = ours[best] - theirs[rival]
        won = "leads" if gap > 0 else "loses to" if gap < 0 else "equals"
        against = f"{rows[rival]['title']} ({theirs[rival]:.2f})"
        lines.append(f"- {name}: {rows[best]['title']} ({ours[best]:.2f}) {won} {against} by {abs(gap):.2f} points.")
    return "## The best epitome against the best opponent\n\n" + "\n".join(lines) if lines else ""


def _in_turn(data: Data, in_turn: Data) -> str:
    """Return the table of sequential fits and of the opponents, and how they stand against each other at each stage."""
    rows, f = sorted(in_turn["rows"].items(), key=lambda item: -_start(item[1])), in_turn["facts"]
    ways = [way for way in in_turn.get("ways", ()) if any(way["key"] in row for _, row in rows)]
    columns = ("contender", "params k", "MAdds M", "after the fit", "new norms", *(way["title"] for way in ways))
    lines = [f"| {' | '.join(columns)} |", f"|---|{'---:|' * (len(columns) - 1)}"]
    for _, r in rows:
        shown = [f"{r[key]:.2f}" if key in r else "–" for key in ("fit", "norms", *(way["key"] for way in ways))]
        lines.append(f"| {r['title']} | {r['params'] / 1e3:.1f} | {r['madds'] / 1e6:.1f} | {' | '.join(shown)} |")
    fitted = {key: row for key, row in rows if key.endswith("_sequential")}
    verdict = [_ahead("Fitted in this way", fitted, ("fit",))]
    earlier = {key: row for key, row in data["rows"].items() if key != "dense"} | dict(rows)
    verdict += [_ahead("Before any training, fitted in any way", earlier, ("fit", "norms"))]
    verdict += [_ahead(f"After {way['title']}", dict(rows), (way["key"],)) for way in ways]
    commits = dict.fromkeys(r[k] for _, r in rows for k in ("commit", "train_commit") if k in r)
    return (
        "`nes_lab.fit(..., calibration=batches, sequential=True)` fits the layers one after the other. Each layer gets the weight with "
        "which its outputs are closest to those of the dense layer, for the inputs that it has in the *compressed* network. So it corrects "
        "the errors of the layers before it. The mean and variance of the batch norm that follows are set on the way. Norms should not "
        "be measured again afterwards: that costs accuracy (the log has numbers). Rows without `sequential` are opponents that were fitted "
        "as in the first table.\n\n" + "\n".join(lines) + "\n\n" + "\n".join(line for line in verdict if line) + "\n\n"
        "The epoch is that of the first table, with these learning rates. *Taught*: half of the loss is distillation, with the dense "
        "network as teacher and softmax at a temperature of 4. The same calibration images as above, the same 10,000 test images, one "
        "seed: differences of a few tenths are noise. `--sequential` makes these numbers: "
        f"{f['device']}, {f['threads']} thread(s), torch {f['torch']}, commit {', '.join(commits)}, {f['date']}."
    )


def _start(row: Data) -> float:
    """Return the accuracy from which a network starts to train."""
    return row.get("norms", row["fit"])


def _ahead(when: str, rows: Data, stages: Sequence[str]) -> str:
    """Compare the best epitome with the best opponent, each at its best stage, as an item of a list; empty if one is missing."""
    best = {
        key: max(row[stage] for stage in stages if stage in row)
        for key, row in rows.items()
        if any(stage in row for stage in stages)
    }
    ours, theirs = ({k: v for k, v in best.items() if k.startswith(OPPONENTS) is other} for other in (False, True))
    if not ours or not theirs:
        return ""
    first, rival = max(ours, key=lambda k: ours[k]), max(theirs, key=lambda k: theirs[k])
    gap = ours[first] - theirs[rival]
    cost = f"{rows[first]['madds'] / 1e6:.1f} M multiply-adds against {rows[rival]['madds'] / 1e6:.1f} M"
    return (
        f"- {when}: {rows[first]['title']} ({ours[first]:.2f}) is {abs(gap):.2f} points {'above' if gap >= 0 else 'below'} "
        f"{rows[rival]['title']} ({theirs[rival]:.2f}), with {cost}."
    )


def _sizes(data: Data) -> str:
    """Return the comparison of the ways to size layers, and which of them is best."""
    rows = list(data["rows"].values())
    lines = ["| layers are sized by | params k | MAdds M | after the fit | new norms |", "|---|---:|---:|---:|---:|"]
    for r in sorted(rows, key=lambda r: -r["norms"]):
        lines.append(
            f"| {r['title']} | {r['params'] / 1e3:.1f} | {r['madds'] / 1e6:.1f} | {r['fit']:.2f} | {r['norms']:.2f} |"
        )
    f = data["facts"]
    best = max(rows, key=lambda r: r["norms"])
    uniform = data["rows"]["uniform"]
    gap = best["norms"] - uniform["norms"]
    verdict = (
        "No way to measure sensitivity keeps more than one ratio for all layers."
        if best is uniform
        else f"Best is: {best['title']}, by {gap:.2f} points over one ratio for all layers, with "
        f"{best['madds'] / uniform['madds']:.2f} times the multiply-adds, which were not limited."
    )
    return (
        "The epitome network with separable scope and patches of one channel, searched and calibrated, with half the params. "
        "Only the sizes of the epitomes differ: by one ratio, or by the strategy `sensitivity` with different measurements. "
        "The importance of a layer is that of `nes_lab.attribution.layer_importance`. "
        "The loss is measured on two of the calibration batches, with labels, and at fewer sizes than the residuals.\n\n"
        + "\n".join(lines)
        + f"\n\n{verdict} Top-1 in percent, one seed: differences of a few tenths are noise. "
        f"`--sizes` makes these numbers: {f['device']}, {f['threads']} thread(s), torch "
        f"{f['torch']}, commit {', '.join(dict.fromkeys(r['commit'] for r in rows))}, {f['date']}."
    )


def _seconds(data: Data) -> str:
    mobilenet = data.get("mobilenetv2")
    lines = [f"- ResNet-56, {r['title']}: {r['seconds']:.0f} s" for r in data["rows"].values() if "residual" in r]
    if mobilenet:
        names = {"ones": "patches of one channel", "sixteens": "patches of 16", "joint": "joint, patches of 16"}
        for key, seconds in mobilenet["seconds"].items():
            lines.append(
                f"- MobileNetV2 at half its params (up to {mobilenet['layers']} layers), starts searched, {names[key]}: {seconds:.0f} s "
                f"on {mobilenet['threads']} threads"
            )
    return "\n".join(lines) + "\n\nOther programs ran on the machine at the same time, so these are upper bounds."


def _method(data: Data) -> str:
    f = data["facts"]
    packages = ", ".join(f"{name} {v}" for name, v in f["versions"].items() if v)
    commits = dict.fromkeys(r[k] for r in data["rows"].values() for k in ("commit", "train_commit") if k in r)
    recipe = f["recipe"]
    return (
        "`NES_LAB_SHARED=FOLDER python -m benchmarks.fit_resnet56` makes these numbers; if it is stopped, it continues. The weights are "
        "the public ResNet-56 of akamaster/pytorch_resnet_cifar10. Its authors chose the checkpoint on the test set, so its accuracy "
        "is not a clean baseline. `nes_lab.plan_for_budget` gives epitome contenders half the dense params, stored starts included. Stem "
        "and classifier always stay dense. The rank of SVD is chosen by bisection to match the params of the joint epitome network, "
        "and the pruning ratio to match the multiply-adds of the separable one with one-channel patches. Torch-Pruning removes channels "
        "inside the blocks only, because the shortcuts of option A pad with zeros. Which epitomes and which SVD were trained was decided "
        "by their accuracy on test images in a first experiment. The network from scratch has the tiled plan.\n\n"
        f"Calibration uses {f['calibration']} training images and new norms {f['norms']}, both without labels. The epoch uses all 50,000 "
        f"training images: {recipe['optimizer']}, batch {recipe['batch']}, lr {recipe['lr']} ({recipe['lr_scratch']} from scratch, which "
        f"has more to learn), {recipe['schedule']}, weight decay {recipe['weight_decay']}, flips and shifts by up to 4 pixels; every "
        f"contender sees the same batches.\n\n"
        f"{f['data']}; seed {f['seed']}; {f['device']}, {f['threads']} thread(s); torch {f['torch']}, {packages}; "
        f"commit {', '.join(commits)}; {f['date']}."
    )
