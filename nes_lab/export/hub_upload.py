"""Upload a saved model to the Hugging Face Hub, if ``huggingface_hub`` is installed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Unpack

from torch import nn

from nes_lab.errors import CheckpointError, OptionError
from nes_lab.export.hub_download import check_repo_id, require_hub
from nes_lab.export.pretrained import save_pretrained
from nes_lab.export.saved_config import CONFIG, WEIGHTS, checked_weights, read_saved_config
from nes_lab.records.keywords import SavingKeywords

__all__ = ["push_to_hub"]


def push_to_hub(
    folder_or_model: str | Path | nn.Module,
    repo_id: str,
    *,
    private: bool = True,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str = "Upload a model saved by NES Lab",
    api: Any = None,
    **saving: Unpack[SavingKeywords],
) -> str:
    """Upload the two files of a saved model to the Hugging Face Hub, in one commit.

    Args:
        folder_or_model: A model, or a folder written by :func:`nes_lab.save_pretrained`. The folder is checked before the
            upload.
        repo_id: ``"user/repository"``. The repository is created if it does not exist.
        private: True to make the repository private if it is created.
        token: Access token of the Hub; None: the token with which you are logged in.
        revision: Branch to upload to; None: the main branch.
        commit_message: Message of the commit.
        api: A ``huggingface_hub.HfApi`` to use; None: a new one is made.
        **saving: Arguments of :func:`nes_lab.save_pretrained`, if a model is given.

    Returns:
        The web address of the commit.

    Raises:
        OptionError: If ``huggingface_hub`` is not installed, or ``repo_id`` is not the name of a repository.
        CheckpointError: If the folder is damaged, or the Hub refuses the upload. Then nothing is uploaded.

    Examples:
        >>> import torch, nes_lab
        >>> nes_lab.push_to_hub(torch.nn.Linear(2, 3), "no repository")
        Traceback (most recent call last):
        nes_lab.errors.OptionError: repo_id='no repository'; give 'user/repository'
    """
    check_repo_id(repo_id)
    hub = require_hub()
    if isinstance(folder_or_model, nn.Module):
        with tempfile.TemporaryDirectory() as temporary:
            folder = save_pretrained(folder_or_model, Path(temporary) / "model", **saving)
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
        raise OptionError(
            f"{next(iter(saving))}= is an argument for saving a model, and {folder_or_model} is saved already; leave it out"
        )
    folder = Path(folder_or_model)
    checked_weights(folder, read_saved_config(folder))
    api = hub.HfApi(token=token) if api is None else api
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=str(folder),
            allow_patterns=[CONFIG, WEIGHTS],
            commit_message=commit_message,
            revision=revision,
        )
    except (hub.errors.HfHubHTTPError, OSError, ValueError) as error:
        raise CheckpointError(f"the Hub refused {folder} as {repo_id}: {error}") from error
    return str(getattr(commit, "commit_url", commit))
