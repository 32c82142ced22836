from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from nes_lab.backbones.weights import load_backbone_weights
from nes_lab.errors import CheckpointError
from nes_lab.models.create import dense_backbone


def _weights(change):
    state = {k: v.clone() for k, v in dense_backbone("small_mobilenetv2", in_channels=1).state_dict().items()}
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("classifier.bias"), "lacks 'classifier.bias'"),
        (lambda s: s.update(more=torch.ones(1)), "also has 'more'"),
        (lambda s: s.update({"classifier.bias": torch.ones(3)}), r"'classifier.bias' has shape \(3,\) where \(10,\)"),
        (lambda s: s["classifier.bias"][:1].fill_(float("nan")), "'classifier.bias' holds NaN"),
    ],
)
def test_load_backbone_weights_refuses_another_architecture_and_copies_nothing(tmp_path, change, says):
    save_file(_weights(change), tmp_path / "w.safetensors")
    model = dense_backbone("small_mobilenetv2", in_channels=1, seed=9)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=says):
        load_backbone_weights(model, tmp_path / "w.safetensors")
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_load_backbone_weights_needs_no_counters_of_batch_norms(tmp_path):
    save_file({k: v for k, v in _weights(lambda s: None).items() if "num_batches" not in k}, tmp_path / "w.safetensors")
    dense_backbone("small_mobilenetv2", in_channels=1, checkpoint=tmp_path / "w.safetensors")


def test_load_backbone_weights_refuses_files_that_hold_no_weights(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"x")
    complete = tmp_path / "w.safetensors"
    save_file(_weights(lambda s: None), complete)
    (tmp_path / "half.safetensors").write_bytes(complete.read_bytes()[:5000])
    for name, says in [("w.pth", "pickle"), ("none.safetensors", "is not a file"), ("half.safetensors", "truncated")]:
        with pytest.raises(CheckpointError, match=says):
            dense_backbone("small_mobilenetv2", in_channels=1, checkpoint=tmp_path / name)
