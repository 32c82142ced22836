"""Tiny data sets on disk: trees of images, tar archives, sounds, and the files that torchvision reads."""

from __future__ import annotations

import csv
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nes_lab.datasets.spec import Split


def pixels(seed: int, grey: bool = False, size: int = 20) -> np.ndarray:
    shape = (size, size + 4) if grey else (size, size + 4, 3)
    return np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)


def save_image(path: Path, seed: int = 0, grey: bool = False, size: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, grey, size)).save(path)
    return path


def make_tree(
    root: Path, train: int = 4, val: int = 2, names: tuple[str, ...] = ("cat", "dog"), size: int = 20
) -> Path:
    """Write a folder of images; the second image of each class is grey."""
    for base, (split, count) in enumerate((("train", train), ("val", val))):
        for label, name in enumerate(names):
            for i in range(count):
                save_image(root / split / name / f"{i}.png", 1000 * base + 10 * label + i, i == 1, size)
    return root


def break_file(path: Path) -> None:
    """Replace the content of a file, so that it is not an image any more."""
    path.write_bytes(b"gone")


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def make_shards(tree: Path, root: Path, per_shard: int = 3, suffix: str = "cls", classes: bool = True) -> Path:
    """Write the images of a tree into archives, byte for byte and in the same order."""
    names = sorted(path.name for path in (tree / "train").iterdir())
    for split in ("train", "val"):
        (root / split).mkdir(parents=True)
        labeled = [
            (label, path) for label, name in enumerate(names) for path in sorted((tree / split / name).iterdir())
        ]
        for number, begin in enumerate(range(0, len(labeled), per_shard)):
            with tarfile.open(root / split / f"{number:06d}.tar", "w") as archive:
                for index, (label, path) in enumerate(labeled[begin : begin + per_shard], begin):
                    add(archive, f"{index:06d}{path.suffix.lower()}", path.read_bytes())
                    text = f'{{"label": {label}}}' if suffix == "json" else str(label)
                    add(archive, f"{index:06d}.{suffix}", text.encode())
    if classes:
        (root / "classes.txt").write_text("\n".join(names) + "\n")
    return root


def make_sounds(
    root: Path,
    folds: int = 3,
    names: tuple[str, ...] = ("dog", "rain"),
    each: int = 2,
    length: int = 1200,
    rate: int = 8000,
) -> Path:
    """Write sounds in ESC-50's layout. Class numbers are 10 and 20, so they differ from the labels 0 and 1."""
    from scipy.io import wavfile

    (root / "audio").mkdir(parents=True)
    rows = []
    for fold in range(1, folds + 1):
        for label, name in enumerate(names):
            for take in range(each):
                file = f"{fold}-{name}-{take}.wav"
                noise = np.random.default_rng(100 * fold + 10 * label + take).integers(-9000, 9000, length)
                wavfile.write(root / "audio" / file, rate, noise.astype(np.int16))
                rows.append({"filename": file, "fold": fold, "target": 10 * (label + 1), "category": name})
    write_table(root, rows)
    return root


def write_table(root: Path, rows: list[dict]) -> None:
    (root / "meta").mkdir(exist_ok=True)
    with (root / "meta" / "sounds.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_cifar10(root: Path, train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> None:
    """Write the five training files and the test file that torchvision reads, from images ``(N, 3, 32, 32)`` uint8."""
    from torchvision.datasets import CIFAR10

    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    parts = zip(CIFAR10.train_list, np.array_split(train, 5), np.array_split(labels, 5), strict=True)
    for (name, _), images, of_images in [*parts, (CIFAR10.test_list[0], test, test_labels)]:
        entry = {"data": images.reshape(len(images), -1), "labels": of_images.tolist()}
        (folder / name).write_bytes(pickle.dumps(entry))
    meta = {"label_names": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta))


def batches(split: Split, size: int = 4, seed: int = 0, epoch: int = 1, **options) -> list[tuple[Tensor, Tensor]]:
    return list(split.train_batches(size, seed=seed, epoch=epoch, **options))


def same(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(x, y) and torch.equal(a, b) for (x, a), (y, b) in zip(one, other, strict=True)
    )
