"""The tensors of a file: hostile, missing, unknown, not finite, tied."""

import struct

import pytest
import torch
from torch import nn

from nes_lab import from_pretrained, save_pretrained
from nes_lab.errors import CheckpointError
from nes_lab.export.saved_config import read_saved_config
from tests.export.networks import Net, Tied, compressed, same_state
from tests.export.saving import NAMES, refused, with_weights


def header(size, text=b"{}"):
    return struct.pack("<Q", size) + text


HEADERS = {
    "huge": header(1 << 62),
    "longer than the file": header(1000),
    "no JSON": header(2, b"xx"),
    "empty file": b"",
    "absurd shape": (lambda t: header(len(t), t))(b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,8]}}')
    + b"\0" * 8,
    "overlap": (lambda t: header(len(t), t))(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    )
    + b"\0" * 4,
}


@pytest.mark.parametrize("what", HEADERS)
def test_from_pretrained_refuses_hostile_weights_files(saved, what):
    with_weights(saved, HEADERS[what])
    refused(saved, "is not a readable safetensors file")


def test_fill_refuses_weights_of_another_network(saved, tmp_path):
    other = save_pretrained(compressed(Net(24), NAMES, routing="random"), tmp_path / "other")
    with_weights(saved, (other / "model.safetensors").read_bytes())
    refused(saved, r"\.(weight|epitome|bias)? ?.*has shape .* the model needs")


def test_fill_refuses_missing_and_unknown_tensors(saved):
    from safetensors.torch import load, save

    tensors = load((saved / "model.safetensors").read_bytes())
    less = {name: tensor for name, tensor in tensors.items() if name != "head.bias"}
    with_weights(saved, save(less))
    refused(saved, "lacks head.bias")
    with_weights(saved, save(tensors | {"stem.extra": torch.zeros(1)}))
    refused(saved, "has stem.extra, which the model lacks")
    with_weights(saved, save(tensors | {"bn0.num_batches_tracked": torch.tensor(0.5)}))
    refused(saved, "bn0.num_batches_tracked is torch.float32")


@pytest.mark.parametrize("name", ["conv.epitome", "bn0.running_mean", "head.bias"])
def test_check_numbers_refuses_nan_on_saving_and_loading(saved, tmp_path, name):
    from safetensors.torch import load, save

    model = compressed(Net(), NAMES)
    model.state_dict()[name].view(-1)[0] = float("nan")
    with pytest.raises(CheckpointError, match=f"{name} holds NaN"):
        save_pretrained(model, tmp_path / "bad")
    assert not (tmp_path / "bad").exists()
    tensors = load((saved / "model.safetensors").read_bytes())
    tensors[name].view(-1)[0] = float("nan")
    with_weights(saved, save(tensors))
    refused(saved, f"{name} holds NaN")


def test_check_numbers_refuses_infinity_in_a_parameter(tmp_path):
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.bias[0] = float("inf")
    with pytest.raises(CheckpointError, match="bias holds NaN or infinity"):
        save_pretrained(model, tmp_path / "m")


def test_check_numbers_accepts_infinity_in_a_mask(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2))
    model.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
    again = from_pretrained(save_pretrained(model, tmp_path / "m"), model=model)
    assert torch.equal(again.mask, model.mask)


def test_collect_tensors_refuses_tensors_without_values_and_extra_state(tmp_path):
    with pytest.raises(CheckpointError, match="no values yet"):
        save_pretrained(nn.Linear(2, 2, device="meta"), tmp_path / "m")
    with pytest.raises(CheckpointError, match="no values yet"):
        save_pretrained(nn.LazyLinear(2), tmp_path / "m")

    class Odd(nn.Linear):
        def get_extra_state(self):
            return {"a": 1}

    with pytest.raises(CheckpointError, match="extra state"):
        save_pretrained(Odd(2, 2), tmp_path / "m")
    with pytest.raises(CheckpointError, match="plain data"):
        save_pretrained(nn.Linear(2, 2), tmp_path / "m", metadata={"x": object()})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("tied_here", "routing"), [(True, "random"), (False, "random"), (False, "free")])
def test_collect_tensors_stores_tied_tensors_once_and_fill_ties_them(tied_here, routing, tmp_path):
    model = compressed(Tied(), ["block", "shared.a"], routing=routing)
    folder = save_pretrained(model, tmp_path / "m")
    tied = read_saved_config(folder)["tied"]
    assert tied["decoder.weight"] == "embed.weight" and tied["shared.b.epitome"] == "shared.a.epitome"
    assert routing != "free" or tied["shared.b.routing.starts_out"] == "shared.a.routing.starts_out"
    again = from_pretrained(folder, model=Tied(tie=tied_here))
    assert again.decoder.weight is again.embed.weight and again.shared["a"] is again.shared["b"]
    tokens = torch.arange(5)[None]
    assert torch.equal(model(tokens), again(tokens))
    numbers = sum(p.numel() for p in model.parameters())
    assert (folder / "model.safetensors").stat().st_size < 4 * numbers + 2000


def test_fill_unties_what_was_not_tied(tmp_path):
    model = Tied(tie=False)
    again = from_pretrained(save_pretrained(model, tmp_path / "m"), model=Tied(tie=True))
    assert again.decoder.weight is not again.embed.weight and same_state(model, again)
