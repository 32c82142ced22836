"""The Hub, played by a stand-in: what is sent, what is fetched, and what is refused before anything leaves the machine."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nes_lab import from_pretrained, push_to_hub, save_pretrained
from nes_lab.errors import CheckpointError, OptionError
from tests.export.networks import Net, compressed, same_state

hub = pytest.importorskip("huggingface_hub")
NAMES = ("conv", "head")


class Api:
    """A Hub in a folder."""

    def __init__(self, place, fail=None):
        self.place, self.fail, self.repos = Path(place), fail, {}

    def create_repo(self, repo_id, *, private, exist_ok):
        assert exist_ok
        self.repos.setdefault(repo_id, private)

    def upload_folder(self, *, repo_id, folder_path, allow_patterns, commit_message, revision):
        if self.fail:
            raise self.fail
        (self.place / repo_id).mkdir(parents=True)
        for file in Path(folder_path).iterdir():
            if file.name in allow_patterns:
                (self.place / repo_id / file.name).write_bytes(file.read_bytes())
        return SimpleNamespace(commit_url=f"hub/{repo_id}")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return compressed(Net(), NAMES)


@pytest.mark.parametrize("saved", [True, False])
def test_push_to_hub_sends_a_model_that_comes_back(model, tmp_path, saved, monkeypatch):
    api = Api(tmp_path / "hub")
    given = save_pretrained(model, tmp_path / "m") if saved else model
    assert push_to_hub(given, "someone/small-net", api=api) == "hub/someone/small-net"
    assert api.repos == {"someone/small-net": True}  # private unless asked otherwise
    asked = {}

    def snapshot(repo_id, **options):
        asked.update(options)
        return str(tmp_path / "hub" / repo_id)

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    assert same_state(model, from_pretrained("hf://someone/small-net@v1", model=Net()))
    assert asked == {"revision": "v1", "allow_patterns": ["config.json", "model.safetensors"]}


def test_from_pretrained_does_not_ask_the_hub_for_a_plain_path(model, monkeypatch):
    monkeypatch.setattr(hub, "snapshot_download", lambda *a, **k: pytest.fail("the Hub was asked"))
    with pytest.raises(CheckpointError, match="holds no saved model"):
        from_pretrained("someone/small-net", model=Net())


@pytest.mark.parametrize("repo", ["net", "a/b/c", "../b", "a/..", "", 3, "a b/c", "a/b@x"])
def test_push_to_hub_refuses_wrong_names_of_repositories(model, repo, tmp_path):
    api = Api(tmp_path)
    with pytest.raises(OptionError, match="repo_id="):
        push_to_hub(model, repo, api=api)
    assert not api.repos


def test_push_to_hub_does_not_send_a_damaged_folder(model, tmp_path):
    folder, api = save_pretrained(model, tmp_path / "m"), Api(tmp_path / "hub")
    (folder / "model.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="truncated"):
        push_to_hub(folder, "someone/net", api=api)
    assert not api.repos


def test_push_to_hub_takes_saving_arguments_for_models_only(model, tmp_path):
    folder = save_pretrained(model, tmp_path / "m")
    with pytest.raises(OptionError, match="metadata= is an argument for saving a model"):
        push_to_hub(folder, "someone/net", api=Api(tmp_path), metadata={})


def test_push_to_hub_tells_what_the_hub_refuses(model, tmp_path):
    with pytest.raises(CheckpointError, match=r"the Hub refused .* no quota"):
        push_to_hub(model, "someone/net", api=Api(tmp_path, OSError("no quota")))


def test_require_hub_says_how_to_install_the_package(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (lambda: push_to_hub(model, "someone/net"), lambda: from_pretrained("hf://someone/net")):
        with pytest.raises(OptionError, match=r"pip install 'nes-lab\[export\]'"):
            call()
