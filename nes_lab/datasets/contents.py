"""Identify the examples of a split by a hash, so that a training that resumes sees whether its data was exchanged.

Files are identified by relative path and size, which is fast for a million files, and by the content of a few of them.
Tensors in memory are identified by their numbers. To identify the examples of a new kind of split, give its class a method ``contents``.

Tests: tests/datasets/test_contents.py.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from nes_lab.datasets.items import Item, Member

__all__ = ["HasContents", "contents_of", "hash_files", "hash_source", "hash_tensors"]

MOST_BYTES = 1 << 28
"""Number of bytes of a tensor that are hashed. Of a larger tensor, evenly spaced rows are hashed."""
MOST_FILES, FILE_BYTES = 256, 1 << 16
"""Number of evenly spaced files whose content is hashed too, because uncompressed images have equal sizes; and bytes of each."""


@runtime_checkable
class HasContents(Protocol):
    """The interface of a split that can identify its examples."""

    def contents(self) -> str:
        """Return a hash of what identifies the examples of the split; empty if nothing does."""
        ...


def contents_of(split: object) -> str:
    """Return a hash of what identifies the examples of a split; empty if nothing does.

    Examples:
        >>> contents_of(object())
        ''
    """
    return split.contents() if isinstance(split, HasContents) else ""


def hash_files(items: Sequence[Item], root: Path | None) -> str:
    """Return a hash of the path and the size of each file, and of the content of a few. The files may be members of archives.

    Args:
        items: The files.
        root: Folder to which the paths are relative, so that it can be moved. None: the paths are used as they are.
    """
    digest, start = hashlib.sha256(), "" if root is None else f"{root}{os.sep}"
    for item in items:
        if isinstance(item, Member):
            name, size = f"{str(item.archive).removeprefix(start)}:{item.name}", item.size
        else:
            name, size = str(item).removeprefix(start), _size(item)
        digest.update(f"{name}\0{size}\n".encode(errors="surrogateescape"))
    for index in range(0, len(items), max(1, -(-len(items) // MOST_FILES))):
        digest.update(_beginning(items[index]))
    return digest.hexdigest()


def _beginning(item: Item) -> bytes:
    try:
        with item.open("rb") as file:
            return file.read(FILE_BYTES)
    except OSError:
        return b""  # reading it raises an error that names it


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1  # reading the file raises an error that names it


def hash_tensors(*tensors: Tensor) -> str:
    """Return a hash of the shapes, types and numbers of tensors. If a tensor is large, evenly spaced rows are hashed.

    Examples:
        >>> hash_tensors(torch.zeros(3)) == hash_tensors(torch.zeros(3)), hash_tensors(torch.zeros(3)) == hash_tensors(torch.ones(3))
        (True, False)
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        step = -(-tensor.nbytes // MOST_BYTES) if tensor.ndim else 1
        rows = tensor[::step] if step > 1 else tensor
        digest.update(rows.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def hash_source(source: Any) -> str:
    """Return a hash of what identifies the examples of a map-style data set; empty if nothing does.

    It is found in tensors, in the attribute ``samples`` or ``data`` of torchvision's data sets, in a subset of these, and in
    lists of pairs of tensors. The examples of any other data set are not read, because reading them may take long.

    Examples:
        >>> hash_source([("a", 1)])
        ''
    """
    if isinstance(source, TensorDataset):
        return hash_tensors(*source.tensors)
    if isinstance(source, Subset):
        inner = hash_source(source.dataset)
        return inner and hash_tensors(torch.tensor(list(source.indices))) + inner
    samples, data = getattr(source, "samples", None), getattr(source, "data", None)
    if isinstance(samples, list) and samples and all(_is_sample(each) for each in samples):
        root = getattr(source, "root", None)
        return hash_files([Path(path) for path, _ in samples], None if root is None else Path(root))
    if isinstance(data, Tensor | np.ndarray) and data.ndim and len(data) == len(source):
        return hash_tensors(torch.as_tensor(data))
    return _hash_pairs(source) if isinstance(source, list | tuple) else ""


def _is_sample(each: object) -> bool:
    return isinstance(each, tuple) and len(each) == 2 and isinstance(each[0], str)


def _hash_pairs(pairs: Sequence[Any]) -> str:
    inputs = [pair[0] for pair in pairs if isinstance(pair, list | tuple) and pair and isinstance(pair[0], Tensor)]
    return hash_tensors(*inputs) if len(inputs) == len(pairs) else ""
