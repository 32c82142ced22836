"""Compress a pretrained ResNet-56 to half its params, by epitomes and by other methods, and measure its accuracy for docs/fit.md.

Accuracy is measured right after the fit, after the batch norm statistics are estimated again, and after one epoch of training. Each
result is written to results/fit_resnet56.json at once, so that a stopped benchmark continues. ``--page`` only writes the page.

    NES_LAB_SHARED=FOLDER python -m benchmarks.fit_resnet56
    NES_LAB_SHARED=FOLDER python -m benchmarks.fit_resnet56 --sizes    # only the ways to size layers, in results/fit_sizes.json
    NES_LAB_SHARED=FOLDER python -m benchmarks.fit_resnet56 --sequential    # only fits layer after layer, in results/fit_sequential.json
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nes_lab.runs.replace import write_target

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "fit_resnet56.json"
SIZES = ROOT / "benchmarks" / "results" / "fit_sizes.json"
IN_TURN = ROOT / "benchmarks" / "results" / "fit_sequential.json"
MOBILENET = ROOT / "benchmarks" / "results" / "fit_mobilenet.json"
PAGE = ROOT / "docs" / "fit.md"
BATCHES, BATCH = 8, 128


def main() -> int:
    options = parse()
    if options.page:
        return write_page()
    if options.sizes or options.sequential:
        (run_sizes if options.sizes else run_sequential)(options)
        return write_page()
    results = Path(tempfile.gettempdir()) / "fit_resnet56_quick.json" if options.quick else options.results
    run(options, results)
    return write_page() if results == RESULTS else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("NES_LAB_SHARED") or ROOT.parent / "shared"))
    parser.add_argument("--only", default="", help="only contenders whose key contains this text")
    parser.add_argument("--no-train", action="store_true", help="skip the epochs of training")
    parser.add_argument(
        "--quick", action="store_true", help="use few images and another result file, to see whether the script works"
    )
    parser.add_argument("--sizes", action="store_true", help="only compare ways to size the layers")
    parser.add_argument("--sequential", action="store_true", help="only measure fits layer after layer")
    parser.add_argument("--page", action="store_true", help="only write docs/fit.md from the results")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="write to another result file, and do not write the page"
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def run(options: argparse.Namespace, results: Path) -> None:
    from benchmarks.fit_parts.contenders import CONTENDERS, Setting
    from benchmarks.fit_parts.data import load_data, normalize, pretrained

    data = load_data(options.shared, *((1280, 500) if options.quick else (None, None)))
    batches = [normalize(part) for part in data.train[: BATCHES * BATCH].split(BATCH)]
    setting = Setting(pretrained(options.shared), batches[: BATCHES // 2], seed=options.seed)
    record = begin(results, facts(options, data.source))
    chosen = [c for c in CONTENDERS if options.only in c.key]
    if "dense" not in record["rows"]:
        dense(record, setting.dense, data, results)
    for stage in (before_training, training):
        for number, contender in enumerate(chosen, start=1):
            say(f"{contender.key} ({number} of {len(chosen)})")
            if not (stage is training and options.no_train):
                stage(record, contender, setting, data, batches, options, lambda: write(results, record))
    if "mobilenetv2" not in record and not options.quick:
        record["mobilenetv2"] = fit_mobilenet(options.seed)
        write(results, record)


def run_sizes(options: argparse.Namespace) -> None:
    """Compare ways to size the layers of one kind of epitome network, without training."""
    from benchmarks.fit_parts.contenders import SIZES as WAYS
    from benchmarks.fit_parts.contenders import Setting
    from benchmarks.fit_parts.data import load_data, normalize, pretrained

    data = load_data(options.shared)
    batches = [normalize(part) for part in data.train[: BATCHES * BATCH].split(BATCH)]
    half = BATCHES // 2
    labels = data.train_labels[: half * BATCH].split(BATCH)
    setting = Setting(pretrained(options.shared), batches[:half], tuple(labels), options.seed)
    record = begin(SIZES, facts(options, data.source))
    for way in WAYS:
        say(way.key)
        before_training(record, way, setting, data, batches, options, lambda: write(SIZES, record))


def run_sequential(options: argparse.Namespace) -> None:
    """Measure networks that are fitted layer after layer, and train each for one epoch, in several ways."""
    from benchmarks.fit_parts.contenders import SEQUENTIAL, WAYS, Setting
    from benchmarks.fit_parts.data import load_data, normalize, pretrained

    data = load_data(options.shared)
    batches = [normalize(part) for part in data.train[: BATCHES * BATCH].split(BATCH)]
    setting = Setting(pretrained(options.shared), batches[: BATCHES // 2], seed=options.seed)
    record = begin(IN_TURN, facts(options, data.source))
    record["ways"] = [{"key": way.key, "title": way.title} for way in WAYS]
    for contender in (c for c in SEQUENTIAL if options.only in c.key):
        say(contender.key)
        before_training(record, contender, setting, data, batches, options, lambda: write(IN_TURN, record))
        if not options.no_train:
            in_all_ways(record, contender, setting, data, batches, options, lambda: write(IN_TURN, record))


def dense(record: dict[str, Any], model: Any, data: Any, results: Path) -> None:
    from benchmarks.fit_parts.contenders import X
    from benchmarks.fit_parts.train import top1
    from nes_lab.cost.count import count

    report = count(model, X)
    record["rows"]["dense"] = {
        "title": "dense",
        "params": report.params,
        "madds": report.madds,
        "fit": top1(model, data),
    }
    write(results, record)


def before_training(
    record: dict, contender: Any, setting: Any, data: Any, batches: list, options: Any, keep: Callable[[], None]
) -> None:
    """Build a contender, count it, and measure its accuracy before and (if there are batches) after its norms are estimated again."""
    from benchmarks.fit_parts.contenders import X
    from benchmarks.fit_parts.train import top1
    from nes_lab.cost.count import count

    if contender.key in record["rows"]:
        return
    clock = time.perf_counter()
    model, report = contender.build(setting)
    seconds = time.perf_counter() - clock
    cost = count(model, X)
    row: dict[str, Any] = {"title": contender.title, "params": cost.params, "madds": cost.madds}
    row |= {"commit": commit(), "seconds": round(seconds, 1), "lr": contender.lr}
    if report is not None:
        row |= {"residual_before": round(report.residual_before, 4), "residual": round(report.residual, 4)}
    if contender.pretrained:
        row["fit"] = top1(model, data)
    if contender.pretrained and not contender.in_turn:
        row["norms"] = top1(with_new_norms(model, batches), data)
    record["rows"][contender.key] = row
    keep()
    say(json.dumps(row))


def with_new_norms(model: Any, batches: list) -> Any:
    import nes_lab

    return nes_lab.reestimate_norms(model, batches)


def training(
    record: dict, contender: Any, setting: Any, data: Any, batches: list, options: Any, keep: Callable[[], None]
) -> None:
    """Train one epoch, from the network whose batch norms were estimated again."""
    row = record["rows"][contender.key]
    if contender.lr is not None and "epoch" not in row:
        one_epoch(row, "epoch", contender, begun(contender, setting, batches), contender.lr, data, options)
        keep()


def in_all_ways(
    record: dict, contender: Any, setting: Any, data: Any, batches: list, options: Any, keep: Callable[[], None]
) -> None:
    """Train one epoch in each of the ``WAYS``, always from the same fitted network."""
    from benchmarks.fit_parts.contenders import WAYS

    row = record["rows"][contender.key]
    missing = [way for way in WAYS if way.key not in row]
    start = begun(contender, setting, batches) if missing else None
    for way in missing:
        teacher = setting.dense if way.is_taught else None
        one_epoch(row, way.key, contender, copy.deepcopy(start), way.lr, data, options, teacher)
        keep()


def begun(contender: Any, setting: Any, batches: list) -> Any:
    """Return the network from which the epoch starts: with new norms, unless the fit has corrected them."""
    model, _ = contender.build(setting)
    renewed = contender.pretrained and not contender.in_turn
    return (with_new_norms(model, batches) if renewed else model).requires_grad_(True)


def one_epoch(
    row: dict, stage: str, contender: Any, model: Any, lr: float, data: Any, options: Any, teacher: Any = None
) -> None:
    """Train one epoch in place, and keep the accuracy after it."""
    from benchmarks.fit_parts.train import top1, train

    clock = time.perf_counter()
    train(model, data, lr, 1, options.seed, lambda text: say(f"  {contender.key}: {text}"), teacher)
    seconds = round(time.perf_counter() - clock, 1)
    row |= {stage: top1(model, data), "train_seconds": seconds, "train_commit": commit()}
    say(json.dumps(row))


def fit_mobilenet(seed: int) -> dict[str, Any]:
    """Measure the seconds to fit MobileNetV2 at half its params, with searched starts, on two threads."""
    import timm
    import torch

    import nes_lab

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(seed)
    model, x = timm.create_model("mobilenetv2_100").eval(), torch.zeros(1, 3, 224, 224)
    seconds = {}
    for name, options in (
        ("ones", {"patch_channels": 1}),
        ("sixteens", {"patch_channels": 16}),
        ("joint", {"scope": "joint"}),
    ):
        plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="50%"), x, routing="free", **options)
        seconds[name] = round(nes_lab.fit(model, plan, search_starts=True)[1].seconds, 1)
        say(f"MobileNetV2, {name}: {seconds[name]} s")
    torch.set_num_threads(threads)
    return {"seconds": seconds, "layers": len(plan.layers), "threads": 2, "commit": commit()}


# ---- the record ---------------------------------------------------------------------------------------------------------


def begin(results: Path, now: dict[str, Any]) -> dict[str, Any]:
    """Return the record in the result file, or a new one; refuse a record of another device, seed or data."""
    if not results.exists():
        return {"facts": now, "rows": {}}
    record = json.loads(results.read_text(encoding="utf-8"))
    changed = [k for k in ("seed", "quick", "device", "torch", "data") if record["facts"][k] != now[k]]
    if changed:
        raise SystemExit(
            f"{results.name} was made with another {', '.join(changed)}; move the file away to start again"
        )
    return record


def facts(options: argparse.Namespace, source: str) -> dict[str, Any]:
    import torch

    from benchmarks.fit_parts.contenders import LARGE, SMALL
    from benchmarks.fit_parts.train import RECIPE
    from benchmarks.speed import processor
    from benchmarks.speed_parts.record import version_of

    return {
        "script": "benchmarks/fit_resnet56.py",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "seed": options.seed,
        "quick": options.quick,
        "device": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "versions": {p: version_of(p) for p in ("timm", "torch-pruning", "numpy")},
        "data": source,
        "calibration": BATCHES // 2 * BATCH,
        "norms": BATCHES * BATCH,
        "recipe": {**RECIPE, "lr": SMALL, "lr_scratch": LARGE},
    }


def commit() -> str:
    """Return the commit that is measured, with ``+`` if files of the library or of the benchmarks differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, cwd=ROOT, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--", "nes_lab", "benchmarks/*.py")
    return git("rev-parse", "HEAD")[:12] + ("+" if changed else "")


def write(results: Path, record: dict[str, Any]) -> None:
    """Write a new file and rename it, so that a killed process leaves a complete one."""
    results.parent.mkdir(parents=True, exist_ok=True)
    write_target(results, json.dumps(record, indent=1) + "\n")


def write_page() -> int:
    from benchmarks.fit_parts.page import page

    others = (
        json.loads(path.read_text(encoding="utf-8")) if path.exists() else None for path in (SIZES, IN_TURN, MOBILENET)
    )
    text = page(json.loads(RESULTS.read_text(encoding="utf-8")), *others)
    write_target(PAGE, text)
    say(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


def say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
