"""Snapshots of epitomes and starts: the round trip, what is kept, and damage."""

from dataclasses import replace

import numpy as np
import pytest

from nes_lab.errors import RunError
from nes_lab.geometry.layer_snapshot import LayerSnapshot
from nes_lab.runs.snapshots import read_snapshot, write_snapshot
from nes_lab.runs.writer import RunWriter


def layers(shift=0.0):
    generator = np.random.default_rng(0)
    epitome = generator.normal(size=(4, 2, 3, 3)).astype(np.float32) + np.float32(shift)
    separable = LayerSnapshot(
        "b.conv", epitome, (np.array([0.0, 1.5 + shift]), np.array([0.25]), None, None),
        (8, 4, 3, 3), (4, 2, 3, 3), (4, 2), "separable", "clamp", "free",
    )  # fmt: skip
    joint = LayerSnapshot(
        "a",
        epitome[:, :, 0, 0],
        (np.ones((2, 2)), np.zeros((2, 2))),
        (8, 4),
        (4, 2),
        (4, 2),
        "joint",
        "circular",
        "random",
    )
    return {"b.conv": separable, "a": joint}


def test_the_round_trip_keeps_everything_and_the_order(tmp_path):
    path = tmp_path / "s.safetensors"
    before = layers()
    write_snapshot(path, before)
    after = read_snapshot(path)
    assert list(after) == ["b.conv", "a"]
    for name, layer in before.items():
        same = after[name]
        np.testing.assert_array_equal(same.epitome, layer.epitome)
        for one, other in zip(same.starts, layer.starts, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_array_equal(one, other)
        for key in ("weight_shape", "epitome_shape", "patch_shape", "scope", "boundary", "routing", "name"):
            assert getattr(same, key) == getattr(layer, key)


def test_snapshots_between_the_first_and_the_latest_keep_rounded_epitomes(store):
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        for step in range(30):
            writer.snapshot(step, layers(step))
        writer.status("finished")
    assert store.snapshots(run_id) == list(range(30))
    kept = {step: layer for step in range(30) if (layer := store.snapshot(run_id, step)["b.conv"]).epitome is not None}
    assert {0, 29} <= set(kept) and len(kept) == 12
    assert (
        max(after - before for before, after in zip(list(kept), list(kept)[1:], strict=False)) <= 5
    )  # spread over the run
    for step, layer in kept.items():
        exact = layers(step)["b.conv"].epitome
        assert layer.is_rounded == (step not in (0, 29))
        assert np.abs(layer.epitome - exact).max() <= (np.abs(exact).max() / 254 * 1.001 if layer.is_rounded else 0)
    assert store.snapshot(run_id, 5)["b.conv"].starts[0][1] == 6.5


def test_snapshots_of_large_epitomes_keep_the_first_and_the_latest(store, monkeypatch):
    monkeypatch.setattr("nes_lab.runs.snapshots.MOST_BYTES", 2 * (4 * 2 * 9 + 8) - 1)  # one rounded picture, not two
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        for step in range(5):
            writer.snapshot(step, layers(step))
        writer.status("finished")
    kept = [store.snapshot(run_id, step)["a"].epitome is not None for step in range(5)]
    assert kept[0] and kept[4] and sum(kept) == 3


def _with_gradients(step):
    return {name: replace(layer, gradient=layer.epitome * (step + 1)) for name, layer in layers(step).items()}


def test_gradients_are_kept_beside_the_epitomes_within_the_same_limit(store, monkeypatch):
    cells = 4 * 2 * 9 + 8
    for most, kept in ((100 * cells, [True] * 5), (3 * cells, [True, False, False, True, True]), (cells - 1, [])):
        monkeypatch.setattr("nes_lab.runs.snapshots.MOST_BYTES", most)
        run_id = store.create({})
        with RunWriter(store, run_id) as writer:
            for step in range(5):
                writer.snapshot(step, _with_gradients(step))
            writer.status("finished")
        found = {step: store.snapshot(run_id, step)["b.conv"].gradient for step in range(5)}
        assert sum(value is not None for value in found.values()) == sum(kept), most
        if kept:
            exact = _with_gradients(4)["b.conv"].gradient
            assert np.abs(found[4] - exact).max() <= np.abs(exact).max() / 254 * 1.001


def test_a_resumed_run_drops_what_came_after_its_checkpoint(store):
    run_id = store.create({})
    with RunWriter(store, run_id) as writer:
        for step in (0, 5, 10, 7):
            writer.snapshot(step, layers(step))
        writer.status("finished")
    assert store.snapshots(run_id) == [0, 5, 7]


def test_a_file_that_is_none_is_a_clear_error(store):
    run_id = store.create({})
    assert store.snapshots(run_id) == []
    with pytest.raises(RunError, match="no snapshot"):
        store.snapshot(run_id, 3)


@pytest.mark.parametrize("how", ["truncated", "empty", "absurd header", "no metadata"])
def test_a_damaged_file_is_a_clear_error(tmp_path, how):
    path = tmp_path / "s.safetensors"
    write_snapshot(path, layers())
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-8])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "absurd header":
        path.write_bytes(b"\xff" * 8 + b"{}")
    else:
        path.write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises(RunError, match="damaged"):
        read_snapshot(path)


@pytest.mark.parametrize("epitomes", ["exact", "rounded", "none"])
def test_a_shared_epitome_is_written_once_and_read_for_every_layer(tmp_path, epitomes):
    cells = np.random.default_rng(0).normal(size=40).astype(np.float32)
    shapes = {"a": ((8, 6), (4, 3)), "b": ((5, 4, 3, 3), (1, 2, 3, 3))}
    shared = {
        name: LayerSnapshot(
            name,
            cells,
            (np.zeros((2, 2, 2)),),
            weight,
            (40,),
            patch,
            "flat",
            "circular",
            "random",
            gradient=cells,
            windows=2,
            alpha=np.full((2, 2, 2), 0.75, np.float32),
            reads="a",
        )
        for name, (weight, patch) in shapes.items()
    }
    path = tmp_path / "s.safetensors"
    write_snapshot(path, shared, epitomes)
    after = read_snapshot(path)
    assert path.stat().st_size < {"exact": 40 * 4, "rounded": 40, "none": 0}[epitomes] + 40 + 1300
    assert {(layer.reads, layer.windows, layer.geometry.epitome_shape) for layer in after.values()} == {("a", 2, (40,))}
    for layer in after.values():
        assert (layer.epitome is None) == (epitomes == "none")
        if layer.epitome is not None:
            np.testing.assert_allclose(layer.epitome, cells, atol=0.02 if epitomes == "rounded" else 0)
        assert epitomes == "none" if layer.alpha is None else np.all(layer.alpha == np.float32(0.75))
