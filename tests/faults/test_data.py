"""Data sets with something wrong: named before the first step, and no run is left halfway."""

import numpy as np
import pytest
from PIL import Image

from nes_lab.config import load_config
from nes_lab.errors import DataError
from nes_lab.experiment.run_experiment import run_experiment

pytestmark = pytest.mark.slow


@pytest.fixture
def tree(tmp_path):
    """Two classes of four images each, in both splits."""
    draw = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(4):
                pixels = draw.integers(0, 255, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photos"


def refuse(store, root, **data):
    """Train on it; return why that failed."""
    about = {"name": "image_folder", "root": str(root), "image_size": 16, "batch_size": 4} | data
    options = {"epochs": 1, "warmup_epochs": 0, "threads": 1, "device": "cpu"}
    run_id = store.create(load_config({"data": about, "compression": None, "training": options}).to_dict())
    with pytest.raises(DataError) as caught:
        run_experiment(store, run_id)
    info = store.get(run_id)
    assert info.state == "failed" and info.step == 0
    assert store.metrics(run_id) == []
    assert info.reason == str(caught.value)[:2000]
    return info.reason


def clear(folder):
    for path in folder.iterdir():
        path.unlink()


def test_a_missing_class(store, tree, tally):
    clear(tree / "val" / "dog")
    (tree / "val" / "dog").rmdir()
    assert "dog" in refuse(store, tree)
    tally("a class is missing in one split", "refused before step 1; the class is named")


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_class_and_an_empty_split(store, tree, tally, split):
    clear(tree / split / "cat")
    assert "cat" in refuse(store, tree)
    for name in ("cat", "dog"):
        for path in (tree / split / name).iterdir():
            path.unlink()
        (tree / split / name).rmdir()
    assert split in refuse(store, tree)
    tally("an empty class, an empty split", "refused before step 1; it is named", injected=2)


@pytest.mark.parametrize(
    "spoil",
    [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"GIF89a", lambda data: b"\0" * 500,
     lambda data: data[:40] + b"\xff" * 40 + data[80:]],
)  # fmt: skip
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_broken_image_is_named(store, tree, tally, spoil, split):
    path = tree / split / "dog" / "2.png"
    path.write_bytes(spoil(path.read_bytes()))
    assert "2.png" in refuse(store, tree)
    tally("a broken image", "refused before step 1; the file is named and counted")


def test_a_link_that_leads_nowhere_and_a_folder_named_like_an_image(store, tree, tally):
    (tree / "train" / "cat" / "9.png").symlink_to("/nowhere")
    assert "9.png" in refuse(store, tree)
    tally("a broken image", "refused before step 1; the file is named and counted")


WRONG = {"nan": (3, float("nan")), "infinite": (3, float("inf")), "too bright": (2, 300.0), "negative": (0, -1.0)}


@pytest.mark.parametrize("what", [*WRONG, "negative label", "label too large", "empty"])
@pytest.mark.parametrize("part", ["train", "val"])
def test_arrays_with_something_wrong(tally, what, part):
    import torch

    from nes_lab.datasets.in_memory import in_memory_spec, random_shift
    from nes_lab.datasets.knobs import ImageKnobs

    images, labels = torch.zeros(8, 1, 4, 4), torch.arange(8) % 2
    good = (images.clone().to(torch.uint8), labels.clone())
    if what in WRONG:
        images[WRONG[what][0], 0, 1, 1] = WRONG[what][1]
    elif what == "empty":
        images, labels = images[:0], labels[:0]
    else:
        labels[5] = -1 if "negative" in what else 7
    splits = {"train": good, "val": good} | {part: (images, labels)}
    options = {"augment": lambda _: lambda batch, generator: random_shift(batch, generator, 1), "knobs": ImageKnobs()}
    with pytest.raises(DataError, match=part):
        in_memory_spec("wrong", ("a", "b"), splits["train"], splits["val"], **options)
    tally(
        "NaN pixels, pixels or labels out of range, an empty split",
        "refused before step 1; the split and the example's number are named",
    )
