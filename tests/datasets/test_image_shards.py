"""Tar archives serve what the folder does, bit for bit; torn, mislabeled and incomplete ones are named."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from nes_lab.config import DataConfig
from nes_lab.datasets.check.layouts import detect_dataset
from nes_lab.datasets.image_folder import load_image_folder
from nes_lab.datasets.image_shards import load_image_shards, read_shard
from nes_lab.datasets.registry import load_dataset
from nes_lab.errors import DataError
from tests.datasets.samples import add, batches, make_shards, make_tree, same


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return make_shards(make_tree(tmp_path / "tree"), tmp_path / "shards")


@pytest.mark.parametrize("suffix", ["cls", "json"])
def test_load_image_shards_serves_the_batches_of_the_folder(tmp_path: Path, suffix: str) -> None:
    tree = make_tree(tmp_path / "tree")
    root = make_shards(tree, tmp_path / "shards", suffix=suffix)
    files, packed = load_image_folder(root=tree, image_size=16), load_image_shards(root=root, image_size=16)
    assert packed.classes == files.classes == ("cat", "dog")
    assert same(batches(packed.train), batches(files.train))
    assert same(list(packed.val.eval_batches(3)), list(files.val.eval_batches(3)))
    limited = load_image_shards(root=root, image_size=16, limit=4)
    assert same(batches(limited.train), batches(load_image_folder(root=tree, image_size=16, limit=4).train))


def test_load_image_shards_with_workers_resumes_and_shards(shards: Path) -> None:
    config = DataConfig(name="image_shards", root=shards, image_size=16, augment="rand-m5", erase=0.5)
    without_workers = load_dataset(config).train
    with_workers = load_dataset(config.model_copy(update={"workers": 2})).train
    complete = batches(without_workers, size=2)
    assert same(complete, batches(with_workers, size=2))
    assert same(complete[2:], batches(with_workers, size=2, start=2))
    for rank in (0, 1):
        part = [(images[rank::2], labels[rank::2]) for images, labels in complete]
        assert same(part, batches(without_workers, size=2, shard=(rank, 2)))


def test_read_shard_accepts_any_member_name(tmp_path: Path, shards: Path) -> None:
    path = shards / "train" / "000000.tar"
    odd_name = os.fsdecode(b"../caf\xe9 1")
    rewritten(path, {name.replace("000000", odd_name): content for name, content in contents(path).items()})
    spec = load_image_shards(root=shards, image_size=16)
    assert spec.train.items[0].name == odd_name + ".png"
    assert len(batches(spec.train)) == 2
    assert sorted(tmp_path.iterdir()) == [tmp_path / "shards", tmp_path / "tree"]


def test_read_shard_prefers_cls_to_json(shards: Path) -> None:
    """ImageNet's usual archives hold KEY.jpg, KEY.cls and KEY.json; they were once refused."""
    path = shards / "train" / "000000.tar"
    plain = read_shard(path)
    members = contents(path)
    labels = [name for name in members if name.endswith(".cls")]
    extra = {name.replace(".cls", ".json"): b'{"filename": "n01440764_18.JPEG"}' for name in labels}
    rewritten(path, members | extra)
    assert [label for _, label in read_shard(path)] == [label for _, label in plain]


def test_shard_classes_accept_a_byte_order_mark(shards: Path) -> None:
    (shards / "classes.txt").write_bytes("\ufeffcat\r\ndog\r\n".encode())
    assert load_image_shards(root=shards, image_size=16).classes == ("cat", "dog")


def test_shard_archives_names_compressed_archives(shards: Path) -> None:
    for path in (shards / "val").glob("*.tar"):
        path.rename(path.with_suffix(".tar.gz"))
    with pytest.raises(DataError, match=r"no .tar archive.*; unpack .*\.tar\.gz, as archives must not be compressed"):
        load_image_shards(root=shards)
    for path in (shards / "train").glob("*.tar"):
        path.rename(path.with_suffix(".tar.gz"))
    assert detect_dataset(shards)[0] == "image_shards"


def test_shard_classes_are_numbers_without_classes_txt(tmp_path: Path) -> None:
    root = make_shards(make_tree(tmp_path / "tree"), tmp_path / "shards", classes=False)
    assert load_image_shards(root=root, image_size=16).classes == ("0", "1")


def test_read_shard_notices_every_torn_length(shards: Path) -> None:
    """An archive cut after any block is an error, never a smaller data set."""
    path = shards / "train" / "000000.tar"
    complete = path.read_bytes()
    end = len(complete.rstrip(b"\0")) // 512 * 512 + 512
    assert len(read_shard(path)) == 3
    for length in [*range(0, end + 1, 512), 100, end - 7]:
        path.write_bytes(complete[:length])
        with pytest.raises(DataError, match=r"000000\.tar"):
            read_shard(path)


def test_read_shard_notices_a_damaged_header(shards: Path) -> None:
    path = shards / "train" / "000000.tar"
    with tarfile.open(path) as archive:
        offset = archive.getmembers()[2].offset
    damaged = bytearray(path.read_bytes())
    damaged[offset + 20] ^= 0xFF
    path.write_bytes(bytes(damaged))
    with pytest.raises(DataError, match=rf"000000\.tar' is damaged after 2 members, at byte {offset}"):
        load_image_shards(root=shards)


def rewritten(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            add(archive, name, content)


def contents(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {item.name: archive.extractfile(item).read() for item in archive.getmembers()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"000000.cls": None}, r"1 images without a label \(000000\)"),
        ({"000000.png": None}, r"1 labels without an image \(000000\)"),
        ({"000000.cls": b"2"}, r"000000\.png' has label 2; with 2 classes labels are 0 to 1"),
        ({"000000.cls": b"-1"}, r"has label -1"),
        ({"000000.cls": b"cat"}, r"'cat' is not a label; it should be a class index"),
        ({"000000.cls": b"1.5"}, r"'1.5' is not a label"),
        ({"000000.cls": b"true"}, r"'true' is not a label"),
        ({"000000.cls": b'{"class": 1}'}, r"is not a label"),
        ({"000000.jpg": b"x"}, r"the key '000000' occurs twice"),
        (
            {"000000.png": b"no pixels"},
            r"1 of 8 images checked cannot be read: .*000000\.tar:000000\.png' \(not an image\)",
        ),
    ],
    ids=str,
)
def test_load_image_shards_names_what_is_wrong_in_an_archive(shards: Path, change: dict, message: str) -> None:
    path = shards / "train" / "000000.tar"
    members = {name: content for name, content in (contents(path) | change).items() if content is not None}
    rewritten(path, members)
    with pytest.raises(DataError, match=message):
        load_image_shards(root=shards, image_size=16)


def test_load_image_shards_names_missing_and_empty_parts(tmp_path: Path, shards: Path) -> None:
    with pytest.raises(DataError, match=r"needs data.root"):
        load_image_shards(root=None)
    with pytest.raises(DataError, match=r"is not a folder"):
        load_image_shards(root=tmp_path / "nowhere")
    (shards / "classes.txt").write_text("cat\ndog\nemu\n")
    with pytest.raises(DataError, match=r"train split .* has 1 class\(es\) without an image: emu"):
        load_image_shards(root=shards)
    (shards / "classes.txt").write_text("cat\ncat\n")
    with pytest.raises(DataError, match=r"names a class twice: cat"):
        load_image_shards(root=shards)
    (shards / "classes.txt").unlink()
    for path in (shards / "val").glob("*.tar"):
        rewritten(path, {})
    with pytest.raises(DataError, match=r"hold no readable image: an empty split"):
        load_image_shards(root=shards)
    for path in (shards / "val").glob("*.tar"):
        path.unlink()
    with pytest.raises(DataError, match=r"has no .tar archive"):
        load_image_shards(root=shards)


def test_shard_classes_refuse_labels_with_a_gap(shards: Path) -> None:
    (shards / "classes.txt").unlink()
    for path in (shards / "train").glob("*.tar"):
        members = {name: b"1000000000" if content == b"1" else content for name, content in contents(path).items()}
        rewritten(path, members)
    with pytest.raises(DataError, match=r"are 0, 1000000000; without classes.txt they should be 0, 1, 2"):
        load_image_shards(root=shards)


def test_load_image_shards_names_an_archive_cut_after_the_check(shards: Path) -> None:
    train = load_image_shards(root=shards, image_size=16).train
    path = shards / "train" / "000001.tar"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match=r"^image '.*000001\.tar:00000\d\.png' .* cannot be read"):
        batches(train, size=2)
