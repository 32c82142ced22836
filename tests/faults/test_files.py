"""Torn, doubled and damaged files; directories of another schema; many runs."""

import json
import os
import shutil
import signal
import time

import pytest

from nes_lab.cli import main
from nes_lab.runs import store as store_module
from nes_lab.runs.writer import RunWriter
from tests.faults.conftest import config, count_lost, saved

pytestmark = pytest.mark.slow
DAMAGES = {
    "torn metrics": ("metrics.jsonl", lambda data: data + b'{"step": 11, "split": "train", "lo'),
    "doubled metrics": ("metrics.jsonl", lambda data: data + data[-300:]),
    "zeros in metrics": ("metrics.jsonl", lambda data: data + b"\0" * 100),
    "foreign metrics": ("metrics.jsonl", lambda data: b"[]\n3\n\xff\xfe\n" + data),
    "torn events": ("events.jsonl", lambda data: data[:-5]),
    "no events": ("events.jsonl", lambda data: b""),
    "torn status": ("status.json", lambda data: data[:40]),
    "empty status": ("status.json", lambda data: b""),
    "strange status": ("status.json", lambda data: b'{"state": "dancing", "attempt": -3}'),
    "torn summary": ("summary.json", lambda data: data[:10]),
    "torn claim": ("claim.json", lambda data: b"{"),
    "empty lock": ("lock", lambda data: b""),
    "damaged cost": ("cost.json", lambda data: b"\0"),
    "torn curve": ("curve.json", lambda data: data[:40]),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_costs_nothing_but_itself(store, zygote, ends_exactly, tally, name):
    file, change = DAMAGES[name]
    run_id = store.create(config())
    assert zygote.train(store, run_id, kill_at_row={"row": 7}) == -signal.SIGKILL
    before = saved(store, run_id)
    path = store.path(run_id) / file
    path.write_bytes(change(path.read_bytes() if path.exists() else b""))
    assert [info.state for info in store.list()] == ["lost"]
    same = ends_exactly(store, run_id)
    assert store.get(run_id).attempt == 2
    tally(
        "metrics cut short, duplicated or from another run; status, events, summary, claim or lock damaged",
        "lost, with the name of the file if it matters; incomplete rows are ignored; continues",
        resumed=1,
        identical=same,
        lost=count_lost(store, run_id, before),
    )


@pytest.mark.parametrize("version", [0, "none", 2, "1"])
def test_a_directory_of_another_schema(store, tally, monkeypatch, capsys, version):
    monkeypatch.setenv("NES_LAB_HOME", str(store.root.parent))
    old, good = store.create({}, label="old"), store.create({}, label="good")
    path = store.path(old) / "run.json"
    about = json.loads(path.read_text())
    about.pop("schema_version")
    path.write_text(json.dumps(about if version == "none" else about | {"schema_version": version}))
    states = {info.id: info.state for info in store.list()}
    assert states == {old: "lost", good: "queued"}
    for words in (["runs"], ["watch", "--once"]):
        assert main(words) == 0
        out = " ".join(capsys.readouterr().out.split())
        assert good in out and "schema_version" in out
    for verb in ("resume", "report", "cancel"):
        assert main([verb, old]) == 2
        err = capsys.readouterr().err
        assert "schema_version" in err and "Traceback" not in err
    assert main(["rm", old, "--yes"]) == 0
    assert [info.id for info in store.list()] == [good]
    tally(
        "a run directory of an older or newer schema",
        "listed with the reason; refused when it is opened; lists still work",
    )


def test_two_hundred_runs_of_ten_thousand_points(store, tally, monkeypatch):
    first = store.create(config())
    with RunWriter(store, first) as writer:
        for step in range(1, 10_001):
            writer.metric(step=step, split="train", loss=1.0 / step)
        writer.status("finished", step=10_000, total=10_000)
    for number in range(199):
        shutil.copytree(store.path(first), store.root / f"copy-{number}")
    reads = []
    original = store_module.read_lines
    monkeypatch.setattr(store_module, "read_lines", lambda path: (reads.append(path), original(path))[1])
    seconds = []
    for _ in range(3):  # the machine may be busy with other things: the best of three
        began = time.perf_counter()
        found = store.list()
        seconds.append(time.perf_counter() - began)
    assert len(found) == 200 and reads == []  # listing reads no curve
    assert min(seconds) < 2.0
    began = time.perf_counter()
    assert len(store.metrics(first)) == 10_000
    assert time.perf_counter() - began < 2.0
    tally("200 runs of 10,000 points", "listed in under two seconds; the curves are not read for it", injected=200)


def test_logs_rotate_under_a_process_that_writes(store, tally):
    from nes_lab.runs.files import rotate

    log = store.path(store.create({})) / "log.txt"
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in range(2000):
        os.write(handle, b"line %06d of a training that says much\n" % number)
        rotate(log, most=20_000, keep=5_000)
    os.close(handle)
    sizes = [log.stat().st_size, log.with_name("log.txt.1").stat().st_size]
    assert max(sizes) <= 20_100
    assert log.read_text().splitlines()[-1].startswith("line 001999") or log.stat().st_size == 0
    tally("a log that grows without end", "shortened in place; its end is kept")
