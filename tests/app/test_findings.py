"""What a first-time user of the app met, and the test that would see it come back. Small ones are tested here.

Paths are relative to ``tests``.

| id | defect | test |
|---|---|---|
| D1 | the form on Compress was lost | app/test_browser.py::test_forms_and_the_current_run_survive_a_change_of_page |
| D2 | the sidebar changed the run | app/test_browser.py::test_forms_and_the_current_run_survive_a_change_of_page |
| D4 | a button uploaded figures | app/test_findings.py::test_no_figure_can_be_uploaded |
| D4 | the report had it too | figures/test_report.py |
| D5 | every plan started a Python with torch | worker/test_plans.py::test_plan_desk_surveys_a_network_once |
| D5 | plans took seconds | benchmarks/test_app_speed.py::test_plans_are_answered_in_time |
| D6 | data was not checked before Launch | app/test_data.py::test_compress_checks_the_data_before_launch |
| D6 | a download was not allowed | app/test_data.py::test_compress_needs_a_download_to_be_there_or_allowed |
| D7 | it could not be edited | app/test_views.py::test_run_tells_what_is_wrong_and_opens_the_form_with_the_values_of_a_failed_run |
| D7 | a failed run could not be deleted | app/test_views.py::test_run_deletes_a_failed_run_into_the_bin |
| D8 | the bars of a deep network filled three screens | records/test_fold_rows.py |
| D8 | Launch was far below | app/test_findings.py::test_launch_stays_in_view |
| D9 | rows on Start could not be opened | app/test_browser.py::test_forms_and_the_current_run_survive_a_change_of_page |
| D10 | epitomes of a dense run | app/test_views.py::test_a_dense_run_has_no_link_to_epitomes |
| D11 | error bars lay on each other | figures/test_trade_off.py::test_methods_at_one_cost_are_drawn_side_by_side_and_keep_their_cost |
| D12 | published numbers destroyed the figure | figures/test_trade_off.py::test_published_names_cover_no_name_no_point_and_no_line |
| D13 | titles were cut off at 390 pixels | figures/test_trade_off.py::test_titles_fit_a_phone |
| D13 | and those of a layer's pictures | figures/test_pictures.py::test_routing_map_titles_fit_side_by_side_on_a_phone |
| D14 | the mode bar was a gray slab | app/test_findings.py::test_the_mode_bar_is_transparent |
| D15 | an error was two boxes | app/test_findings.py::test_an_error_is_one_box |
| D16 | errors had names of the configuration file | app/test_findings.py::test_errors_have_the_words_of_the_form |
| D17 | the step slider emptied the atlas | app/test_views.py::test_epitomes_explorer_gets_every_step |
| D19 | a foreign Host was answered | app/test_safety.py::test_a_foreign_host_is_refused_at_every_address |
| D20 | plotly.js was sent with each load | app/test_browser.py::test_javascript_is_kept_by_the_browser_until_it_changes |
| D21 | two errors 404 at deep links | app/test_findings.py::test_the_docs_explain_the_two_errors_404 |
| D22 | figures had no text alternative | app/test_findings.py::test_all_figures_go_through_one_component |
| D22 | and each has one | figures/test_pictures.py::test_figures_have_size_units_theme_and_alt_text |
| D23 | starts at one place were not counted | figures/test_pictures.py::test_start_trajectories_marks_dead_starts |
| D24 | the step slider lost its focus | app/test_browser.py::test_epitomes_panes_agree |
| D25 | None, raw names and lost words | app/test_findings.py::test_small_texts_are_for_people |
| D25 | results had raw names and no units | runs/test_result_rows.py |
"""

from __future__ import annotations

import ast
import re

import plotly.io as pio
import pytest

from app.cached import run_title
from app.components.tables import RESULTS
from app.labels import in_words
from nes_lab.config import load_config
from nes_lab.errors import NesLabError
from nes_lab.figures.patches_on_epitome import patches_on_epitome
from nes_lab.figures.report import plotly_js  # noqa: F401 - it registers the templates
from nes_lab.figures.theme import PLOT_CONFIG, heat_colorbar
from nes_lab.records.columns import columns
from nes_lab.records.table import Table
from nes_lab.runs.query import run_table
from tests.app.browser import browse, serve, settle
from tests.app.test_views import open_page, plain
from tests.figures.samples import make_snapshot, write_run
from tests.house.tree import ROOT

ROWS = re.findall(r"^\| (D\d+) \| .* \| (\S+) \|$", __doc__, re.MULTILINE)


def test_the_table_names_tests_that_exist():
    never_given = {"D3", "D18"}
    assert {name for name, _ in ROWS} == {f"D{number}" for number in range(1, 26)} - never_given
    for name, place in ROWS:
        path, _, test = place.partition("::")
        tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert not test or test in defined, f"{name}: {place}"


def sources():
    return {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "app").rglob("*.py")}


def calls(source):
    return {ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)}


def test_all_figures_go_through_one_component():
    streamlits_own = {
        f"st.{kind}_chart" for kind in ("plotly", "line", "bar", "area", "scatter", "altair", "vega_lite")
    }
    assert not {name: calls(text) & streamlits_own for name, text in sources().items() if calls(text) & streamlits_own}


def test_no_figure_can_be_uploaded(store):
    write_run(store)
    assert PLOT_CONFIG["showSendToCloud"] is False
    drawn = [item.proto.json for item in open_page("run").get("bidi_component") if "nes_lab_plot" in str(item.proto)]
    assert drawn and all('showSendToCloud\\": false' in text for text in drawn)


def test_the_mode_bar_is_transparent():
    bars = [pio.templates[name].layout.modebar for name in ("nes_light", "nes_dark")]
    assert {bar.bgcolor for bar in bars} == {"rgba(0,0,0,0)"} and bars[0].color != bars[1].color


def test_an_error_is_one_box(store):
    write_run(store)
    at = open_page("run", run="no-such-run")
    assert len(at.error) == 1 and not at.code and "there is no run" in plain(at.error[0].value)


def test_the_docs_explain_the_two_errors_404():
    text = (ROOT / "docs" / "app.md").read_text(encoding="utf-8")
    assert "/_stcore/health" in text and "/_stcore/host-config" in text and "harmless" in text


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"training": {"lr": -1}}, "Learning rate: -1"),
        ({"compression": {"madds": "much"}}, "MAdds budget"),
        ({"data": {"batch_size": 0}}, "Batch size"),
        ({"data": {"name": "image_folder"}, "training": {"kd_weight": 2}}, "Learn from the dense teacher (share)"),
    ],
)
def test_errors_have_the_words_of_the_form(tree, words):
    with pytest.raises(NesLabError) as raised:
        load_config(tree)
    text = in_words(str(raised.value))
    assert words in text and not re.search(r"config:|--[a-z]|\b(training|compression|data)\.[a-z]", text), text


def test_small_texts_are_for_people(store):
    dense = store.get(write_run(store, label="a long label", group="demo-1", routing=None))
    assert "None" not in str(Table(columns(*RESULTS), list(run_table([dense]))).grid())
    assert run_title(dense) == "a long label · demo-1 · finished"  # the group before what a narrow box cuts off
    assert heat_colorbar("times read")["title"]["side"] == "top"  # beside the bar it lay on the numbers
    one_place = make_snapshot(epitome=(8, 8, 1, 1), weight=(16, 16, 1, 1), routing="tiled")
    said = patches_on_epitome(one_place).layout.title.subtitle.text
    assert "read the same place: that is tiling" in said and "1 distinct places" not in said


@pytest.mark.browser
@pytest.mark.slow
def test_launch_stays_in_view(tmp_path):
    with serve(tmp_path, tmp_path / "server.log") as url, browse(width=1440, height=800) as (page, faults):
        page.goto(f"{url}/compress")
        settle(page)
        page.get_by_label("Label (free text)", exact=True).wait_for()  # the form is longer than the window
        page.get_by_role("button", name="Launch").wait_for()
        page.locator('[data-testid="stMain"]').evaluate("node => node.scrollTo(0, node.scrollHeight)")
        page.wait_for_timeout(500)
        box = page.get_by_role("button", name="Launch").bounding_box()
        assert 0 < box["y"] < 760 and not faults
