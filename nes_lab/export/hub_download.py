"""Download a saved model from the Hugging Face Hub, if ``huggingface_hub`` is installed.

Tests: tests/export/test_hub_upload.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from nes_lab.errors import CheckpointError, OptionError
from nes_lab.export.saved_config import CONFIG, WEIGHTS
from nes_lab.packages import need

__all__ = ["check_repo_id", "download_from_hub", "require_hub"]

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_REPO = re.compile(f"{_PART}/{_PART}")


def download_from_hub(address: str) -> Path:
    """Download the two files of a saved model from the Hugging Face Hub, and return the local folder that contains them.

    Args:
        address: ``"hf://user/repository"`` or ``"hf://user/repository@revision"``.

    Raises:
        OptionError: If ``huggingface_hub`` is not installed, or the address has another form.
        CheckpointError: If the Hub does not have the model, or cannot be reached.
    """
    repo_id, _, revision = address.removeprefix("hf://").partition("@")
    check_repo_id(repo_id)
    hub = require_hub()
    try:
        folder = hub.snapshot_download(repo_id, revision=revision or None, allow_patterns=[CONFIG, WEIGHTS])
    except (hub.errors.HfHubHTTPError, OSError, ValueError) as error:
        raise CheckpointError(f"{address} cannot be downloaded: {error}") from error
    return Path(folder)


def check_repo_id(repo_id: object) -> None:
    """Refuse a value that cannot be the name of a repository on the Hugging Face Hub. The value in the example is allowed.

    Raises:
        OptionError: If the value is refused; the message quotes it.

    Examples:
        >>> check_repo_id("user/repository")
    """
    if not isinstance(repo_id, str) or not _REPO.fullmatch(repo_id) or ".." in repo_id or "--" in repo_id:
        raise OptionError(f"repo_id={repo_id!r:.200}; give 'user/repository'")


def require_hub() -> Any:
    """Import and return the package ``huggingface_hub``.

    Raises:
        MissingPackageError: If the package is not installed; the message says how to install it.
    """
    return need("huggingface_hub", "the Hugging Face Hub")
