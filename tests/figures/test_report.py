"""A report is one document that needs nothing else and trusts no text."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from nes_lab.figures.epitome_atlas import epitome_atlas
from nes_lab.figures.report import Section, report_html
from tests.figures.samples import make_snapshot

EVIL = "</script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def page():
    figure = epitome_atlas(make_snapshot(name=EVIL))
    return report_html(
        EVIL,
        [
            Section(EVIL, text=f"{EVIL}\n\nsecond", table=[{"run": EVIL, "top-1 (%)": 91.25, "madds": 225_000_000}]),
            Section("one", figure=figure),
            Section("two", figure=figure),
        ],
    )


class _Scripts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.kinds = []
        self.links = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "script":
            self.kinds.append(values.get("type"))
            self.links += [values["src"]] if "src" in values else []
        if tag == "link":
            self.links.append(values["href"])


def test_report_html_escapes_text(page):
    parser = _Scripts()
    parser.feed(page)
    assert parser.kinds == ["application/json", "application/json", None, None]
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in page


def test_report_html_has_no_button_that_uploads(page):
    assert '"showSendToCloud":false' in page and "layout, CONFIG" not in page


def test_report_html_needs_no_network(page):
    parser = _Scripts()
    parser.feed(page)
    assert parser.links == ["data:,"]
    assert not re.search(r"@import|url\(\s*['\"]?http", page[: page.index("<body>")])


def test_report_html_includes_plotly_once_and_only_for_figures(page):
    assert page.count("prefers-color-scheme: dark") >= 2
    assert len(re.findall(r"plotly\.js v\d", page)) == 1
    assert len(report_html("Text", [Section("a", text="b")])) < 10_000


def test_report_html_formats_numbers_of_tables(page):
    assert "225 M" in page
    assert "91.25" in page
    assert "<td>–</td>" in report_html("t", [Section("s", table=[{"a": None}])])


def test_figures_need_no_torch():
    code = (
        "import sys, pkgutil, importlib, nes_lab.figures as f\n"
        "for m in pkgutil.iter_modules(f.__path__): importlib.import_module('nes_lab.figures.' + m.name)\n"
        "assert not {'torch', 'timm', 'streamlit'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
