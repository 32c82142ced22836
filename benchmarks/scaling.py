"""Measure training steps, data loaders, two processes and the overhead of sweeps, and write the tables of docs/scaling.md.

This runs on the device that torch sees. Each device has its own part of results/scaling.json, from which the tables are made.
``--only steps`` (or loader, ranks, sweep) measures one part again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nes_lab.runs.replace import write_target

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "scaling.json"
PAGE = ROOT / "docs" / "scaling.md"
BEGIN, END = "<!-- written by benchmarks/scaling.py -->", "<!-- end of what benchmarks/scaling.py writes -->"
PARTS = ("steps", "loader", "ranks", "sweep")
RECIPES = ("imagenet_mobilenetv2", "imagenet_efficientnet_b0", "imagenet_finetune")
IMAGES = 1_281_167  # size of the training split of ImageNet-1k
ROUNDS = 3
JPEG_SIZE, JPEG_QUALITY, JPEG_COUNT = (500, 375), 97, 96
TRIALS = 1000


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/scaling.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="measure only this part; may be given several times"
    )
    parser.add_argument(
        "--page", action="store_true", help="only write the tables of docs/scaling.md from the result file"
    )
    options = parser.parse_args(arguments)
    if not options.page:
        measure_all(options.only or list(PARTS))
    write_page()
    return 0


def measure_all(parts: list[str]) -> None:
    import timm
    import torch

    from benchmarks.speed import commit, processor

    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"script": "benchmarks/scaling.py", "devices": {}}
    cuda = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if cuda else processor()
    facts = {"kind": "gpu" if cuda else "cpu", "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    facts |= {"torch": torch.__version__, "timm": timm.__version__}
    device = kept["devices"].setdefault(name, {})
    device |= facts
    for part in parts:
        print(f"{name}: {part}", file=sys.stderr, flush=True)
        device[part] = globals()[f"measure_{part}"]() | {"commit": commit(), "seed": 0}
        write_target(RESULTS, json.dumps(kept, indent=1) + "\n")


# ---- a training step of each recipe, dense and compressed ----------------------------------------------------------


def measure_steps() -> dict[str, Any]:
    return {name: _step_times(name) for name in RECIPES}


def _step_times(name: str) -> dict[str, Any]:
    """Return the images per second of the dense and the compressed network in training steps of the recipe, measured in turns."""
    import torch

    from nes_lab.config import load_config
    from nes_lab.recipes.registry import recipe
    from nes_lab.training.checkpoint import save_training

    cuda = torch.cuda.is_available()
    batch = 128 if cuda else 16
    trainers, speeds, sizes = {}, {"dense": [], "epitome": []}, {}
    for kind in speeds:
        config = load_config(recipe(name).tree(dense=kind == "dense") | {"backbone": _untrained_backbone(name)})
        trainers[kind] = lambda config=config, kind=kind: _trainer(config, batch, kind)
    for _ in range(ROUNDS):
        for kind, make in trainers.items():
            trainer, rows = make()
            trainer.fit()
            speeds[kind].append(rows[-1]["images_per_s"])
            with tempfile.TemporaryDirectory() as place:
                files = [Path(place) / "w.safetensors", Path(place) / "s.pt"]
                save_training(trainer, *files)
                sizes[kind] = sum(file.stat().st_size for file in files)
    measured = {kind: {"images_per_s": statistics.median(values), "all": values} for kind, values in speeds.items()}
    return {"batch": batch, "image_size": 224, "checkpoint_bytes": sizes, "rounds": ROUNDS} | measured


def _untrained_backbone(name: str) -> dict[str, Any]:
    """Return the recipe's backbone with fresh weights; the speed of a step does not depend on them."""
    from nes_lab.recipes.registry import recipe

    return {k: v for k, v in recipe(name).tree()["backbone"].items() if k != "pretrained"}


def _trainer(config: Any, batch: int, kind: str) -> tuple[Any, list[dict[str, Any]]]:
    import torch

    from nes_lab.datasets.in_memory import TensorSplit
    from nes_lab.datasets.spec import DatasetSpec
    from nes_lab.experiment.build import recipe_of
    from nes_lab.models.create import dense_backbone
    from nes_lab.nn.inspect import epitome_layers
    from nes_lab.planning.from_config import plan_from_config
    from nes_lab.surgery.replace import replace_layers
    from nes_lab.training.hooks import Hooks
    from nes_lab.training.loop import Trainer

    cuda = torch.cuda.is_available()
    draw = torch.Generator().manual_seed(0)
    steps = 20 if cuda else 4
    training = {"accumulate": 1, "epochs": 1, "warmup_epochs": 0.0, "log_every_steps": 1, "starts_snap_epoch": None}
    config = config.model_copy(
        update={
            "training": config.training.model_copy(update=training),
            "data": config.data.model_copy(update={"batch_size": batch}),
        }
    )
    images = torch.randint(0, 256, (batch * steps, 3, 224, 224), generator=draw, dtype=torch.uint8)
    labels = torch.randint(0, 1000, (batch * steps,), generator=draw)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    train, val = TensorSplit(images, labels, mean, std), TensorSplit(images[:batch], labels[:batch], mean, std)
    names = tuple(f"n{index:08d}" for index in range(1000))
    data = DatasetSpec("random", names, 224, 3, train, val, mean, std)
    dense = dense_backbone(config.backbone.name, num_classes=1000, **config.backbone.options)
    model, teacher = dense, None
    if kind == "epitome":
        compression = config.compression.model_copy(
            update={"initial_weights": "reset", "search_starts": False, "calibration": 0, "sequential": False}
        )
        model = replace_layers(
            dense, plan_from_config(dense, torch.zeros(1, 3, 224, 224), compression), initial_weights="reset"
        )
        if compression.snap:
            for _, layer in epitome_layers(model):
                layer.snap()
        teacher = dense.eval().requires_grad_(False) if config.training.kd_weight else None
    rows: list[dict[str, Any]] = []
    hooks = Hooks(metric=lambda row: rows.append(row) if row["split"] == "train" else None)
    device = "cuda" if cuda else "cpu"
    return Trainer(model, data, recipe_of(config), device=device, hooks=hooks, teacher=teacher), rows


# ---- how fast images are read --------------------------------------------------------------------------------------


def measure_loader() -> dict[str, Any]:
    """Return the images per second read from JPEG files of about ImageNet's size, per number of workers and augmentation."""
    from nes_lab.config import DataConfig
    from nes_lab.datasets.registry import load_dataset

    speeds: dict[str, Any] = {"image": list(JPEG_SIZE), "quality": JPEG_QUALITY}
    with tempfile.TemporaryDirectory() as place:
        speeds["mean_kb"] = _write_images(Path(place))
        for title, options in (("standard", {}), ("modern", {"augment": "rand-m9-mstd0.5-inc1", "erase": 0.2})):
            for workers in (0, os.cpu_count() or 1):
                data = DataConfig(
                    name="image_folder", root=Path(place), workers=workers, interpolation="bicubic", **options
                )
                split = load_dataset(data, seed=0).train
                speeds[f"{title}, {workers} workers"] = statistics.median(_read_all(split, epoch) for epoch in range(4))
    return speeds


def _read_all(split: Any, epoch: int) -> float:
    begin, count = time.perf_counter(), 0
    for images, _ in split.train_batches(16, 0, epoch):
        count += len(images)
    return count / (time.perf_counter() - begin)


def _write_images(place: Path) -> float:
    """Write photographs of the shared sample, enlarged to the usual size of ImageNet's training images; return their mean size in kB."""
    from PIL import Image

    from tests.shared_data import FOLDER

    source = sorted((FOLDER / "imagenet_sample" / "val").glob("*/*.jpg"))[:: 1000 // JPEG_COUNT][:JPEG_COUNT]
    if not source:
        sys.exit(f"no photographs in {FOLDER}: set NES_LAB_SHARED to the folder that holds data/imagenet_sample")
    sizes = []
    for number, path in enumerate(source):
        for split in ("train", "val") if number < 8 else ("train",):
            target = place / split / f"n{number % 4:08d}" / f"{number}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as image:
                image.convert("RGB").resize(JPEG_SIZE, Image.Resampling.BICUBIC).save(target, quality=JPEG_QUALITY)
        sizes.append(target.stat().st_size / 1000)
    return statistics.fmean(sizes)


# ---- two processes against one -------------------------------------------------------------------------------------


def measure_ranks() -> dict[str, Any]:
    """Return the images per second of one and of two processes with one thread (or one GPU) each, measured in turns."""
    import torch

    if torch.cuda.is_available() and torch.cuda.device_count() < 2:
        return {"skipped": "one GPU only"}
    speeds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3):
        for processes, measured in speeds.items():
            measured.append(_train_run(processes)["images_per_s"])
    medians = {str(n): statistics.median(measured) for n, measured in speeds.items()}
    return {"task": "small_mobilenetv2 on digits at 32 pixels, 64 images a process", "images_per_s": medians}


def _train_run(processes: int = 1, **training: Any) -> dict[str, float]:
    """Train one detached run on the digits, and return its speed, its seconds from start to end and its size on disk."""
    from nes_lab.config import load_config
    from nes_lab.runs import launcher
    from nes_lab.runs.store import RunStore

    settings = {"epochs": 4, "warmup_epochs": 0, "threads": 1, "log_every_steps": 1, "processes": processes}
    config = load_config({"data": {"image_size": 32}, "training": settings | training})
    with tempfile.TemporaryDirectory() as place:
        store = RunStore(place)
        begin = time.perf_counter()
        run_id = store.create(config.to_dict())
        launcher.launch(store, run_id)
        while store.get(run_id).state in ("queued", "running"):
            time.sleep(0.05)
        seconds = time.perf_counter() - begin
        info = store.get(run_id)
        if info.state != "finished":
            sys.exit(f"the run is {info.state}: {info.reason}\n{store.log_tail(run_id)}")
        rows = [row for row in store.metrics(run_id) if row["split"] == "train"]
        size = sum(path.stat().st_size for path in store.path(run_id).rglob("*") if path.is_file())
        speed = statistics.median(row["images_per_s"] for row in rows[len(rows) // 2 :])
        return {"images_per_s": speed, "seconds": seconds, "trained_s": info.summary["seconds"], "bytes": size}


# ---- a thousand trials ---------------------------------------------------------------------------------------------


def measure_sweep() -> dict[str, Any]:
    """Measure what a trial costs besides its training, and how long it takes to list and to record a thousand trials."""
    runs = [_train_run(epochs=1) for _ in range(3)]
    overhead = statistics.median(run["seconds"] - run["trained_s"] for run in runs)
    return {"overhead_s": overhead, "run_bytes": runs[0]["bytes"], "trials": TRIALS, **_many_runs(), **_many_trials()}


def _many_runs() -> dict[str, float]:
    from nes_lab.config import load_config
    from nes_lab.runs.query import pareto, run_table
    from nes_lab.runs.store import RunStore
    from nes_lab.runs.writer import RunWriter

    config = load_config({}).to_dict()
    with tempfile.TemporaryDirectory() as place:
        store = RunStore(place)
        for number in range(TRIALS):
            with RunWriter(store, store.create(config, group="sweep")) as writer:
                writer.summary(top1=50 + number % 40, madds=1000 + number, params=100 + number)
                writer.status("finished", step=1, total=1)
        begin = time.perf_counter()
        infos = store.list()
        listed = time.perf_counter()
        pareto(run_table(infos))
        return {"list_s": listed - begin, "front_s": time.perf_counter() - listed}


def _many_trials() -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "study.db"
        study = optuna.create_study(storage=f"sqlite:///{path}", directions=["maximize", "minimize", "minimize"])
        begin = time.perf_counter()
        for number in range(TRIALS):
            trial = study.ask()
            trial.suggest_categorical("compression.madds", ["50%", "70%"])
            study.tell(trial, [number % 40, 1000 + number, 100 + number])
        return {"study_s": time.perf_counter() - begin, "study_bytes": path.stat().st_size}


# ---- the page ------------------------------------------------------------------------------------------------------


def write_page() -> None:
    content = json.loads(RESULTS.read_text())
    write_target(PAGE, page(PAGE.read_text(encoding="utf-8"), content))


def page(text: str, content: dict[str, Any]) -> str:
    """Return the page with its tables made from the results; the text around them stays."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + "\n" + tables(content) + "\n" + END + rest.partition(END)[2]


def tables(content: dict[str, Any]) -> str:
    devices = content["devices"]
    parts = [_devices(devices), _costs(devices), _loaders(devices), _ranks(devices), _sweeps(devices)]
    return "\n\n".join(parts)


def _devices(devices: dict[str, Any]) -> str:
    lines = [
        f"* **{name}**: {d['cores']} cores, {d['threads']} threads, torch {d['torch']}, timm {d['timm']}; commits "
        + ", ".join(f"{part} {d[part]['commit']}" for part in PARTS if part in d)
        for name, d in devices.items()
    ]
    if all(d["kind"] != "gpu" for d in devices.values()):
        lines.append(
            "* **No GPU has been measured yet.** `python -m benchmarks.scaling` on a machine that has one adds its rows."
        )
    return "\n".join(lines)


def _costs(devices: dict[str, Any]) -> str:
    from nes_lab.config import load_config
    from nes_lab.recipes.registry import recipe

    head = "| recipe | variant | epochs | device | batch | dense, images/s | compressed, images/s | ratio | {} | {} |"
    lines = [head.format("1 device: dense / compressed", "8 devices, if linear"), "|" + "---|" * 10]
    for device, parts in devices.items():
        for name, row in parts.get("steps", {}).items():
            if name in ("commit", "seed"):
                continue
            for variant in recipe(name).variants:
                epochs = load_config(recipe(name).tree(variant)).training.epochs
                speeds = [row[kind]["images_per_s"] for kind in ("dense", "epitome")]
                days = [_days(epochs * IMAGES / speed) for speed in speeds]
                eight = [_days(epochs * IMAGES / speed / 8) for speed in speeds]
                cells = [name, variant, epochs, device, row["batch"], *(f"{speed:.3g}" for speed in speeds)]
                cells += [f"{speeds[1] / speeds[0]:.2f}", " / ".join(days), " / ".join(eight)]
                lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "### What a full ImageNet run costs\n\n" + "\n".join(lines)


def _days(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours / 24:,.0f} d" if hours >= 240 else f"{hours:,.0f} h"


def _loaders(devices: dict[str, Any]) -> str:
    lines = ["| device | augmentation | images/s | cores to feed 1,000 images/s |", "|---|---|---|---|"]
    sizes = set()
    for device, parts in devices.items():
        loader = parts.get("loader", {})
        for title, speed in loader.items():
            if "workers" in title:
                workers = int(title.split(", ")[1].split()[0])
                each = f"{1000 / (speed / max(1, workers)):.0f}"
                lines.append(f"| {device} | {title} | {speed:.0f} | {each} |")
        if loader:
            width, height = loader["image"]
            sizes.add(f"{width}x{height} pixels, JPEG of {loader['mean_kb']:.0f} kB on average, resized to 224")
    return "### How fast the loader reads images\n\n" + "; ".join(sizes) + ".\n\n" + "\n".join(lines)


def _ranks(devices: dict[str, Any]) -> str:
    lines = ["| device | task | 1 process, images/s | 2 processes, images/s | ratio |", "|---|---|---|---|---|"]
    for device, parts in devices.items():
        if speeds := parts.get("ranks", {}).get("images_per_s"):
            one, two = speeds["1"], speeds["2"]
            lines.append(f"| {device} | {parts['ranks']['task']} | {one:.0f} | {two:.0f} | {two / one:.2f} |")
    return "### Two processes against one\n\n" + "\n".join(lines)


def _sweeps(devices: dict[str, Any]) -> str:
    lines = [
        "| device | overhead per trial | size of its directory | listing all | finding the front | "
        "asking and telling the study | size of the study |"
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for device, parts in devices.items():
        if row := parts.get("sweep"):
            cells = [device, f"{row['overhead_s']:.1f} s", f"{row['run_bytes'] / 1e6:.2f} MB", f"{row['list_s']:.2f} s"]
            cells += [
                f"{1000 * row['front_s']:.0f} ms",
                f"{row['study_s']:.0f} s",
                f"{row['study_bytes'] / 1e6:.2f} MB",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return f"### A sweep of {TRIALS:,} trials\n\n" + "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
