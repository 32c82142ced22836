"""`nes-lab rm`: what is asked, what is refused, and what stays."""

import json
import os
import sys
from types import SimpleNamespace

import pytest

from nes_lab.cli import main
from nes_lab.runs import claims
from nes_lab.runs.store import RunStore
from nes_lab.runs.writer import RunWriter


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))
    return RunStore()


def make(store, state="finished"):
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        writer.status(state)
    return run_id


def answer(monkeypatch, text):
    class Person(SimpleNamespace):
        def isatty(self):
            return True

        def readline(self):
            return text

    monkeypatch.setattr(sys, "stdin", Person())


def test_rm_deletes_named_runs_and_prints_their_size(store, capsys):
    gone, stays = make(store), make(store)
    (store.path(gone) / "log.txt").write_bytes(b"x" * 5000)
    size = store.size(gone)
    assert size > 5000
    assert main(["rm", gone[-6:], "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"deleted": [gone], "bytes": size}
    assert [info.id for info in store.list()] == [stays]
    assert main(["rm", stays, "--yes"]) == 0
    assert "deleted 1 run," in capsys.readouterr().out


def test_rm_deletes_by_state(store):
    failed, lost, finished = make(store, "failed"), make(store), make(store)
    (store.path(lost) / "status.json").write_text("{")
    old = make(store)
    (store.path(old) / "run.json").write_text('{"schema_version": 0}')
    assert main(["rm", "--state", "failed,lost", "--yes"]) == 0
    assert [info.id for info in store.list()] == [finished]
    assert failed not in os.listdir(store.root)


@pytest.mark.parametrize(("text", "status", "left"), [("n\n", 1, 1), ("", 1, 1), ("y\n", 0, 0), ("YES\n", 0, 0)])
def test_rm_asks_on_a_terminal(store, monkeypatch, capsys, text, status, left):
    run_id = make(store)
    answer(monkeypatch, text)
    assert main(["rm", run_id]) == status
    assert run_id in capsys.readouterr().out
    assert len(store.list()) == left


def test_rm_needs_yes_without_a_terminal(store, monkeypatch, capsys):
    run_id = make(store)
    with open(os.devnull) as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        assert main(["rm", run_id]) == 2
    assert "1 run would be deleted; add --yes" in capsys.readouterr().err
    assert len(store.list()) == 1


def test_rm_deletes_nothing_if_one_run_is_active(store, capsys):
    ended, busy = make(store), store.create({})
    with RunWriter(store, busy) as writer:
        assert main(["rm", ended, busy, "--yes"]) == 2
        assert f"run {busy} is running" in capsys.readouterr().err
        writer.status("finished")
    starting = store.create({})
    assert claims.try_claim(store.path(starting))
    assert main(["rm", starting, "--yes"]) == 2
    assert "about to start" in capsys.readouterr().err
    assert len(store.list()) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no run is given"),
        (["../../etc"], "not a run id"),
        (["nothing"], "there is no run"),
        (["--state", "running"], "--state='running'"),
        (["--state", "fialed"], "Did you mean 'failed'"),
    ],
)
def test_rm_names_mistakes(store, words, message, capsys):
    make(store)
    assert main(["rm", *words, "--yes"]) == 2
    assert message in capsys.readouterr().err
    assert len(store.list()) == 1


def test_rm_neither_follows_nor_counts_links(store, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"x" * 10_000)
    run_id = make(store)
    (store.path(run_id) / "link").symlink_to(outside)
    (store.root / "linked-run").symlink_to(outside)
    assert store.size(run_id) < 10_000
    assert main(["rm", "linked-run", "--yes"]) == 2
    assert main(["rm", run_id, "--yes"]) == 0
    assert (outside / "precious").exists()


def test_rm_cleans_old_files_of_killed_processes(store):
    make(store)
    for name, age in ((".trash-a", 9999), (".new-b", 9999), (".trash-young", 0), (".other", 9999)):
        (store.root / name).mkdir()
        then = os.stat(store.root / name).st_mtime - age
        os.utime(store.root / name, (then, then))
    assert main(["rm", "--state", "failed", "--yes"]) == 0
    assert {".trash-young", ".other"} == {
        name for name in os.listdir(store.root) if name.startswith((".t", ".n", ".o"))
    }
