"""What may not be in the repository, and links that must lead somewhere."""

import json
import re
from pathlib import Path

import pytest

from tests.house.tree import ROOT, files, texts

# Spelled in pieces, so that this file does not contain what it forbids.
REGISTRY_HOSTS = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "download." + "pytorch.org",
    "anaconda" + ".org",
    "npm" + "js.org",
    "--index" + "-url",
    "--extra-index" + "-url",
]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
DOCUMENTS = [path for path in files() if path.suffix == ".md"]
NOTEBOOKS = [path for path in files() if path.suffix == ".ipynb"]


def test_the_repository_names_no_package_registry():
    found = [
        f"{path.relative_to(ROOT)}: {host}" for path, text in texts() for host in REGISTRY_HOSTS if host in text.lower()
    ]
    assert not found, "packages come from whatever index the user configured: " + "; ".join(found)


def test_no_lock_file_and_no_large_file():
    names = {path.relative_to(ROOT).as_posix() for path in files()}
    assert "uv.lock" not in names, "constraints.txt is the one list of pins"
    large = [f"{path.name}: {path.stat().st_size / 2**20:.1f} MiB" for path in files() if path.stat().st_size > 2**21]
    assert not large, f"over 2 MiB: {large}"


def outputs(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [
        f"{notebook.name} cell {number}"
        for number, cell in enumerate(cells)
        if cell["cell_type"] == "code" and (cell["outputs"] or cell["execution_count"] is not None)
    ]


def test_tracked_notebooks_carry_no_outputs():
    found = [place for notebook in NOTEBOOKS for place in outputs(notebook)]
    assert not found, f"run .venv/bin/nbstripout on: {found}"


def test_an_output_would_be_noticed(tmp_path):
    notebook = tmp_path / "a.ipynb"
    cell = {"cell_type": "code", "outputs": [{"output_type": "stream"}], "execution_count": None}
    notebook.write_text(json.dumps({"cells": [cell]}))
    assert outputs(notebook) == ["a.ipynb cell 0"]


def broken_links(document: Path) -> list[str]:
    text = COMMENT.sub("", document.read_text(encoding="utf-8"))
    targets = [
        link.split("#")[0] for link in LINK.findall(text) if "://" not in link and not link.startswith("mailto:")
    ]
    return [target for target in targets if target and not (document.parent / target).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_inside_the_repository_lead_somewhere(document):
    assert not broken_links(document), f"{document.relative_to(ROOT)} links to what is not there"


def test_a_broken_link_would_be_noticed(tmp_path):
    document = tmp_path / "a.md"
    document.write_text("[a](gone.md#part) [b](a.md) [c](https://example.com/x) <!-- [d](later.png) -->")
    assert broken_links(document) == ["gone.md"]
