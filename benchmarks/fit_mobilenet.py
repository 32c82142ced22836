"""Compress a pretrained MobileNetV2 without training, and measure how often it agrees with the dense network, for docs/fit.md.

Agreement is measured on photographs that did not calibrate. Each row is written to results/fit_mobilenet.json at once, so that a
stopped benchmark continues.

    NES_LAB_SHARED=FOLDER python -m benchmarks.fit_mobilenet
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.fit_resnet56 import MOBILENET, ROOT, begin, commit, say, write, write_page


def main() -> int:
    parser = argparse.ArgumentParser(description="Compress a pretrained MobileNetV2 without training.")
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("NES_LAB_SHARED") or ROOT.parent / "shared"))
    parser.add_argument("--only", default="", help="only contenders whose key contains this text")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    run(options)
    return write_page()


def run(options: argparse.Namespace) -> None:
    from benchmarks.fit_parts.mobilenet import CONTENDERS, X
    from benchmarks.fit_parts.photographs import load_photographs
    from nes_lab.cost.count import count

    photographs = load_photographs(options.shared)
    record = begin(MOBILENET, facts(options, photographs))
    if "dense" not in record:
        dense = count(photographs.dense, X)
        record["dense"] = {"params": dense.params, "madds": dense.madds, "top1": photographs.top1()}
    for contender in CONTENDERS:
        if contender.key in record["rows"] or options.only not in contender.key:
            continue
        say(contender.key)
        begun = time.process_time()
        made = contender.build(photographs, options.seed)
        seconds = time.process_time() - begun
        row: dict[str, Any] = {"title": contender.title, "params": made.params, "madds": made.madds}
        row |= {"photographs": contender.calibrate, "other": round(photographs.agreement(made.network), 2)}
        row |= {k: round(v, 4) for k in ("calibrated", "residual") if (v := getattr(made, k)) is not None}
        record["rows"][contender.key] = row | {"processor_seconds": round(seconds, 1), "commit": commit()}
        write(MOBILENET, record)
        say(json.dumps(record["rows"][contender.key]))


def facts(options: argparse.Namespace, photographs: Any) -> dict[str, Any]:
    import torch

    from benchmarks.fit_parts.photographs import SIZE
    from benchmarks.speed import processor
    from benchmarks.speed_parts.record import version_of

    return {
        "script": "benchmarks/fit_mobilenet.py",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "seed": options.seed,
        "quick": False,
        "device": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "versions": {p: version_of(p) for p in ("timm", "numpy")},
        "data": "photographs of ImageNet, one per class",
        "size": SIZE,
        "calibration": sum(map(len, photographs.calibration)),
        "other": sum(map(len, photographs.other)),
    }


if __name__ == "__main__":
    sys.exit(main())
