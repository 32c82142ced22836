"""Labels, tags and notes that the user changes, also while a run trains."""

import threading

import pytest

from nes_lab.cli import main
from nes_lab.errors import NesLabError, OptionError, RunError
from nes_lab.experiment.open_runs import import_run, list_runs, open_run
from nes_lab.runs.annotate import annotate
from nes_lab.runs.launcher import cancel
from nes_lab.runs.relabel import relabel
from nes_lab.runs.writer import RunWriter


@pytest.mark.parametrize("label", ["", "<b>x</b>", "Ünïcode 漢字", "=1+1", "../../etc\0"])
def test_relabel_changes_only_the_label_also_while_it_trains(store, label):
    run_id = store.create({"seed": 3}, label="old", group="g")
    with RunWriter(store, run_id) as writer:
        before = store.get(run_id).to_dict()
        relabel(store, run_id, label)
        assert store.get(run_id).to_dict() == before | {"label": label}
        writer.status("finished", step=1, total=1)
    assert (store.get(run_id).label, store.get(run_id).state) == (label, "finished")


def test_annotate_changes_what_is_given_and_nothing_else(store):
    run = open_run(store.create({"seed": 3}, label="old"), root=store.root)
    before = run.info.to_dict()
    assert run.annotate(tags=[" paper ", "night", "paper"], note="<i>too</i> high\nsecond line") is run
    assert run.tags == ("paper", "night") and run.note.startswith("<i>too</i>")
    assert run.info.to_dict() == before | {"tags": run.tags, "note": run.note}
    run.annotate(label="new", tags=[])
    assert (run.label, run.tags, run.note) == ("new", (), "<i>too</i> high\nsecond line")


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"label": "x" * 201}, "201 characters"),
        ({"note": "x" * 2001}, "2,001 characters"),
        ({"tags": ["x" * 41]}, "41 characters"),
        ({"tags": [" "]}, "empty"),
        ({"tags": ["a,b"]}, "','"),
        ({"tags": ["a\nb"]}, "control"),
        ({"tags": "paper"}, "list of words"),
        ({"tags": [3]}, "3"),
        ({"tags": [str(number) for number in range(21)]}, "21 words"),
    ],
)
def test_annotate_refuses_what_is_too_long_or_no_word(store, wrong, names):
    run_id = store.create({}, label="old")
    before = store.get(run_id)
    with pytest.raises(OptionError, match=names):
        annotate(store, run_id, **wrong)
    assert store.get(run_id) == before


def test_two_changes_at_once_are_both_kept(store):
    run_id = store.create({})
    for number in range(20):
        barrier = threading.Barrier(2)

        def change(barrier=barrier, **what):
            barrier.wait()
            annotate(store, run_id, **what)

        sides = [{"label": f"l{number}"}, {"tags": [f"t{number}"]}]
        threads = [threading.Thread(target=change, kwargs=side) for side in sides]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (store.get(run_id).label, store.get(run_id).tags) == (f"l{number}", (f"t{number}",))


def test_runs_are_found_by_their_tags_and_packed_with_them(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path))
    tagged, other = store.create({}, label="a"), store.create({}, label="b")
    annotate(store, tagged, tags=["paper"], note="keep")
    assert [run.id for run in list_runs(root=store.root, tag="paper")] == [tagged]
    assert main(["runs", "--tag", "paper"]) == 0
    shown = capsys.readouterr().out
    assert "paper" in shown and tagged in shown and other not in shown
    cancel(store, tagged)
    moved = import_run(open_run(tagged, root=store.root).pack(tmp_path / "a.zip"), root=tmp_path / "there")
    assert (moved.tags, moved.note) == (("paper",), "keep")


def test_a_damaged_run_json_is_not_replaced(store):
    run_id = store.create({})
    path = store.path(run_id) / "run.json"
    path.write_text('{"schema_version": 1, "tags": 3, "note": null}')
    assert (store.get(run_id).tags, store.get(run_id).note) == ((), "")
    path.write_text("{")
    with pytest.raises(RunError):
        annotate(store, run_id, note="x")
    assert path.read_text() == "{"
    with pytest.raises(NesLabError):
        annotate(store, "no-such-run", note="x")
