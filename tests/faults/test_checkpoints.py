"""Checkpoints that were damaged, or made to harm: the one before is taken, or the message says so; nothing is run."""

import hashlib
import json
import os
import pickle
import random
import shutil
import signal
import struct
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from nes_lab.errors import CheckpointError
from tests.faults.conftest import config, ending

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def killed(zygote, tmp_path_factory):
    """A run that was killed in its third epoch, with two checkpoints."""
    from nes_lab.runs.store import RunStore

    store = RunStore(tmp_path_factory.mktemp("killed") / "runs")
    run_id = store.create(config())
    assert zygote.train(store, run_id, kill_at_row={"row": 12}) == -signal.SIGKILL
    assert store.latest_checkpoint(run_id).step == 8
    return store, run_id


@pytest.fixture
def copy(killed, store):
    """Another copy of it at each call, in a store of its own."""
    source, run_id = killed
    shutil.copytree(source.root, store.root)
    return store, run_id


def whole(store, run_id):
    found = store.latest_checkpoint(run_id)
    return found.weights.read_bytes(), found.state.read_bytes()


@pytest.mark.parametrize("which", ["weights", "state"])
def test_cut_at_every_tenth_and_flipped_anywhere(copy, tally, which):
    store, run_id = copy
    path = getattr(store.latest_checkpoint(run_id), which)
    data = path.read_bytes()
    chance = random.Random(0)
    spoiled = [data[: len(data) * tenth // 10] for tenth in range(10)]  # the first is empty
    for place in [0, 7, 8, len(data) - 1, *(chance.randrange(len(data)) for _ in range(21))]:
        flipped = data[place] ^ 1 << chance.randrange(8)
        spoiled.append(data[:place] + bytes([flipped]) + data[place + 1 :])
    fell_back = 0
    for content in spoiled:
        path.write_bytes(content)
        found = store.latest_checkpoint(run_id)
        fell_back += (found.step, "step 8" in found.note) == (4, True)
    path.write_bytes(data)
    assert store.latest_checkpoint(run_id).step == 8
    tally(
        "a checkpoint cut at every tenth, or with a bit flipped at 50 places",
        "its SHA-256 differs; the checkpoint before it is used, and an event says so",
        injected=len(spoiled),
        lost=len(spoiled) - fell_back,
    )


@pytest.mark.parametrize("how", ["cut", "bit", "empty", "gone", "no manifest", "damaged manifest"])
def test_a_damaged_run_still_ends_exactly(copy, ends_exactly, tally, how):
    store, run_id = copy
    path = store.latest_checkpoint(run_id).weights
    data, manifest = path.read_bytes(), path.with_name("manifest.json")
    if how == "gone":
        path.unlink()
    elif how == "no manifest":
        manifest.unlink()
    elif how == "damaged manifest":
        manifest.write_bytes(manifest.read_bytes()[:50])
    else:
        path.write_bytes({"cut": data[:-1], "bit": bytes([data[0] ^ 1]) + data[1:], "empty": b""}[how])
    same = ends_exactly(store, run_id)
    falls = [row["reason"] for row in store.events(run_id) if row["kind"] == "checkpoint_fallback"]
    assert len(falls) == 1 and ("manifest" in falls[0] if "manifest" in how else "step 8" in falls[0])
    tally(
        "resumed with the newest checkpoint cut, flipped, empty or gone, or its manifest missing or damaged",
        "continues from the checkpoint before it, never from scratch",
        resumed=1,
        identical=same,
    )


def test_when_all_are_damaged_it_says_so_and_does_not_begin_anew(copy, zygote, tally, tmp_path):
    store, run_id = copy
    for path in (store.path(run_id) / "checkpoints").glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    assert zygote.train(store, run_id, output=tmp_path / "log") == 2
    assert "all checkpoints of run" in (tmp_path / "log").read_text()
    assert store.get(run_id).state == "failed"
    assert len(store.metrics(run_id)) > 8
    tally("every checkpoint damaged", "fails, with all reasons; never starts again from scratch")


def forge(store, run_id, kind, content):
    """Put a file into the newest checkpoint, with a manifest that vouches for it, as whoever can write files could."""
    path = getattr(store.latest_checkpoint(run_id), kind)
    path.write_bytes(content)
    for listing in (path.with_name("manifest.json"), store.path(run_id) / "latest.json"):
        tree = json.loads(listing.read_text())
        entry = tree["checkpoints"][-1] if "checkpoints" in tree else tree["checkpoint"]
        entry["files"][kind] |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        listing.write_text(json.dumps(tree))
    assert getattr(store.latest_checkpoint(run_id), kind).read_bytes() == content


class Harm:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("form", ["pickle", "torch", "torch in a dict"])
def test_a_hostile_state_is_not_run(copy, zygote, tally, tmp_path, form):
    store, run_id = copy
    mark, made = tmp_path / "harmed", tmp_path / "made.pt"
    harm = Harm(f"touch {mark}")
    if form == "pickle":
        made.write_bytes(pickle.dumps(harm))
    else:
        torch.save(harm if form == "torch" else {"step": 8, "optimizer": harm}, made)
    forge(store, run_id, "state", made.read_bytes())
    assert zygote.train(store, run_id, output=tmp_path / "log") == 2
    assert "CheckpointError" in (tmp_path / "log").read_text()
    assert store.get(run_id).state == "failed" and "cannot be read" in store.get(run_id).reason
    assert not mark.exists()
    tally(
        "a .pt file that would run a command, with a manifest that matches it",
        "refused; nothing is executed; the run fails",
    )


@pytest.mark.parametrize(
    "head",
    [struct.pack("<Q", 2**63), struct.pack("<Q", 2**40) + b"{}", struct.pack("<Q", 0), b"\xff" * 7,
     struct.pack("<Q", 60) + b'{"a":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,4]}}'[:60]],
)  # fmt: skip
def test_an_absurd_header_is_refused_at_once(copy, zygote, tally, tmp_path, head):
    store, run_id = copy
    forge(store, run_id, "weights", head)
    began = time.monotonic()
    assert zygote.train(store, run_id, output=tmp_path / "log") == 2
    assert time.monotonic() - began < 30  # and no memory is taken for what the header promises
    assert "CheckpointError" in (tmp_path / "log").read_text()
    tally("a safetensors file with an impossible header", "refused with a message; the run fails")


@pytest.mark.parametrize("how", ["shape", "missing", "unknown"])
def test_weights_of_another_network_are_named(copy, zygote, tally, tmp_path, how):
    store, run_id = copy
    tensors = load_file(store.latest_checkpoint(run_id).weights)
    name = next(name for name, tensor in tensors.items() if tensor.ndim > 1)
    if how == "shape":
        tensors[name] = tensors[name][:-1].clone()
    elif how == "missing":
        del tensors[name]
    else:
        tensors["stranger"] = torch.zeros(2)
    save_file(tensors, tmp_path / "w.safetensors")
    forge(store, run_id, "weights", (tmp_path / "w.safetensors").read_bytes())
    assert zygote.train(store, run_id, output=tmp_path / "log") == 2
    assert (name if how != "unknown" else "stranger") in store.get(run_id).reason
    tally("weights with wrong shapes or names", "fails; the message names them")


def test_a_link_is_not_a_checkpoint(copy, tally, tmp_path):
    store, run_id = copy
    path = store.latest_checkpoint(run_id).weights
    shutil.move(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert store.latest_checkpoint(run_id).step == 4
    for older in (store.path(run_id) / "checkpoints").glob("step-00000004*"):
        older.unlink()
    with pytest.raises(CheckpointError, match=r"all checkpoints of run .* are damaged"):
        store.latest_checkpoint(run_id)
    tally("a checkpoint that is a link", "ignored")


def test_the_undisturbed_copy_ends_exactly(copy, ends_exactly, calm):
    store, run_id = copy
    assert ends_exactly(store, run_id)
    assert ending(store, run_id) == calm()
