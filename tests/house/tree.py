"""The files that make up the repository: what git tracks or would track, without git's help too."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = {".git", ".venv", "data", "build", "dist"}


def files() -> list[Path]:
    """Every file that is, or would be, part of the repository."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\0")
        paths = [ROOT / name for name in listed if name]
    else:
        paths = [
            path
            for path in ROOT.rglob("*")
            if NOT_OURS.isdisjoint(path.relative_to(ROOT).parts) and "__pycache__" not in path.parts
        ]
    return sorted(path for path in paths if path.is_file())


def texts() -> list[tuple[Path, str]]:
    """Every file that reads as UTF-8, with its text."""
    found = []
    for path in files():
        try:
            found.append((path, path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found
