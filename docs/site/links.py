"""Give the links in the guides their places in the site.

Guides link to files of the repository that have no page, such as results of benchmarks. The site holds copies of these files.

Tests: tests/docs/test_site.py.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

__all__ = ["copy_guide"]

_LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)\s#]+)(#[^)\s]*)?(?=\))")


def copy_guide(guide: Path, target: Path, root: Path, pages: dict[Path, str]) -> None:
    """Copy a page of Markdown to the sources of the site, and correct its links.

    Args:
        guide: The page in the repository.
        target: Where it goes: a file directly in the folder of the site's sources.
        root: Folder of the repository.
        pages: Files of the repository that are pages of the site, each with the path of its page in the sources.

    Raises:
        FileNotFoundError: If a link leads to a file that is not there.
    """

    def moved(match: re.Match[str]) -> str:
        file = (guide.parent / match[1]).resolve()
        if not file.exists():
            raise FileNotFoundError(f"{guide.relative_to(root)} links to {match[1]}, which is not there")
        if file in pages:
            return pages[file] + (match[2] or "")
        copy = target.parent / "files" / file.relative_to(root)
        if copy.suffix in (".md", ".ipynb", ".py", "") or copy.name.startswith("."):  # a page of its own otherwise
            copy = copy.with_name(copy.name.lstrip(".") + ".txt")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
        return copy.relative_to(target.parent).as_posix()

    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(_LINK.sub(moved, guide.read_text(encoding="utf-8")), encoding="utf-8")
