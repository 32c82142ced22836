"""Build the site into ``build/site``: ``python -m docs.site.build``. Sphinx's warnings are errors.

Tests: tests/docs/test_site.py.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import nbformat
from sphinx.cmd.build import main as sphinx

from docs.site.executed import NOTEBOOKS, ROOT, executed
from docs.site.figures import figures_as_html, write_scripts
from docs.site.links import copy_guide
from docs.site.reference import write_reference

__all__ = ["build_site", "gather"]

_HERE = Path(__file__).parent
_OTHERS = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "notebooks/LOG.md": "log.md"}
"""Pages that are not in docs/, and the names of their copies."""

_ABOUT_NOTEBOOKS = "Stories that run from top to bottom on a laptop. `make lab` opens them in JupyterLab, where sliders and explorers work."


def build_site(target: Path, run_notebooks: bool = True) -> int:
    """Build the site into a folder, and return Sphinx's exit code: 0 if there was no warning.

    Args:
        target: Folder of the site. What it held before is removed.
        run_notebooks: Show the outputs of the notebooks. Notebooks that have not changed are not run again.
    """
    source = target.with_name(f"{target.name}-source")
    for folder in (source, target):
        shutil.rmtree(folder, ignore_errors=True)
    gather(source, run_notebooks)
    scripts = f"html_static_path={source / '_static'}"
    options = ["-W", "--keep-going", "-q", "-c", str(_HERE), "-D", scripts, "-b", "html"]
    return sphinx([*options, str(source), str(target)])


def gather(source: Path, run_notebooks: bool = True) -> None:
    """Gather the pages of the site in a folder: guides, notebooks and the reference."""
    guides = {path.resolve(): path.name for path in sorted((ROOT / "docs").glob("*.md"))}
    pages = guides | {(ROOT / path).resolve(): name for path, name in _OTHERS.items()}
    pages |= {
        path.with_suffix(suffix).resolve(): f"notebooks/{path.name}"
        for path in NOTEBOOKS
        for suffix in (".py", ".ipynb")
    }
    for guide, name in pages.items():
        if guide.suffix == ".md":
            copy_guide(guide, source / name, ROOT, pages)
    shutil.copytree(ROOT / "docs" / "images", source / "images")
    _write_notebooks(source / "notebooks", run_notebooks)
    write_reference(source / "reference")
    write_scripts(source / "_static")
    shutil.copy(_HERE / "site.css", source / "_static")


def _write_notebooks(folder: Path, run: bool) -> None:
    folder.mkdir(parents=True)
    for path in NOTEBOOKS:
        notebook = executed(path) if run else nbformat.read(path, as_version=4)
        notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}  # cells may have ! and %
        nbformat.write(figures_as_html(notebook), folder / path.name)
    names = [path.stem for path in NOTEBOOKS]
    lines = ["# Notebooks", "", _ABOUT_NOTEBOOKS, "", "```{toctree}", ":maxdepth: 1", "", *names, "```", ""]
    folder.joinpath("index.md").write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    """Build the site as the command line says."""
    parser = argparse.ArgumentParser(description=build_site.__doc__)
    parser.add_argument("--target", type=Path, default=ROOT / "build" / "site")
    parser.add_argument("--no-outputs", action="store_true", help="do not run the notebooks")
    given = parser.parse_args()
    code = build_site(given.target.resolve(), run_notebooks=not given.no_outputs)
    if code == 0:
        print(f"Open {given.target}/index.html")  # noqa: T201
    raise SystemExit(code)


if __name__ == "__main__":
    main()
