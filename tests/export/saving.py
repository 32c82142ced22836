"""Save and load a model; change a saved folder, and check that it is refused."""

import json

import pytest
import torch

from nes_lab import from_pretrained, save_pretrained
from nes_lab.errors import CheckpointError
from nes_lab.export.saved_config import add_checksum
from nes_lab.runs.files import sha256_of
from tests.export.networks import Net

NAMES = ("conv", "grouped", "head")


def refused(folder, match, model=None):
    """The error comes, and the given network is left as it was."""
    model = Net() if model is None else model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=match) as error:
        from_pretrained(folder, model=model)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in before.items())
    return str(error.value)


def altered(folder, **changes):
    """A configuration with other contents and a checksum that holds, as a careful attacker writes it."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(add_checksum(config | changes)))


def with_weights(folder, data):
    """Other bytes as weights, with size and SHA-256 that hold."""
    path = folder / "model.safetensors"
    path.write_bytes(data)
    altered(folder, weights={"file": path.name, "bytes": len(data), "sha256": sha256_of(path)})


def back(model, dense, tmp_path, **saving):
    state = torch.get_rng_state()
    loaded = from_pretrained(save_pretrained(model, tmp_path / "saved", **saving), model=dense)
    assert torch.equal(state, torch.get_rng_state())  # the global state is left alone
    return loaded


def x(batch=2):
    return torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(1))
