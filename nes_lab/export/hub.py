"""To the Hugging Face Hub and back, where ``huggingface_hub`` is installed."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from torch import nn

from nes_lab.errors import CheckpointError, OptionError
from nes_lab.export.pretrained import save_pretrained
from nes_lab.export.saved import CONFIG, WEIGHTS, check_weights, read_config

__all__ = ["fetch", "push_to_hub"]

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_REPO = re.compile(f"{_PART}/{_PART}")
_MISSING = "huggingface_hub is not installed; pip install 'nes-lab[export]' brings it"


def push_to_hub(
    folder_or_model: str | Path | nn.Module,
    repo_id: str,
    *,
    private: bool = True,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str = "Upload a model saved by NES Lab",
    api: Any = None,
    **saving: Any,
) -> str:
    """Upload a saved model to the Hugging Face Hub: its two files, in one commit.

    Args:
        folder_or_model: A folder from :func:`nes_lab.save_pretrained`, checked before it is sent, or a model.
        repo_id: ``"user/repository"``; made where it is missing.
        private: Of a repository that is made now.
        token: Of the Hub; None: the one you are logged in with.
        revision: Branch; None: the main one.
        commit_message: Of the commit.
        api: A ``huggingface_hub.HfApi`` of your own.
        **saving: Arguments of :func:`nes_lab.save_pretrained` for a model.

    Returns:
        Where the commit is.

    Raises:
        OptionError: If ``huggingface_hub`` is not installed, or ``repo_id`` is no name of a repository.
        CheckpointError: If the folder is damaged, or the Hub refuses; nothing is uploaded in part.

    Examples:
        >>> push_to_hub(nn.Linear(2, 3), "no repository")
        Traceback (most recent call last):
        nes_lab.errors.OptionError: repo_id='no repository'; give 'user/repository'
    """
    _check_repo(repo_id)
    hub = _hub()
    if isinstance(folder_or_model, nn.Module):
        with tempfile.TemporaryDirectory() as place:
            folder = save_pretrained(folder_or_model, Path(place) / "model", **saving)
            return push_to_hub(
                folder,
                repo_id,
                private=private,
                token=token,
                revision=revision,
                commit_message=commit_message,
                api=api,
            )
    if saving:
        raise OptionError(f"{next(iter(saving))!r} is for saving a model; {folder_or_model} is saved already")
    folder = Path(folder_or_model)
    check_weights(folder, read_config(folder))
    api = hub.HfApi(token=token) if api is None else api
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo_id,
            folder_path=str(folder),
            allow_patterns=[CONFIG, WEIGHTS],
            commit_message=commit_message,
            revision=revision,
        )
    except (hub.errors.HfHubHTTPError, OSError, ValueError) as error:
        raise CheckpointError(f"the Hub did not take {folder} as {repo_id}: {error}") from error
    return str(getattr(done, "commit_url", done))


def fetch(address: str) -> Path:
    """The local copy of a model on the Hub: ``"hf://user/repository"``, with ``@revision`` behind it if wanted.

    Only the two files of a saved model are fetched.

    Raises:
        OptionError: If ``huggingface_hub`` is not installed, or the address is none.
        CheckpointError: If the Hub does not have it, or cannot be reached.
    """
    repo_id, _, revision = address.removeprefix("hf://").partition("@")
    _check_repo(repo_id)
    hub = _hub()
    try:
        found = hub.snapshot_download(repo_id, revision=revision or None, allow_patterns=[CONFIG, WEIGHTS])
    except (hub.errors.HfHubHTTPError, OSError, ValueError) as error:
        raise CheckpointError(f"{address} cannot be fetched: {error}") from error
    return Path(found)


def _check_repo(repo_id: object) -> None:
    if not isinstance(repo_id, str) or not _REPO.fullmatch(repo_id) or ".." in repo_id or "--" in repo_id:
        raise OptionError(f"repo_id={repo_id!r:.200}; give 'user/repository'")


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise OptionError(_MISSING) from error
    return huggingface_hub
