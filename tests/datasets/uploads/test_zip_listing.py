"""Hostile and damaged zip files are refused with a sentence, and leave nothing on the disk."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from nes_lab.datasets.uploads.limits import UploadLimits
from nes_lab.datasets.uploads.unpack import unpack_upload
from nes_lab.datasets.uploads.zip_listing import list_zip
from nes_lab.errors import DataError
from tests.datasets.uploads.zips import make_zip, picture, two_classes


def refused(root, file, limits=None):
    """Upload a file that must be refused, and return the message."""
    with pytest.raises(DataError) as error:
        unpack_upload(file if hasattr(file, "read") else io.BytesIO(file), "pets.zip", root=root, limits=limits)
    assert not root.exists() or list(root.iterdir()) == []
    return str(error.value)


def with_entry(name, content=b"", mode=0, compress=zipfile.ZIP_DEFLATED):
    """A good zip file with one more entry, which has this mode of Unix."""
    file = make_zip(two_classes())
    info = zipfile.ZipInfo(name)
    info.external_attr, info.compress_type = mode << 16, compress
    with zipfile.ZipFile(file, "a") as opened:
        opened.writestr(info, content)
    return file


@pytest.mark.parametrize(
    "name",
    ["../evil.png", "cat/../../evil.png", "/etc/evil.png", "C:evil.png", "cat\\evil.png", "cat//evil.png", "./e.png"],
)
def test_paths_that_lead_out_are_refused(tmp_path, name):
    assert "The path" in refused(tmp_path / "up", with_entry(name, picture()))
    assert [path.name for path in tmp_path.iterdir()] in ([], ["up"])


@pytest.mark.parametrize(
    ("mode", "word"), [(0o120777, "link"), (0o020666, "device"), (0o060666, "device"), (0o010666, "device")]
)
def test_links_and_devices_are_refused(tmp_path, mode, word):
    assert f"is a {word}, not a file" in refused(tmp_path / "up", with_entry("cat/x.png", b"/etc/passwd", mode))


@pytest.mark.parametrize(
    "name", ["cat/a\nb.png", "cat/a\x1b[31m.png", "cat/gnp\u202e.exe.png", "cat/a\u200b.png", "cat/a\u2028.png"]
)
def test_names_with_invisible_characters_are_refused(tmp_path, name):
    assert "invisible characters" in refused(tmp_path / "up", with_entry(name, picture()))


def test_a_name_that_ends_at_a_nul_is_refused(tmp_path):
    file = with_entry("cat/x.png@.sh", picture()).getvalue().replace(b"x.png@", b"x.png\0")
    assert "invisible characters" in refused(tmp_path / "up", file)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["cat/0.png", "cat/0.PNG", "CAT/0.png", "cat/０.png"])
def test_one_path_twice_is_refused(tmp_path, name):
    assert "twice" in refused(tmp_path / "up", with_entry(name, picture()))


def test_an_archive_in_an_archive_is_refused(tmp_path):
    assert "holds another archive, 'cat/more.zip'" in refused(tmp_path / "up", with_entry("cat/more.zip", b"PK"))


def test_an_encrypted_file_is_refused(tmp_path):
    file = bytearray(make_zip(two_classes()).getvalue())
    place = file.find(b"PK\1\2")
    file[place + 8] |= 1
    assert "is encrypted" in refused(tmp_path / "up", bytes(file))


def test_bombs_are_refused(tmp_path):
    packed = {"compression": zipfile.ZIP_DEFLATED}
    flat = make_zip(two_classes() | {"cat/x.bmp": b"\0" * 30_000_000}, **packed)
    assert "times as large unpacked as packed; 100 times" in refused(tmp_path / "up", flat)
    assert "unpacked; " in refused(tmp_path / "up", flat, UploadLimits(bytes=10_000_000))


def test_a_file_longer_than_its_entry_says_is_refused(tmp_path):
    file = bytearray(make_zip(two_classes(), compression=zipfile.ZIP_DEFLATED).getvalue())
    place = file.find(b"PK\1\2")
    file[place + 24 : place + 28] = struct.pack("<L", 10)
    assert "damaged" in refused(tmp_path / "up", bytes(file))


def test_a_small_file_with_a_million_pixels_too_many_is_refused(tmp_path):
    huge = make_zip(two_classes() | {"cat/x.png": picture(size=1100)})
    message = refused(tmp_path / "up", huge, UploadLimits(pixels=1_000_000))
    assert "'x.png' has 1,100×1,100 pixels; 1,000,000" in message
    assert "pixels together" in refused(tmp_path / "up", huge, UploadLimits(all_pixels=1_000_000))


def test_too_many_files_are_refused_before_they_are_listed(tmp_path, monkeypatch):
    many = make_zip({f"cat/{i}.png": b"" for i in range(300)}).getvalue()
    assert "too many files; an upload may hold 20" in refused(tmp_path / "up", many, UploadLimits(files=20))
    lying = many[:-14] + struct.pack("<HH", 1, 1) + many[-10:]  # says: one file
    monkeypatch.setattr(zipfile, "ZipFile", lambda *given: pytest.fail("it was read"))
    assert "too many files" in refused(tmp_path / "up", lying, UploadLimits(files=20))
    end64 = b"PK\6\7" + b"\0" * 16 + many[-22:]
    assert "zip64" in refused(tmp_path / "up", many[:-22] + end64)


def test_deep_paths_and_long_names_are_refused(tmp_path):
    assert "9 folders deep; 8 are allowed" in refused(tmp_path / "up", with_entry("a/" * 9 + "x.png", picture()))
    assert "more than 200 bytes" in refused(tmp_path / "up", with_entry(f"cat/{'x' * 300}.png", picture()))


def test_files_that_are_no_zip_or_cut_short_are_refused(tmp_path):
    good = make_zip(two_classes()).getvalue()
    for file in (b"", b"hello", good[:-30], good[: len(good) // 2]):
        assert "not a zip file, or its end is missing" in refused(tmp_path / "up", file)
    for file in (good[100:], good[:40] + b"\xff" * 8 + good[48:]):
        assert "damaged or cut short" in refused(tmp_path / "up", file)
    assert "an upload may have 100 Bytes" in refused(tmp_path / "up", good, UploadLimits(zip_bytes=100))


def test_list_zip_leaves_out_what_is_no_image():
    files = two_classes() | {
        "__MACOSX/cat/._0.png": b"",
        "cat/.DS_Store": b"",
        "readme.txt": b"",
        "cat/labels.csv": b"",
    }
    with zipfile.ZipFile(make_zip(files)) as opened:
        found = list_zip(opened, UploadLimits())
    assert len(found.entries) == 10 and found.others == 2
    with zipfile.ZipFile(make_zip({"readme.txt": b""})) as opened, pytest.raises(DataError, match="holds no image"):
        list_zip(opened, UploadLimits())
