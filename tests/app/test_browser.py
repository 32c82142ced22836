"""The app in a real browser: what a simulated page cannot show. One server serves all tests."""

from __future__ import annotations

import gzip
import re
import shutil
import urllib.error
import urllib.request
from xml.etree import ElementTree

import numpy as np
import pytest

from app.static_files import file_path
from nes_lab.figures.explorer_data import explorer_js
from nes_lab.runs.store import RunStore
from nes_lab.runs.writer import RunWriter
from tests.app.browser import browse, serve, settle
from tests.figures.samples import write_run

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]
PAGES = {
    "": "A large weight, read from a small tensor",
    "compress": "Compress",
    "runs": "Runs",
    "run": "Run",
    "epitomes": "Epitomes",
    "trade_off": "Trade-off",
}
DRAWN = (".js-plotly-plot .main-svg", ".nes-explorer[data-drawn]")  # a figure, and the explorer
TRAINING_SECONDS = 240  # one epoch of digits takes a few seconds; two cores may be busy with other tests


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with serve(home, home / "server.log") as url:
        yield url, home / "runs"


@pytest.fixture
def app(server):
    """The address of the app, and its store without runs."""
    url, root = server
    shutil.rmtree(root, ignore_errors=True)
    return url, RunStore(root)


def see_every_page_without_runs(page, url):
    for path, title in PAGES.items():
        page.goto(f"{url}/{path}")
        settle(page)
        shown = page.locator("h1").inner_text()
        assert shown.startswith("epitome, ") if path == "run" else shown == title  # Run shows a run of the bundled demo
        if path == "compress":
            page.get_by_text("Layers replaced").wait_for()
            page.locator(".js-plotly-plot .main-svg").first.wait_for()
        elif path == "run":
            head = page.locator(".stAppHeader").bounding_box()
            box = page.get_by_test_id("stSelectbox").first.bounding_box()
            assert box["y"] >= head["y"] + head["height"]  # the header hides what lies below it
        else:
            page.locator(
                ".dvn-scroller" if path == "runs" else ", ".join(DRAWN)
            ).first.wait_for()  # of the bundled demo


@pytest.mark.slow
def test_pages_with_runs_fit_700_pixels(app):
    url, store = app
    for routing in ("free", None):
        run_id = write_run(store, label="<img src=x onerror=alert(1)>", group="demo-1", routing=routing)
    with browse(width=700) as (page, faults):
        for path in ("", "run", "epitomes", "trade_off"):
            page.goto(f"{url}/{path}")
            settle(page)
            label = "<img src=x onerror=alert(1)>"
            assert page.locator("h1").inner_text() == (label if path == "run" else PAGES[path])
            page.locator(DRAWN[path == "epitomes"]).first.wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= 700
            assert page.locator('img[src="x"]').count() == 0
        page.goto(f"{url}/run?run={run_id}")
        settle(page)
        assert page.locator('[data-testid="stMain"]').inner_text().count("Traceback") == 0
        assert not faults


@pytest.mark.slow
def test_live_plot_keeps_its_zoom(app):
    url, store = app
    run_id = store.create({}, label="live")
    points = "node => node.calcdata[0].length"
    zoom = "node => node._fullLayout.xaxis.range.map(Number)"
    with (
        RunWriter(store, run_id) as writer,
        browse() as (page, faults),
    ):
        writer.status("running", step=40, total=100)
        for step in range(40):
            writer.metric(step=step, split="train", loss=2.0 / (1 + step), top1=float(step))
        page.goto(f"{url}/run?run={run_id}")
        plot = page.locator(".nes-plot[data-drawn]").first
        plot.wait_for()
        box = plot.locator(".nsewdrag").first.bounding_box()
        assert box is not None
        before = plot.evaluate(zoom)
        page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"], steps=8)
        page.mouse.up()
        page.wait_for_function(
            "range => document.querySelector('.nes-plot')._fullLayout.xaxis.range[0] != range[0]", arg=before
        )
        chosen, count = plot.evaluate(zoom), plot.evaluate(points)
        plot.evaluate("node => { node.sameNode = true }")
        for step in range(40, 60):
            writer.metric(step=step, split="train", loss=2.0 / (1 + step), top1=float(step))
        page.wait_for_function("count => document.querySelector('.nes-plot').calcdata[0].length > count", arg=count)
        assert plot.evaluate(zoom) == chosen
        assert plot.evaluate("node => node.sameNode") is True
        page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.4 * box["height"], steps=4)
        page.locator(".nes-plot").nth(1).locator(".hovertext").first.wait_for()  # all panels point at one step
        assert "step 40 of 100" in page.locator('[data-testid="stMain"]').inner_text()
        writer.status("finished", step=100, total=100)
        page.get_by_text("finished", exact=True).first.wait_for()
        assert not faults


def test_pages_from_no_runs_through_a_training_to_the_trade_off(app):
    url, store = app
    with browse() as (page, faults):
        see_every_page_without_runs(page, url)
        page.goto(f"{url}/compress")
        settle(page)
        page.get_by_role("textbox", name="MAdds budget").fill("60%")
        page.get_by_role("textbox", name="MAdds budget").press("Enter")
        page.get_by_text("Layers replaced").wait_for()
        page.get_by_text(re.compile(r"^Training: ")).click()
        page.get_by_label("Epochs", exact=True).fill("1")
        page.get_by_label("Epochs", exact=True).press("Enter")
        page.get_by_label("Label (free text)", exact=True).fill("from the browser")
        page.get_by_label("Label (free text)", exact=True).press("Enter")
        page.wait_for_timeout(500)  # the last field's rerun
        page.get_by_role("button", name="Launch").click()
        page.wait_for_url("**/run?run=*")
        (info,) = store.list()
        assert info.config["compression"]["madds"] == "60%"
        page.locator(".nes-plot[data-drawn]").first.wait_for(timeout=TRAINING_SECONDS * 1000)
        page.get_by_text("finished", exact=True).first.wait_for(timeout=TRAINING_SECONDS * 1000)
        page.get_by_text("Results").wait_for()
        page.reload()  # the address holds the run
        settle(page)
        assert info.id in page.url
        page.get_by_role("link", name="Trade-off").click()
        page.locator(".js-plotly-plot .main-svg").first.wait_for()
        page.get_by_text("measured: 1 setting, 1 run").wait_for()
        page.get_by_role("link", name="Epitomes").click()
        page.locator(DRAWN[1]).wait_for()
        page.get_by_text("More pictures of this layer").click()
        page.locator(".modebar-btn").first.wait_for(state="attached")
        titles = page.locator(".modebar-btn").evaluate_all("buttons => buttons.map(button => button.dataset.title)")
        assert any("CSV" in title for title in titles) and not any("Share" in title for title in titles), titles
        assert not faults
    assert store.get(info.id).state == "finished"


@pytest.mark.slow
def test_a_point_of_the_trade_off_opens_its_run_and_the_budget_stays(app):
    url, store = app
    dense = write_run(store, label="dense", routing=None, madds=2_000_000, top1=95.0)
    for seed in range(2):
        write_run(store, label="tiled", routing="tiled", seed=seed, top1=90.0 + seed)
    place = """node => {
        const trace = node.data.find((each) => each.name === "dense"), layout = node._fullLayout;
        const box = node.getBoundingClientRect(), size = layout._size;
        return [box.x + size.l + layout.xaxis.d2p(trace.x[0]), box.y + size.t + layout.yaxis.d2p(trace.y[0])];
    }"""
    with browse(width=1300) as (page, faults):
        page.goto(f"{url}/trade_off?budget-madds=1M&result=top-5")
        settle(page)
        plot = page.locator(".nes-plot[data-drawn]").first
        plot.wait_for()
        page.wait_for_timeout(1000)  # the columns settle
        choose_left_half(page, plot)
        page.get_by_text("1 of 2 settings").wait_for()
        page.reload()  # the address holds the choice
        settle(page)
        page.get_by_text("1 of 2 settings").wait_for()
        page.get_by_role("button", name="Show all").click()
        page.get_by_text("1 of 2 settings").wait_for(state="detached")
        plot.wait_for()
        page.wait_for_timeout(1000)
        x, y = plot.evaluate(place)
        page.mouse.move(x, y)
        page.wait_for_timeout(300)  # plotly knows the hovered point
        page.mouse.click(x, y)
        page.wait_for_url(f"**/run?run={dense}")
        page.get_by_test_id("stSidebarNavItems").get_by_role("link", name="Trade-off").click()
        page.get_by_role("heading", name="Trade-off").wait_for()
        page.wait_for_url("**budget-madds=1M**")
        holds(page.get_by_label("Budget (MAdds)", exact=True), "1M")
        assert "result=top-5" in page.url
        page.get_by_role("button", name="Export").click()
        page.wait_for_url("**/run?run=*view=Network*")
        page.go_back()
        page.get_by_role("heading", name="Trade-off").wait_for()
        page.wait_for_url("**/trade_off?*budget-madds=1M*")
        holds(page.get_by_label("Budget (MAdds)", exact=True), "1M")
        assert "result=top-5" in page.url
        assert not faults


def holds(field, value):
    """Wait until a field has a value. Streamlit draws a field empty for a moment, and loads its code late."""
    from playwright.sync_api import expect

    expect(field).to_have_value(value, timeout=60_000)


def choose_left_half(page, plot):
    """Draw a box over the left half of a plot."""
    plot.hover()
    page.locator(".modebar-btn[data-title='Box Select']").first.click()
    left, top, wide, tall = plot.evaluate("""node => {
        const box = node.getBoundingClientRect(), { _size: size, xaxis, yaxis } = node._fullLayout;
        return [box.x + size.l, box.y + size.t, xaxis._length, yaxis._length];
    }""")
    page.mouse.move(left + 2, top + 25)
    page.mouse.down()
    page.mouse.move(left + wide / 2, top + tall - 25, steps=4)
    page.mouse.up()


def test_requests_with_a_foreign_host_are_refused(app):
    url, _ = app
    for path in ("/", "/_stcore/health", "/compress"):
        request = urllib.request.Request(url + path, headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(request, timeout=20)
        urllib.request.urlopen(url + path, timeout=20).close()


def test_javascript_is_kept_by_the_browser_until_it_changes(app):
    url, _ = app
    request = urllib.request.Request(url + file_path("explorer"), headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert gzip.decompress(answer.read()).decode() == explorer_js()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(url + file_path("explorer").replace("explorer-", "explorer-0"), timeout=20)


@pytest.mark.slow
def test_compress_drops_a_plan_that_nobody_waits_for(app):
    """An edit during a long plan: the page shows the newer plan at once, and the plan of another tab is not lost."""
    url, _ = app
    with browse() as (page, faults):
        page.goto(f"{url}/compress")
        settle(page)
        page.get_by_text("Layers replaced").wait_for()
        limit = page.get_by_label("Time budget (ms or share)", exact=True)
        page.get_by_text("More options").click()
        limit.fill("75%")
        limit.press("Enter")
        page.get_by_text("Planning: ").first.wait_for()  # measuring takes about 20 s
        other = page.context.browser.new_page()
        other.goto(f"{url}/compress")
        other.get_by_text("Layers replaced").wait_for(timeout=10_000)
        limit.fill("")
        limit.press("Enter")
        page.get_by_text("Planning: ").wait_for(state="detached", timeout=10_000)
        page.get_by_text("Layers replaced").wait_for()
        assert not faults


@pytest.mark.slow
def test_epitomes_panes_agree(app):
    """Point at a patch, move by keys, click a cell, play: every pane follows, and downloads hold the same numbers."""
    url, store = app
    run_id = write_run(store, routing="free")
    layer = store.snapshot(run_id, 60)["blocks.0"]
    with browse(width=1300) as (page, faults):
        page.goto(f"{url}/epitomes?run={run_id}&layer=blocks.0")
        settle(page)
        page.locator(".nes-explorer[data-drawn]").wait_for()
        words, weight, epitome = (page.locator(f'[data-part="{name}"]') for name in ("words", "weight", "epitome"))
        state = "node => { const e = node.nesExplorer; return {...e.state, frame: e.views[0].frame, ruler: e.views[0].ruler}; }"
        explorer = page.locator(".nes-explorer")
        words.get_by_text("Who else reads these cells?").wait_for()
        weight.press("ArrowDown")
        weight.press("ArrowRight")
        words.get_by_text("Patch (1, 1)").wait_for()
        starts = [float(layer.starts[axis][1]) for axis in (0, 1)]
        assert f"row {starts[0]:.2f}, column {starts[1]:.2f}" in words.inner_text()
        box, scale = weight.bounding_box(), explorer.evaluate(state)["frame"]["scale"]
        assert box is not None
        row, column = layer.patch_shape[0] + 1, 2
        page.mouse.move(box["x"] + (column + 0.5) * scale, box["y"] + (row + 0.5) * scale)
        words.get_by_text("Patch (1, 0)").wait_for()
        assert f"W[{row}, {column}" in words.inner_text()
        assert float(explorer.get_attribute("data-hover-ms") or "inf") < 500  # the benchmark measures it without load
        ruler = explorer.evaluate(state)["ruler"]
        cell = {"x": ruler["left"] + 1.5 * ruler["scale"], "y": ruler["top"] + 0.5 * ruler["scale"]}
        epitome.click(position=cell)
        words.get_by_text("Cell (0, 1) of the epitome").wait_for()
        assert f"{int(layer.coverage()[0, 1]):,} pairs" in words.inner_text()
        page.locator('[data-part="slider"]').press("Home")
        page.wait_for_function("document.querySelector('.nes-explorer').nesExplorer.state.step === 0")
        page.wait_for_url("**step=0*")
        page.locator('[data-part="slider"]').press("ArrowRight")  # the slider kept its focus through the page's rerun
        page.wait_for_function("document.querySelector('.nes-explorer').nesExplorer.state.step > 0")
        page.get_by_role("button", name="Play").click()
        page.get_by_role("button", name="Pause").wait_for()
        page.wait_for_function("document.querySelector('.nes-explorer').nesExplorer.state.step === 60")
        with page.expect_download() as download:
            page.get_by_role("button", name="CSV of the weight").click()
        numbers = np.loadtxt(download.value.path(), delimiter=",")
        assert numbers.shape == layer.weight_shape[:2]
        for pane in ("the epitome", "the moves of the starts"):
            with page.expect_download() as download:
                page.get_by_role("button", name=f"SVG of {pane}").click()
            assert ElementTree.parse(download.value.path()).getroot().tag.endswith("svg")
        epitome.press("ArrowRight")  # the cell that is chosen moves, and stays
        words.get_by_text("Cell (0, 2) of the epitome").wait_for()
        page.wait_for_url("**cell=0.2*")
        page.get_by_role("button", name="Let go").click()
        words.get_by_text("Patch (").wait_for()
        for color in ("reuse", "change", "gradient"):
            page.locator('[data-part="color"]').select_option(color)
        page.get_by_text("This run did not keep the gradients").wait_for()
        assert not faults


@pytest.mark.slow
def test_epitomes_compares_runs_with_one_color_scale(app):
    """Three columns show the same place of the weight, colored by gradient; choices stay when the page is loaded again."""
    url, store = app
    tiled = write_run(store, label="tiled", routing="tiled")
    run_id = write_run(store, label="free", routing="free", gradients=True)
    with browse(width=1440) as (page, faults):
        page.goto(f"{url}/epitomes?run={run_id}&layer=blocks.0&compare=true")
        settle(page)
        page.locator('[data-part="weight-1"]').wait_for()
        assert "tiled" in page.locator('[data-part="head-1"]').inner_text()
        box = page.locator('[data-part="weight-1"]').bounding_box()
        page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"])
        page.locator('[data-part="words"]').get_by_text("Patch (7, 5)").wait_for()
        page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"])
        page.wait_for_url("**pin=*")
        page.locator('[data-part="words-1"]').get_by_text(
            "Patch (7, 5)"
        ).wait_for()  # each run has its own words and moves
        page.get_by_text("The starts of this run are not learned").wait_for()
        page.locator('[data-part="color"]').select_option("gradient")
        page.wait_for_url("**color=gradient*")
        page.reload()
        page.locator(".nes-explorer[data-drawn]").wait_for()
        page.locator('[data-part="words"]').get_by_text("Patch (7, 5)").wait_for()
        views = page.locator(".nes-explorer").evaluate(
            "node => node.nesExplorer.views.map(view => [view.data.routing, view.limit, Math.max(...view.shownCells.values)])"
        )
        assert "kept no gradients" in page.locator('[data-part="head-1"]').inner_text()
        gradient = store.snapshot(run_id, 60)["blocks.0"].gradient
        assert [view[0] for view in views] == ["free", "tiled"] and views[1][1] == 0  # the tiled run kept none
        assert views[0][1] == pytest.approx(np.abs(gradient).max(), rel=1e-3)
        assert tiled in page.url or "with=" not in page.url
        assert not faults


@pytest.mark.slow
def test_compress_drags_the_point_and_the_slider_and_keeps_the_focus(app):
    url, _ = app
    with browse(width=1440) as (page, faults):
        page.goto(f"{url}/compress?compression.round_to=2")
        settle(page)
        handle = page.locator('.nes-handle[aria-label^="plan"]')
        handle.wait_for()
        page.wait_for_timeout(1500)  # the columns settle
        handle.scroll_into_view_if_needed()
        box = handle.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 40, y + 30, steps=6)
        page.mouse.up()
        page.wait_for_url("**compression.params=**")  # below the line of plans
        slider = page.get_by_role("slider", name="MAdds budget").and_(page.locator("input"))
        page.wait_for_function("document.querySelector('.nes-slider input').value != '600'")  # 60%, before the drag
        before = int(slider.input_value())
        slider.focus()
        for _ in range(2):  # each after the answer to the one before
            page.keyboard.press("ArrowLeft")
            page.wait_for_timeout(1500)
        share = int(slider.input_value())
        assert share == before - 10
        assert page.evaluate("document.activeElement.type") == "range"
        page.wait_for_url(f"**compression.madds={share / 10:g}%25**")
        assert page.get_by_role("textbox", name="MAdds budget").input_value() == f"{share / 10:g}%"
        assert not faults


@pytest.mark.slow
def test_forms_and_the_current_run_survive_a_change_of_page(app):
    url, store = app
    older = write_run(store, label="older", routing="free")
    write_run(store, label="newer", routing="free")
    with browse(width=1300) as (page, faults):
        page.goto(f"{url}/compress")
        settle(page)
        budget = page.get_by_role("textbox", name="MAdds budget")
        budget.fill("45%")
        budget.press("Enter")
        page.get_by_text(re.compile(r"^Training: ")).click()
        page.get_by_label("Seed", exact=True).fill("7")
        page.get_by_label("Seed", exact=True).press("Enter")
        page.wait_for_url("**seed=7*")
        page.get_by_role("link", name="Trade-off").click()
        page.get_by_role("heading", name="Trade-off").wait_for()
        page.get_by_role("link", name="Compress").first.click()
        page.get_by_text("Layers replaced").wait_for()
        holds(budget, "45%")
        holds(page.get_by_label("Seed", exact=True), "7")
        other = page.context.browser.new_page()
        other.goto(page.url)
        other.get_by_text("Layers replaced").wait_for()
        holds(other.get_by_role("textbox", name="MAdds budget"), "45%")
        page.goto(url)
        settle(page)
        page.locator(".dvn-scroller").first.click(position={"x": 18, "y": 90})  # the second run's box
        page.wait_for_url(f"**/run?run={older}")
        page.get_by_role("heading", name="older").wait_for()
        page.get_by_role("link", name="Epitomes").first.click()
        page.locator(".nes-explorer[data-drawn]").wait_for()
        assert older in page.url
        page.locator('[data-testid="stSidebar"]').get_by_text(
            "older", exact=True
        ).wait_for()  # the glossary has "folder"
        assert not faults


@pytest.mark.slow
def test_runs_are_selected_and_renamed_in_the_table(app):
    url, store = app
    older, newer = (write_run(store, label=label) for label in ("older", "newer"))
    with browse(width=1440) as (page, faults):
        page.goto(f"{url}/runs")
        settle(page)
        canvas = page.locator('[data-testid="stDataFrame"] canvas').first
        canvas.wait_for()
        box = canvas.bounding_box()
        assert box is not None
        for row, run_id in ((1, newer), (2, older)):  # row 0 is the head
            page.mouse.click(box["x"] + 18, box["y"] + 35 * row + 17)
            page.wait_for_url(f"**{run_id}*")
        page.get_by_text("2 selected").wait_for()
        page.locator(".nes-plot[data-drawn]").wait_for()
        page.wait_for_timeout(1500)  # the grid takes no edit while the page draws the comparison
        page.mouse.dblclick(box["x"] + 90, box["y"] + 35 * 2 + 17)
        page.locator(".gdg-input").fill("<b>renamed</b>")
        page.keyboard.press("Enter")
        page.wait_for_function("document.querySelector('.nes-plot').data.some(curve => curve.name.includes('renamed'))")
        assert (store.get(older).label, store.get(newer).label) == ("<b>renamed</b>", "newer")
        page.reload()
        page.get_by_text("2 selected").wait_for()
        assert not faults
