"""Write the section about MobileNetV2 for docs/fit.md, from its result file only."""

from __future__ import annotations

from typing import Any

__all__ = ["mobilenet_section"]

Data = dict[str, Any]
TARGET = 60
"""Percentage of photographs on which a network of 80 % of the params should agree with the dense one."""


def mobilenet_section(data: Data) -> str:
    """Return the section: the table, what follows from it, and how it was measured.

    Args:
        data: The contents of the result file.
    """
    dense, f = data["dense"], data["facts"]
    return (
        "## A pretrained MobileNetV2 with fewer params\n\n"
        f"MobileNetV2 ({dense['params']:,} params, {dense['madds'] / 1e6:.1f} M multiply-adds at {f['size']} pixels) knows 1,000 "
        f"classes, and most of its layers are 1x1 convolutions with little rank to spare. Agreement is the share of {f['other']} "
        "photographs for which the compressed network predicts the same class as the dense one, before any training. None of them "
        f"calibrated the fit; {f['calibration']} others did, if the row names no other number.\n\n"
        + _table(data)
        + "\n\n"
        + " ".join(_verdict(data))
        + "\n\n"
        + _method(data)
    )


def _table(data: Data) -> str:
    lines = [
        "| network | params | MAdds | residual of the weights | agreement | on calibration photographs |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in sorted(data["rows"].values(), key=lambda r: (-round(_share(data, r)), -r["other"])):
        residual = f"{row['residual']:.3f}" if "residual" in row else "–"
        calibrated = f"{row['calibrated']:.1f} %" if "calibrated" in row else "–"
        lines.append(
            f"| {row['title']} | {_share(data, row):.1f} % | {100 * row['madds'] / data['dense']['madds']:.0f} % | {residual} | "
            f"{row['other']:.1f} % | {calibrated} |"
        )
    return (
        "\n".join(lines)
        + f"\n\nOne seed. Of {data['facts']['other']} photographs, one is {100 / data['facts']['other']:.1f} points: differences of a few "
        "points are noise. A dash means not measured."
    )


def _verdict(data: Data) -> list[str]:
    rows = data["rows"]
    at_80 = {key: row for key, row in rows.items() if round(_share(data, row)) == 80}
    best = max(at_80.values(), key=lambda r: r["other"])
    reached = "more than" if best["other"] >= TARGET else "not"
    says = [
        f"Best at 80 % of the params: {best['title']}, {best['other']:.1f} %, which is {reached} the {TARGET} % that were the aim.",
        "Separable epitomes and SVD also save multiply-adds; flat epitomes save only params.",
        "The start of a flat window is one stored number, but it chooses among as many windows as the epitome has cells. So in short "
        "patches, starts and factors say more about the weight than cells do. This is vector quantization with overlapping code words; "
        "vector quantization with separate ones, which may store indices too, was not measured.",
    ]
    if {"flat_80", "flat_80_uncalibrated"} <= rows.keys():
        says.append(
            f"Without photographs, the means of the outputs are not corrected: {rows['flat_80_uncalibrated']['other']:.1f} instead of "
            f"{rows['flat_80']['other']:.1f} %."
        )
    if {"flat_80", "flat_80_squares"} <= rows.keys():
        says.append(f"Patches of 2 x 2 channels: {rows['flat_80_squares']['other']:.1f} %, level with those of 1 x 4.")
    if {"ones_80", "head_80"} <= rows.keys():
        says.append(
            "Separable epitomes keep more if they are only in the last convolution and the classifier, the widest layers: "
            f"{rows['head_80']['other']:.1f} instead of {rows['ones_80']['other']:.1f} %."
        )
    if {"flat_50", "flat_50_sequential"} <= rows.keys():
        says.append(
            f"At 50 %, a fit layer after layer gives {rows['flat_50_sequential']['other']:.1f} % "
            f"({rows['flat_50_sequential']['calibrated']:.1f} % on the photographs that calibrated it), a fit of all layers at once "
            f"{rows['flat_50']['other']:.1f} %."
        )
    return says


def _share(data: Data, row: Data) -> float:
    return 100 * row["params"] / data["dense"]["params"]


def _method(data: Data) -> str:
    f = data["facts"]
    packages = ", ".join(f"{name} {v}" for name, v in f["versions"].items() if v)
    return (
        "`NES_LAB_SHARED=FOLDER python -m benchmarks.fit_mobilenet` makes these numbers. Flat rows replace the 1x1 convolutions and the "
        "classifier, but not those of the first three blocks; `snap=True` keeps starts at integers, and each start and each factor counts "
        "as one of the params. SVD replaces the same layers by two of equal rank share, chosen with the covariance of their inputs. In "
        "every row but the one without photographs the means of the outputs are corrected. The weights are public 8-bit weights "
        "(google-coral/test_data), converted to float32. The photographs are probably training images, so agreement is not an accuracy: "
        f"the dense network classifies {data['dense']['top1']:.1f} % of them correctly. A start takes as many bytes as an integer "
        "of its size needs, usually four, so in bytes these networks are far larger than the 8-bit one.\n\n"
        f"{f['data']}; seed {f['seed']}; {f['device']}, {f['threads']} thread(s); torch {f['torch']}, {packages}; commit "
        f"{', '.join(dict.fromkeys(r['commit'] for r in data['rows'].values()))}; {f['date']}."
    )
