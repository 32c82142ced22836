"""Which runs can be drawn beside a run: the same backbone and the same layer, the most similar first."""

from __future__ import annotations

from nes_lab.runs.same_layer import gradient_note, one_per_routing, runs_with_layer
from nes_lab.runs.snapshots import snapshot_path
from tests.figures.samples import make_snapshot, write_run


def test_runs_with_the_same_layer_are_found_and_the_most_similar_come_first(store):
    chosen = write_run(store, routing="free", seed=1)
    near = write_run(store, routing="tiled", seed=1)
    write_run(store, routing=None)  # dense
    far = write_run(store, routing="tiled", seed=2)
    damaged = write_run(store, routing="learner")
    snapshot_path(store.path(damaged) / "snapshots", 60).write_bytes(b"")
    shape = make_snapshot().weight_shape
    found = [info.id for info in runs_with_layer(store, store.get(chosen), store.list(), "blocks.0", shape)]
    assert found == [near, far]
    assert runs_with_layer(store, store.get(chosen), store.list(), "blocks.0", (1, 1)) == []
    assert one_per_routing(store.get(chosen), map(store.get, found)) == [near]


def test_the_note_on_gradients_says_whether_they_were_asked_for(store):
    info = store.get(write_run(store))
    assert "training.keep_gradients" in gradient_note(info)
    info.config["training"]["keep_gradients"] = True
    assert "was asked to keep gradients" in gradient_note(info)
