"""The folder of runs: ids, hostile names, damage, and what a reader concludes."""

import json
import os
import subprocess
import time

import pytest

from nes_lab.errors import RunError
from nes_lab.runs.process import STALE_SECONDS, Identity
from nes_lab.runs.store import RunStore
from nes_lab.runs.writer import RunWriter


def set_status(store, run_id, **content):
    path = store.path(run_id) / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | content))


def alive_status(**changes):
    beat = {"heartbeat": time.time(), "uptime": time.monotonic()}
    return {"state": "running"} | Identity.of().to_dict() | beat | changes


def test_a_new_run_is_queued_and_listed_newest_first(store):
    first = store.create({"seed": 0}, label="a", group="g")
    second = store.create({"seed": 1})
    assert [info.id for info in store.list()] == [second, first]
    info = store.get(first)
    assert (info.state, info.label, info.group, info.config) == ("queued", "a", "g", {"seed": 0})


@pytest.mark.parametrize("label", ["<b>x</b>", "=1+1", "../../etc", "\0\n\x1b[31m", "Ünïcode 漢字", "x" * 5000, ""])
def test_a_label_may_be_anything(store, label):
    run_id = store.create({}, label=label)
    assert store.get(run_id).label == label
    assert store.path(run_id).parent == store.root


@pytest.mark.parametrize(
    "name",
    [
        "../../etc",
        "..",
        ".",
        "",
        "%2e%2e",
        "%2e%2e%2f",
        "a/b",
        "a\0b",
        "A",
        "-a",
        "a" * 65,
        "a\n",
        "a ",
        ".queue",
        3,
        None,
        "é",
    ],
)
def test_hostile_ids_are_refused(store, name):
    store.create({})
    for act in (store.path, store.get, store.delete, store.metrics, store.latest_checkpoint, store.find):
        with pytest.raises(RunError, match="is not a run id"):
            act(name)


def test_a_linked_run_is_refused_and_not_listed(store, tmp_path):
    run_id = store.create({})
    elsewhere = tmp_path / "elsewhere"
    store.path(run_id).rename(elsewhere)
    (store.root / "linked").symlink_to(elsewhere)
    assert store.list() == []
    with pytest.raises(RunError, match="link"):
        store.get("linked")
    with pytest.raises(RunError, match="link"):
        store.delete("linked")
    assert (elsewhere / "run.json").exists()


def test_linked_files_in_a_run_are_not_followed(store, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text('{"secret": 1}')
    run_id = store.create({})
    config = store.path(run_id) / "config.json"
    config.unlink()
    config.symlink_to(secret)
    with pytest.raises(RunError, match="cannot be read"):
        store.get(run_id)
    (store.path(run_id) / "metrics.jsonl").symlink_to(secret)
    with pytest.raises(RunError, match="cannot be"):
        store.metrics(run_id)


def test_a_wrong_id_suggests_the_nearest(store):
    run_id = store.create({}, label="first")
    with pytest.raises(RunError, match=run_id):
        store.get(run_id[:-1] + ("0" if run_id[-1] != "0" else "1"))
    assert store.find(run_id[-6:]).id == run_id


def test_an_ambiguous_beginning_is_an_error(store):
    first, second = store.create({}), store.create({})
    assert first[:8] == second[:8]  # the date
    with pytest.raises(RunError, match="could be any of"):
        store.find(first[:8])


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_another_schema_is_a_clear_error_and_does_not_spoil_the_list(store, version):
    old, good = store.create({}), store.create({})
    path = store.path(old) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": version}))
    with pytest.raises(RunError, match="schema_version"):
        store.get(old)
    states = {info.id: info for info in store.list()}
    assert states[good].state == "queued"
    assert states[old].state == "lost"
    assert "schema_version" in states[old].reason
    with pytest.raises(RunError, match="schema_version"), RunWriter(store, old):
        pass


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"state": "dancing"}', b"{}", b"[" * 9000]
)
def test_a_damaged_status_means_lost_with_a_reason(store, content):
    run_id = store.create({})
    path = store.path(run_id) / "status.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    info = store.get(run_id)
    assert info.state == "lost"
    assert "status.json" in info.reason


def test_a_run_with_a_damaged_status_can_be_resumed(store):
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        writer.status("cancelled", step=5, total=9)
    (store.path(run_id) / "status.json").write_text("{")
    with RunWriter(store, run_id) as writer:
        assert writer.attempt == 2
        writer.status("finished")
    assert store.get(run_id).state == "finished"


def test_a_living_process_runs(store):
    run_id = store.create({})
    set_status(store, run_id, **alive_status())
    assert store.get(run_id).state == "running"


def test_a_reused_pid_is_lost(store):
    run_id = store.create({})
    now = alive_status()
    set_status(store, run_id, **now | {"create_time": now["create_time"] - 9, "start_ticks": now["start_ticks"] - 900})
    info = store.get(run_id)
    assert info.state == "lost"
    assert "another one has its number" in info.reason


def test_a_dead_process_is_lost(store, python):
    child = subprocess.Popen([python, "-c", "input()"], stdin=subprocess.PIPE)
    run_id = store.create({})
    set_status(store, run_id, **alive_status(), **{})
    set_status(store, run_id, **Identity.of(child.pid).to_dict())
    assert store.get(run_id).state == "running"
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, but not collected
    info = store.get(run_id)
    assert info.state == "lost"
    assert "zombie" in info.reason
    child.communicate()
    assert f"process {child.pid} is gone (memory or the disk may have been full)" in store.get(run_id).reason


def test_a_silent_process_is_lost_until_it_speaks(store):
    run_id = store.create({})
    set_status(store, run_id, **alive_status(uptime=time.monotonic() - STALE_SECONDS - 1))
    info = store.get(run_id)
    assert info.state == "lost"
    assert "silent" in info.reason
    set_status(store, run_id, **alive_status())
    assert store.get(run_id).state == "running"


def test_a_stepping_clock_loses_nothing(store):
    run_id = store.create({})
    for step in (-3600, 3600):
        set_status(store, run_id, **alive_status(heartbeat=time.time() + step))
        assert store.get(run_id).state == "running"


def test_a_restarted_machine_loses_the_run(store):
    run_id = store.create({})
    set_status(store, run_id, **alive_status(boot_id="another", heartbeat=time.time() - 60))
    assert "restarted" in store.get(run_id).reason


def test_a_run_on_another_machine_is_judged_by_its_heartbeat(store):
    run_id = store.create({})
    set_status(store, run_id, **alive_status(host="elsewhere"))
    assert store.get(run_id).state == "running"
    set_status(store, run_id, **alive_status(host="elsewhere", heartbeat=time.time() - 60))
    assert store.get(run_id).state == "lost"


def test_a_status_without_a_process_is_lost(store):
    run_id = store.create({})
    set_status(store, run_id, state="running")
    assert "which process" in store.get(run_id).reason


def test_delete_removes_but_not_under_a_writer(store):
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        with pytest.raises(RunError, match=f"locked by pid {os.getpid()}"):
            store.delete(run_id)
        writer.status("finished")
    store.delete(run_id)
    assert store.list() == []
    assert list(store.root.iterdir()) == []


def test_a_root_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="NES_LAB_HOME"):
        RunStore(tmp_path / "file" / "runs").create({})


def test_a_read_only_root_can_be_read(store, monkeypatch):
    run_id = store.create({})

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "mkdir", refuse)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(RunError, match="Read-only"):
        store.create({})
    assert store.get(run_id).state == "queued"


def test_a_crash_while_creating_leaves_no_half_run(store, monkeypatch):
    monkeypatch.setattr("nes_lab.runs.checkpoints.empty_manifest", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.create({})
    assert store.list() == []


def test_no_root_is_no_runs(tmp_path):
    assert RunStore(tmp_path / "none").list() == []


def test_the_root_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))
    assert RunStore().root == tmp_path / "runs"
    monkeypatch.delenv("NES_LAB_HOME")
    monkeypatch.chdir(tmp_path)
    assert RunStore().root == tmp_path / "data" / "runs"


def test_two_hundred_runs_list_quickly(store, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    for _ in range(200):
        run_id = store.create({})
    lines = "".join(json.dumps({"step": step, "loss": 1.0}) + "\n" for step in range(10_000))
    (store.path(run_id) / "metrics.jsonl").write_text(lines)
    began = time.perf_counter()
    assert len(store.list()) == 200
    assert len(store.metrics(run_id)) == 10_000
    assert time.perf_counter() - began < 2.0  # the runs page has two seconds


def test_the_room_is_torch_free(python):
    code = (
        "import sys, nes_lab.runs.store, nes_lab.runs.writer, nes_lab.runs.launcher, nes_lab.runs.query, "
        "nes_lab.runs.snapshots; sys.exit('torch' in sys.modules or 'pydantic' in sys.modules)"
    )
    assert subprocess.run([python, "-c", code], check=False).returncode == 0
