"""A run in one file: what goes in, what comes out on another machine, and what is refused before anything is written."""

import contextlib
import hashlib
import json
import os
import stat
import zipfile

import pytest

from nes_lab.cli import main
from nes_lab.errors import RunError
from nes_lab.experiment.run import Run
from nes_lab.runs import layout
from nes_lab.runs.files import read_json, write_json
from nes_lab.runs.imports import imports_of_run
from nes_lab.runs.pack import pack_run
from nes_lab.runs.store import RunStore
from nes_lab.runs.unpack import unpack_run
from nes_lab.runs.writer import RunWriter


@pytest.fixture
def run(store):
    """A cancelled run with every kind of file."""
    run_id = store.create(
        {"seed": 3, "backbone": {"name": "their_nets:make"}, "training": {"epochs": 20}}, label="moved"
    )
    with RunWriter(store, run_id) as writer:
        paths = writer.checkpoint_paths(4)
        for path in paths:
            path.write_bytes(os.urandom(3000))
        writer.commit_checkpoint(4, list(paths))
        writer.metric(step=4, split="val", top1=70.0)
        writer.summary(params=10)
        writer.status("cancelled", step=4, total=8)
    (store.path(run_id) / layout.SNAPSHOTS).mkdir()
    (store.path(run_id) / layout.SNAPSHOTS / "step-4.safetensors").write_bytes(b"x" * 100)
    (store.path(run_id) / layout.REPORT).write_text("<html>")
    return run_id


@pytest.fixture
def packed(store, run, tmp_path):
    return pack_run(store, run, tmp_path / "run.zip")


@pytest.fixture
def other(tmp_path):
    return RunStore(tmp_path / "elsewhere" / "runs")


def rewritten(packed, change):
    """A packed run with other contents: ``change`` gets the list of contents and the members, and returns the members."""
    with zipfile.ZipFile(packed) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(members.pop("pack.json"))
    members = change(about, members) or members
    path = packed.with_name("changed.zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pack.json", json.dumps(about))
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_pack_run_and_import_run_carry_everything(store, run, packed, other):
    with zipfile.ZipFile(packed) as archive:
        names = archive.namelist()
        assert not {"cwd", "imports"} & set(json.loads(archive.read("run/run.json")))
        assert str(store.root).encode() not in b"".join(archive.read(name) for name in names)
    assert not {f"run/{name}" for name in (layout.LOCK, layout.REPORT, layout.CLAIM)} & set(names)
    assert unpack_run(other, packed) == run
    here, there = store.get(run), other.get(run)
    for field in ("label", "state", "step", "total", "attempt", "config", "summary", "created"):
        assert getattr(here, field) == getattr(there, field), field
    assert there.pid is None
    assert other.metrics(run) == store.metrics(run) and other.events(run) == store.events(run)
    assert other.latest_checkpoint(run).weights.read_bytes() == store.latest_checkpoint(run).weights.read_bytes()
    assert [path.name for path in other.root.iterdir()] == [run]


def test_import_run_refuses_an_existing_id_or_takes_a_new_one(store, run, packed):
    with pytest.raises(RunError, match=f"run {run} exists already .*--new-id"):
        unpack_run(store, packed)
    again = unpack_run(store, packed, new_id=True)
    assert again != run and store.get(again).label == "moved"
    assert read_json(store.path(again) / layout.RUN)["imported"]["id"] == run


def import_refused(path, other):
    run = unpack_run(other, path)
    with pytest.raises(RunError, match="names your own code"), imports_of_run(other.path(run)):
        pass
    return run


def claims_trust(about, members):
    """A sender cannot grant what only the importer may."""
    run = json.loads(members["run/run.json"]) | {"imports": {"backbone.name": "/tmp"}, "cwd": "/tmp"}
    members["run/run.json"] = json.dumps(run).encode()
    digest = hashlib.sha256(members["run/run.json"]).hexdigest()
    about["files"]["run.json"] = {"size": len(members["run/run.json"]), "sha256": digest}


def test_import_run_imports_no_code_unless_allowed(packed, other, monkeypatch, tmp_path):
    for path in (rewritten(packed, claims_trust), packed):
        run = import_refused(path, other)
        assert read_json(other.path(run) / layout.RUN)["cwd"] != "/tmp"
        other.delete(run)
    (tmp_path / "their_nets.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    run = unpack_run(other, packed)
    for proceed in (Run(other, run).resume, lambda: Run(other, run).extend(40)):
        with pytest.raises(RunError, match="names your own code"):
            proceed()
    assert other.get(run).state == "cancelled"
    trusted = unpack_run(other, packed, new_id=True, allow_import=True)
    with imports_of_run(other.path(trusted)):
        pass


def test_pack_run_refuses_a_run_that_trains_or_waits(store, run, tmp_path):
    for run_id in (run, store.create({})):
        context = RunWriter(store, run_id) if run_id == run else contextlib.nullcontext()
        with context, pytest.raises(RunError, match="it can be packed when it has ended"):
            pack_run(store, run_id, tmp_path / "active.zip")
    assert not list(tmp_path.glob("*.zip"))


def test_pack_run_turns_a_lost_run_into_a_resumable_one(store, run, other, tmp_path):
    status = store.path(run) / layout.STATUS
    write_json(
        status,
        read_json(status)
        | {"state": "running", "pid": 4_000_000, "create_time": 1.0, "start_ticks": 1, "heartbeat": 0.0},
    )
    assert store.get(run).state == "lost"
    there = other.get(unpack_run(other, pack_run(store, run, tmp_path / "lost.zip")))
    assert there.state == "cancelled" and there.reason.startswith("it was lost when it was packed")


def test_pack_run_refuses_links_and_existing_files(store, run, packed, tmp_path):
    with pytest.raises(RunError, match="exists already"):
        pack_run(store, run, packed)
    (store.path(run) / "secret").symlink_to("/etc/passwd")
    with pytest.raises(RunError, match="secret is a link"):
        pack_run(store, run, tmp_path / "linked.zip")
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "run.zip"}


def renamed(old, new):
    def change(about, members):
        about["files"][new] = about["files"].pop(old)
        return {(f"run/{new}" if name == f"run/{old}" else name): data for name, data in members.items()}

    return change


def flipped(about, members):
    members["run/config.json"] = members["run/config.json"].replace(b"3", b"4")


def unlisted(about, members):
    members["run/more"] = b"more"


def longer(about, members):
    members["run/log.txt"] = b"x" * 10
    about["files"]["log.txt"] = {"size": 5, "sha256": "0" * 64}


def without_status(about, members):
    del about["files"]["status.json"], members["run/status.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed("summary.json", "../summary.json"), "'../summary.json' is not the path"),
        (renamed("summary.json", "/etc/summary.json"), "'/etc/summary.json' is not the path"),
        (renamed("summary.json", "a/../../summary.json"), "is not the path"),
        (renamed("summary.json", "..\\summary.json"), "is not the path"),
        (renamed("summary.json", "lock"), "'lock' is not the path"),
        (renamed("summary.json", ".hidden"), "is not the path"),
        (flipped, "the SHA-256 of config.json differs"),
        (unlisted, "first in 'run/more'"),
        (longer, "log.txt has 10 bytes instead of 5"),
        (without_status, "status.json is missing"),
        (lambda about, members: about.update(id="../x"), "not a run id"),
        (lambda about, members: about.update(schema_version=9), "schema_version=9"),
        (lambda about, members: about.update(format="other"), "is not a packed run"),
        (lambda about, members: about.update(files=[1]), "does not list files"),
    ],
)
def test_import_run_refuses_what_may_not_be_in_a_run(packed, other, change, message):
    with pytest.raises(RunError, match=message.replace("(", r"\(")):
        unpack_run(other, rewritten(packed, change))
    assert not other.root.exists() or list(other.root.iterdir()) == []


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_import_run_refuses_links_and_devices(packed, other, kind):
    path = packed.with_name("special.zip")
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            if info.filename == "run/summary.json":
                info.external_attr = (kind | 0o644) << 16
            new.writestr(info, old.read(info.filename))
    with pytest.raises(RunError, match="is a link, a device"):
        unpack_run(other, path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_import_run_refuses_a_truncated_or_foreign_file(packed, other, share):
    data = packed.read_bytes()
    packed.write_bytes(data[: int(share * len(data))])
    with pytest.raises(RunError, match="is not a packed run, or is damaged"):
        unpack_run(other, packed)
    assert not other.root.exists()


def test_import_run_survives_any_flipped_bit(packed, other):
    data = packed.read_bytes()
    for place in range(0, len(data), 401):
        changed = bytearray(data)
        changed[place] ^= 16
        packed.write_bytes(changed)
        try:
            other.delete(unpack_run(other, packed))
        except RunError:
            continue
    assert not other.root.exists() or list(other.root.iterdir()) == []


def test_runs_pack_and_import_on_the_command_line(store, run, packed, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NES_LAB_HOME", str(store.root.parent))
    monkeypatch.chdir(tmp_path)
    assert main(["runs", "pack", run[-6:]]) == 0
    assert (tmp_path / f"{run}.run.zip").is_file() and f"nes-lab runs import {run}.run.zip" in capsys.readouterr().out
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path / "elsewhere"))
    assert main(["runs", "import", f"{run}.run.zip"]) == 0
    assert "their_nets:make), which is not imported" in capsys.readouterr().out
    assert main(["runs", "import", f"{run}.run.zip"]) == 2
    assert "--new-id" in capsys.readouterr().err
    assert main(["runs", "imprt", "x"]) == 2
    assert "Did you mean 'import'" in capsys.readouterr().err
