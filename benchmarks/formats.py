"""Measure the file size of compressed networks in each format, and the time ONNX Runtime takes for both ONNX forms.

The results of each network are written to results/formats.json at once, so that a second call continues where the first stopped. The
table of docs/formats.md is made from that file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nes_lab.runs.replace import write_target

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "formats.json"
PAGE = ROOT / "docs" / "formats.md"
BEGIN, END = "<!-- written by benchmarks/formats.py -->", "<!-- end of what benchmarks/formats.py writes -->"
JOBS = {
    "mobilenetv2_100, tiled": ("mobilenetv2_100", {"routing": "tiled"}),
    "mobilenetv2_100, learned starts": ("mobilenetv2_100", {"routing": "free"}),
    "efficientnet_b0, tiled": ("efficientnet_b0", {"routing": "tiled"}),
    "resnet18, tiled": ("resnet18", {"routing": "tiled"}),
    "vit_tiny_patch16_224, tiled": ("vit_tiny_patch16_224", {"routing": "tiled"}),
}
PARAMS, SIZE, ROUNDS, SECONDS = "50%", 224, 60, 20.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/formats.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--again", action="store_true", help="measure everything again, also what the result file has")
    parser.add_argument(
        "--page", action="store_true", help="only write the table of docs/formats.md from the result file"
    )
    options = parser.parse_args(arguments)
    if not options.page:
        measure_all(options.again)
    write_page()
    return 0


def measure_all(again: bool) -> None:
    import torch

    from benchmarks.speed import commit, processor

    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() and not again else {}
    done: dict[str, Any] = kept.get("networks", {})
    for number, (name, (backbone, settings)) in enumerate(JOBS.items(), 1):
        if name not in done:
            print(f"[{number}/{len(JOBS)}] {name}", file=sys.stderr, flush=True)
            done[name] = measure(backbone, settings) | {"commit": commit()}
        facts = {"device": processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
        facts |= {"params": PARAMS, "size": SIZE, "versions": done[name]["versions"]}
        write_target(
            RESULTS, json.dumps({"script": "benchmarks/formats.py", **facts, "networks": done}, indent=1) + "\n"
        )


def measure(backbone: str, settings: dict[str, Any]) -> dict[str, Any]:
    import torch

    from nes_lab import Budget, compress, create_backbone, export_onnx, plan_for_budget, save_pretrained
    from nes_lab.cost.timing import time_rounds
    from nes_lab.records.spread import ratio_of_times

    torch.manual_seed(0)
    dense, x = create_backbone(backbone).eval(), torch.randn(1, 3, SIZE, SIZE)
    model = off_the_integers(compress(dense, plan_for_budget(dense, Budget(params=PARAMS), x, **settings)))
    row: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        for name, net in (("dense", dense), ("folder", model)):
            row[f"{name}_bytes"] = (save_pretrained(net, f"{place}/{name}") / "model.safetensors").stat().st_size
        calls: dict[str, Callable[[], Any]] = {}
        for form in ("materialized", "factored"):
            report = export_onnx(model, x, f"{place}/{form}.onnx", form=form)
            kept = {
                k.removeprefix("file_"): v
                for k, v in report.to_dict().items()
                if k in ("file_bytes", "params", "madds", "relative_difference")
            }
            row |= {form: kept, "opset": report.opset, "versions": dict(report.versions)}
            calls[form] = runner(f"{place}/{form}.onnx", x)
        times = time_rounds(calls, torch.device("cpu"), SECONDS, most=ROUNDS)
    ratio = ratio_of_times(times["factored"], times["materialized"])
    return row | {
        "time_ratio": round(ratio.median, 3),
        "quartiles": [round(ratio.low, 3), round(ratio.high, 3)],
        "rounds": ratio.rounds,
    }


def off_the_integers(model: Any) -> Any:
    """Move learned starts between two cells, as training does, and return the model in evaluation mode."""
    import torch

    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".start_offsets_" in name:
                parameter.add_(torch.rand(parameter.shape, generator=draw))
    return model.eval()


def runner(path: str, x: Any) -> Callable[[], Any]:
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x.numpy()}
    return lambda: session.run(None, feed)


def table(result: dict[str, Any]) -> str:
    """Return the table of docs/formats.md. It depends on the result file only."""
    lines = [
        f"The networks have {result['params']} of the dense params, inputs of {result['size']} px and batch 1. Sizes are shares of the",
        "dense network's safetensors file. *time ratio* is the time of the factored file divided by that of the materialized one,",
        f"measured in turns: median and quartiles, ONNX Runtime {result['versions']['onnxruntime']}, {result['device']}, "
        f"{result['cores']} cores, {result['threads']} threads.",
        "",
        "| network | dense file, MB | saved folder | ONNX, materialized | ONNX, factored | madds, factored / materialized | time ratio |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in result["networks"].items():
        dense_bytes, plain, factored = row["dense_bytes"], row["materialized"], row["factored"]
        shares = [f"{size / dense_bytes:.1%}" for size in (row["folder_bytes"], plain["bytes"], factored["bytes"])]
        low, high = row["quartiles"]
        madds = f"{factored['madds'] / plain['madds']:.1%}"
        lines.append(
            f"| {name} | {dense_bytes / 1e6:.2f} | {' | '.join(shares)} | {madds} | {row['time_ratio']:.2f} ({low:.2f} to {high:.2f}) |"
        )
    worst = max(
        max(row[form]["relative_difference"] for form in ("materialized", "factored"))
        for row in result["networks"].values()
    )
    return "\n".join(
        [*lines, "", f"The largest difference from PyTorch's outputs is {worst:.1e} of the largest output."]
    )


def page(text: str, result: dict[str, Any]) -> str:
    """Return the page with its table replaced."""
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n{table(result)}\n{END}{rest.split(END)[1]}"


def write_page() -> None:
    write_target(PAGE, page(PAGE.read_text(encoding="utf-8"), json.loads(RESULTS.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
