"""The site: built without a warning, without requests to other servers, and with a page for every public name."""

import re
from html.parser import HTMLParser

import nbformat
import pytest
from docutils.utils.math import latex2mathml

import nes_lab
from docs.site.build import build_site
from docs.site.executed import executed
from docs.site.figures import figures_as_html
from docs.site.links import copy_guide
from docs.site.reference import public_names
from tests.house.tree import ROOT


class Loads(HTMLParser):
    """Collect what a page loads by itself: scripts, styles, pictures and fonts, but not links to follow."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "link" and given.get("rel") not in ("stylesheet", "preload", "icon"):
            return
        if tag in ("script", "img", "iframe", "link", "source"):
            self.addresses.append(given.get("src") or given.get("href") or "")


def loads(page):
    parser = Loads()
    parser.feed(page)
    return parser.addresses


def test_loads_sees_scripts_of_other_servers():
    page = (
        '<a href="https://a.example"><script src="https://b.example/x.js"></script><link rel="stylesheet" href="c.css">'
    )
    assert loads(page) == ["https://b.example/x.js", "c.css"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    target = tmp_path_factory.mktemp("site") / "html"
    assert build_site(target) == 0, "Sphinx warned: see above"
    return target


@pytest.mark.slow
@pytest.mark.timeout(900)  # it runs all notebooks if no test has run them before
def test_site_loads_nothing_from_other_servers(site):
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert len(pages) > 50
    foreign = {path.name: [a for a in loads(text) if re.match(r"(https?:)?//", a)] for path, text in pages.items()}
    assert not {name: found for name, found in foreign.items() if found}
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.findall(r"url\([\"']?https?:[^)]*|@import[^;]*https?:[^;]*", styles)


@pytest.mark.slow
def test_site_has_a_page_for_every_public_name_and_finds_it(site):
    listed = [name for names in public_names().values() for name in names]
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    for name in listed:
        assert (site / "reference" / f"{name}.html").is_file()
        assert name in index
    assert {f"nes_lab.{name}" for name in nes_lab.__all__ if not name.startswith("_")} <= set(listed)
    assert len(listed) == len(set(listed))


@pytest.mark.slow
def test_site_shows_the_figures_of_notebooks(site):
    page = (site / "notebooks" / "01_epitome_by_hand.html").read_text(encoding="utf-8")
    assert page.count('class="nes-plot" role="img" aria-label="') >= 8 and "<math" in page
    assert "<td><p>cells of the epitome</p></td>" in page, "tables in outputs are tables"
    for script in ("plot.js", "plotly.min.js", "draw_figures.js", "themes.json"):
        assert (site / "_static" / script).is_file()


def test_figures_as_html_keeps_text_that_looks_like_a_tag():
    spec = {"data": [{"name": "</script>"}], "layout": {"title": {"text": "T"}}}
    output = nbformat.v4.new_output("display_data", {"application/vnd.plotly.v1+json": spec})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])
    text = figures_as_html(notebook).cells[0].outputs[0].data["text/html"]
    assert text.count("</script>") == 1 and 'aria-label="T"' in text


def test_copy_guide_moves_links_and_refuses_broken_ones(tmp_path):
    root, source = tmp_path / "root", tmp_path / "source"
    (root / "docs").mkdir(parents=True)
    (root / "results").mkdir()
    (root / "results" / "a.json").write_text("{}")
    guide = root / "docs" / "guide.md"
    guide.write_text("[page](other.md#part) [numbers](../results/a.json) [web](https://x.example) [here](#top)")
    other = root / "docs" / "other.md"
    other.write_text("")
    copy_guide(guide, source / "guide.md", root, {other.resolve(): "other.md"})
    assert (source / "guide.md").read_text() == (
        "[page](other.md#part) [numbers](files/results/a.json) [web](https://x.example) [here](#top)"
    )
    assert (source / "files" / "results" / "a.json").is_file()
    guide.write_text("[gone](gone.md)")
    with pytest.raises(FileNotFoundError, match=r"gone\.md"):
        copy_guide(guide, source / "guide.md", root, {})


def test_formulas_of_the_notebooks_are_valid_mathml():
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                for block in re.findall(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", cell.source, re.DOTALL):
                    assert latex2mathml.tex2mathml(block[0] or block[1])


def test_executed_runs_a_notebook_once_for_its_text(tmp_path):
    path = tmp_path / "9_tiny.ipynb"
    cell = nbformat.v4.new_code_cell("import time\ntime.time()")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    first = executed(path, tmp_path / "kept").cells[0].outputs[0].data["text/plain"]
    assert executed(path, tmp_path / "kept").cells[0].outputs[0].data["text/plain"] == first
    changed = nbformat.read(path, as_version=4)
    changed.cells[0].source += "  # again"
    nbformat.write(changed, path)
    assert executed(path, tmp_path / "kept").cells[0].outputs[0].data["text/plain"] != first
    assert len(list((tmp_path / "kept").glob("*.ipynb"))) == 1
