"""Checkpoints: whole or not there, newest whole one wins, and never silently from scratch."""

import contextlib
import json
import os

import pytest

from nes_lab.errors import CheckpointError
from nes_lab.runs.checkpoint_score import Score
from nes_lab.runs.writer import RunWriter


def save(writer, step, keep=2, top1=None, averaged=None):
    weights, state = writer.checkpoint_paths(step)
    weights.write_bytes(b"weights %d" % step * 20)
    state.write_bytes(b"state %d" % step * 20)
    score = None if top1 is None else Score("top1", "higher", top1, averaged)
    writer.commit_checkpoint(step, [weights, state], keep=keep, score=score)


@pytest.fixture
def run_id(store):
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        assert writer.latest_checkpoint() is None
        for step in (10, 20, 30):
            save(writer, step)
        writer.status("cancelled")
    return run_id


def names(store, run_id):
    return sorted(path.name for path in (store.path(run_id) / "checkpoints").iterdir())


def test_the_latest_is_read_and_old_ones_rotate(store, run_id):
    found = store.latest_checkpoint(run_id)
    assert (found.step, found.note) == (30, "")
    assert found.weights.read_bytes().startswith(b"weights 30")
    assert found.state.read_bytes().startswith(b"state 30")
    assert [name[:13] for name in names(store, run_id)] == ["manifest.json"] + ["step-00000020"] * 2 + [
        "step-00000030"
    ] * 2


def test_the_best_stays_until_a_better_one_comes(store):
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        assert store.best_checkpoint(run_id) is None
        for step, top1 in ((10, 50.0), (20, 60.0), (30, 60.0), (40, None), (50, 55.0)):
            save(writer, step, top1=top1)
        assert [name[5:13] for name in names(store, run_id)[1:]] == ["00000020"] * 2 + ["00000040"] * 2 + [
            "00000050"
        ] * 2
        found = store.best_checkpoint(run_id)
        assert found.step == 20 and found.weights.read_bytes().startswith(b"weights 20")
        assert store.latest_checkpoint(run_id).step == 50
        save(writer, 60, top1=70.0)
        save(writer, 70)
        assert store.best_checkpoint(run_id).step == 60
        assert [name[5:13] for name in names(store, run_id)[1:]] == ["00000060"] * 2 + ["00000070"] * 2
        damage(store.best_checkpoint(run_id).weights, "flipped bit")
        with pytest.raises(CheckpointError, match=r"the best checkpoint .* step 60, is damaged: .* was altered"):
            store.best_checkpoint(run_id)
        writer.status("cancelled")


def steps(store, run_id):
    return [int(name[5:13]) for name in names(store, run_id)[1::2]]


def test_the_best_of_each_network_stays(store):
    """The averaged one of step 20 beats the plain one of step 10."""
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        for step, top1, averaged in ((10, 50.0, 40.0), (20, 45.0, 60.0), (30, 41.0, 50.0), (40, 42.0, 60.0)):
            save(writer, step, keep=1, top1=top1, averaged=averaged)
        writer.status("cancelled")
    assert steps(store, run_id) == [10, 20, 40]
    found = [store.best_checkpoint(run_id, averaged) for averaged in (False, True, None)]
    assert [(best.step, best.averaged, best.value) for best in found] == [
        (10, False, 50.0), (20, True, 60.0), (20, True, 60.0)]  # fmt: skip
    assert found[2].text() == "averaged weights of step 20, top1 60"


def test_the_best_may_be_the_lowest(store):
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        for step, plain, averaged in ((10, 0.5, 0.6), (20, 0.3, 0.4), (30, 0.4, float("nan"))):
            weights, _ = writer.checkpoint_paths(step)
            weights.write_bytes(b"x")
            writer.commit_checkpoint(step, [weights], keep=1, score=Score("error", "lower", plain, averaged))
        writer.status("cancelled")
    assert steps(store, run_id)[0] == 20
    best = store.best_checkpoint(run_id, None)
    assert (best.step, best.averaged, best.text()) == (20, False, "weights of step 20, error 0.3")


def test_the_best_of_a_run_of_an_older_version_is_found(store, run_id):
    path = store.path(run_id) / "checkpoints" / "manifest.json"
    manifest = json.loads(path.read_text())
    for entry, top1 in zip(manifest["checkpoints"], (70.0, 60.0), strict=True):
        entry["top1"] = top1  # version 0.1.0 wrote the plain network's value alone, also if weights were averaged
    path.write_text(json.dumps(manifest))
    found = [store.best_checkpoint(run_id, averaged) for averaged in (False, True, None)]
    assert [(best.step, best.averaged) for best in found] == [(20, False), (20, True), (20, False)]


def damage(path, how):
    data = path.read_bytes()
    changed = {
        "flipped bit": data[:7] + bytes([data[7] ^ 1]) + data[8:],
        "truncated": data[: len(data) // 2],
        "empty": b"",
        "longer": data + b"x",
    }
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(changed[how])


@pytest.mark.parametrize("which", ["weights", "state"])
@pytest.mark.parametrize("how", ["flipped bit", "truncated", "empty", "longer", "gone"])
def test_a_damaged_checkpoint_falls_back_and_says_so(store, run_id, which, how):
    damage(getattr(store.latest_checkpoint(run_id), which), how)
    found = store.latest_checkpoint(run_id)
    assert found.step == 20
    why = {"flipped bit": "SHA-256 differs", "gone": "cannot be read"}.get(how, "wrong size")
    assert "step 30" in found.note
    assert why in found.note
    with RunWriter(store, run_id) as writer:
        assert writer.latest_checkpoint().step == 20
        writer.status("cancelled")
    events = [row for row in store.events(run_id) if row["kind"] == "checkpoint_fallback"]
    assert [row["step"] for row in events] == [20]
    assert "step 30" in events[0]["reason"]


def test_no_whole_checkpoint_is_an_error_and_not_a_fresh_start(store, run_id):
    for path in (store.path(run_id) / "checkpoints").glob("*.safetensors"):
        damage(path, "flipped bit")
    with pytest.raises(CheckpointError, match="all checkpoints of run"):
        store.latest_checkpoint(run_id)


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"checkpoints": 3}', b'{"checkpoints": [3]}'])
def test_without_a_manifest_latest_json_still_helps(store, run_id, content):
    manifest = store.path(run_id) / "checkpoints" / "manifest.json"
    manifest.unlink()
    if content is not None:
        manifest.write_bytes(content)
    assert store.latest_checkpoint(run_id).step == 30
    with RunWriter(store, run_id) as writer:
        save(writer, 40)
        writer.status("cancelled")
    assert store.latest_checkpoint(run_id).step == 40


def test_without_manifest_and_latest_nothing_is_trusted(store, run_id):
    (store.path(run_id) / "checkpoints" / "manifest.json").unlink()
    (store.path(run_id) / "latest.json").unlink()
    with pytest.raises(CheckpointError, match="cannot be trusted"):
        store.latest_checkpoint(run_id)


@pytest.mark.parametrize("entry", [{}, {"step": 1}, {"step": "1", "files": {}}, {"step": 1, "files": {"weights": 3}}])
def test_a_strange_entry_is_passed_over(store, run_id, entry):
    manifest = store.path(run_id) / "checkpoints" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["checkpoints"].append(entry)
    manifest.write_text(json.dumps(content))
    assert store.latest_checkpoint(run_id).step == 30


def test_an_entry_cannot_lead_outside_the_run(store, run_id, tmp_path):
    (tmp_path / "evil.safetensors").write_bytes(b"")
    manifest = store.path(run_id) / "checkpoints" / "manifest.json"
    content = json.loads(manifest.read_text())
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of nothing
    about = {"name": "../../../evil.safetensors", "sha256": empty, "size": 0}
    content["checkpoints"].append({"step": 99, "files": {"weights": about}})
    manifest.write_text(json.dumps(content))
    assert store.latest_checkpoint(run_id).step == 30


class Killed(BaseException):
    """Stands for SIGKILL: nothing that catches errors may catch it."""


def count_calls(monkeypatch, store, name):
    calls = []
    real = getattr(os, name)
    with monkeypatch.context() as patch:
        patch.setattr(os, name, lambda *args, **kw: (calls.append(1), real(*args, **kw))[1])
        run_id = store.create({})
        writer = RunWriter(store, run_id).__enter__()
        save(writer, 10)
        calls.clear()
        save(writer, 20, keep=1)
        writer.status("cancelled")
        writer.__exit__(None, None, None)
    return len(calls)


@pytest.mark.parametrize("name", ["replace", "fsync", "unlink"])
@pytest.mark.parametrize("late", [False, True])
def test_killed_at_any_point_of_a_save_the_old_or_the_new_one_is_whole(store, monkeypatch, name, late):
    moments = count_calls(monkeypatch, store, name)
    assert moments > 0
    for moment in range(moments):
        run_id = store.create({})
        writer = RunWriter(store, run_id).__enter__()
        save(writer, 10)
        left = [moment]
        real = getattr(os, name)

        def die(*args, left=left, real=real, **kw):
            left[0] -= 1
            if left[0] < 0:
                if late:
                    real(*args, **kw)
                raise Killed
            return real(*args, **kw)

        with monkeypatch.context() as patch:
            patch.setattr(os, name, die)
            with contextlib.suppress(Killed):
                save(writer, 20, keep=1)
        found = store.latest_checkpoint(run_id)
        assert found.step in (10, 20)
        assert found.note == ""
        save(writer, 30)  # and the next save works, leaving no litter
        assert store.latest_checkpoint(run_id).step == 30
        assert [item for item in names(store, run_id) if item.startswith((".tmp", ".saving"))] == []
        writer.status("cancelled")
        writer.__exit__(None, None, None)


def test_killed_before_the_first_commit_nothing_was_lost(store):
    run_id = store.create({})
    (store.path(run_id) / "checkpoints" / "step-00000010-a01.safetensors").write_bytes(b"half")
    assert store.latest_checkpoint(run_id) is None


def test_a_repeated_step_of_a_later_attempt_leaves_the_first_alone(store, run_id):
    first = store.latest_checkpoint(run_id)
    with RunWriter(store, run_id) as writer:
        save(writer, 30)
        assert first.weights.exists()
        assert store.latest_checkpoint(run_id).weights != first.weights
        writer.status("cancelled")


def test_files_of_another_place_or_kind_are_refused(store, tmp_path):
    with RunWriter(store, store.create({})) as writer:
        outside = tmp_path / "a.safetensors"
        outside.write_bytes(b"x")
        state = writer.checkpoint_dir / "a.pt"
        state.write_bytes(b"x")
        odd = writer.checkpoint_dir / "a.pickle"
        odd.write_bytes(b"x")
        for files in ([outside], [state], [odd], []):
            with pytest.raises(CheckpointError):
                writer.commit_checkpoint(1, files)
        with pytest.raises(CheckpointError, match="No such file"):
            writer.commit_checkpoint(1, [writer.checkpoint_dir / "none.safetensors"])
        writer.status("finished")
