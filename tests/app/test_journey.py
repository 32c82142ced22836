"""One long way through the app in a real browser: a run from its launch to its downloads, with the server killed on the way."""

from __future__ import annotations

import csv
import io
import os
import signal
import time
from pathlib import Path

import pytest
import yaml

from nes_lab.runs.store import RunStore
from tests.app.browser import browse, serve, settle

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
SECONDS = 240_000  # milliseconds to wait for what takes a few seconds on idle cores
EPOCHS = 40
PLOT = ".nes-plot[data-drawn]"
POINTS = "document.querySelector('.nes-plot').calcdata[0].length"
RANGE = "node => node._fullLayout.xaxis.range.map(Number)"
STATE = "document.querySelector('.nes-explorer').nesExplorer.state"


def launch(page, url):
    """Fill the form on Compress, launch a run, and return its id."""
    page.goto(f"{url}/compress")
    settle(page)
    page.get_by_text("Layers replaced").wait_for()
    for label, value in (("Epochs", str(EPOCHS)), ("Label (free text)", "journey")):
        field = page.get_by_label(label, exact=True)
        field.fill(value)
        field.press("Enter")
    page.wait_for_url(f"**training.epochs={EPOCHS}*")
    page.wait_for_url("**label=journey*")
    page.get_by_text("Layers replaced").wait_for()
    page.get_by_role("button", name="Launch").click()
    page.wait_for_url("**/run?run=*", timeout=SECONDS)
    return page.url.split("run=")[1].split("&")[0]


def zoom(page):
    """Drag over a third of the first plot, mark its node, and return the range that the drag has chosen."""
    plot = page.locator(PLOT).first
    before = plot.evaluate(RANGE)
    box = plot.locator(".nsewdrag").first.bounding_box()
    x, y, width = box["x"], box["y"] + box["height"] / 2, box["width"]
    page.mouse.move(x + 0.3 * width, y)
    page.mouse.down()
    page.mouse.move(x + 0.6 * width, y, steps=8)
    page.mouse.up()
    page.wait_for_function(
        "old => document.querySelector('.nes-plot')._fullLayout.xaxis.range[0] != old[0]", arg=before
    )
    plot.evaluate("node => { node.sameNode = true }")
    return plot.evaluate(RANGE)


def watch_live(page):
    """See the curve of a running training move while the zoom stays, in the same node."""
    page.locator(PLOT).first.wait_for(timeout=SECONDS)
    page.wait_for_function(f"{POINTS} > 2", timeout=SECONDS)
    chosen, count = zoom(page), page.evaluate(POINTS)
    page.wait_for_function(f"count => {POINTS} > count", arg=count, timeout=SECONDS)
    plot = page.locator(PLOT).first
    assert plot.evaluate(RANGE) == chosen and plot.evaluate("node => node.sameNode") is True


def change_pages(page, run_id):
    """Leave the page Run and come back: the run, the axis of the panels and the form on Compress are as they were."""
    page.get_by_role("button", name="epoch", exact=True).or_(page.get_by_text("epoch", exact=True)).first.click()
    page.wait_for_url("**across=epoch*")
    links = page.get_by_test_id("stSidebarNavItems")
    links.get_by_role("link", name="Compress").click()
    page.get_by_text("Layers replaced").wait_for()
    assert page.get_by_label("Epochs", exact=True).input_value() == str(EPOCHS)
    links.get_by_role("link", name="Run", exact=True).click()
    page.wait_for_url(f"**{run_id}*")
    page.wait_for_url("**across=epoch*")
    page.reload()
    settle(page)
    page.get_by_role("heading", name="journey").wait_for()
    assert run_id in page.url and "across=epoch" in page.url


def kill(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        end = time.monotonic() + 30
        while time.monotonic() < end and alive(pid):
            time.sleep(0.1)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def see_epitomes(page, url, run_id):
    """Point, click a cell and play: all panes of the explorer agree."""
    page.goto(f"{url}/epitomes?run={run_id}")
    settle(page)
    page.locator(".nes-explorer[data-drawn]").wait_for()
    words = page.locator('[data-part="words"]')
    box = page.locator('[data-part="weight"]').bounding_box()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"])
    row, column = page.evaluate(
        "(() => { const e = document.querySelector('.nes-explorer').nesExplorer; return e.views[0].patchOf(e.state.position) })()"
    )
    words.get_by_text(f"Patch ({row}, {column})").wait_for()
    ruler = page.evaluate("document.querySelector('.nes-explorer').nesExplorer.views[0].ruler")
    cell = {"x": ruler["left"] + 1.5 * ruler["scale"], "y": ruler["top"] + 0.5 * ruler["scale"]}
    page.locator('[data-part="epitome"]').click(position=cell)
    words.get_by_text("Cell (0, 1) of the epitome").wait_for()
    page.wait_for_url("**cell=0.1*")
    page.locator('[data-part="slider"]').press("Home")
    page.wait_for_function(f"{STATE}.step === 0")
    page.get_by_role("button", name="Play").click()
    last = page.evaluate("document.querySelector('.nes-explorer').nesExplorer.data.steps.at(-1)")
    page.wait_for_function(f"step => {STATE}.step === step", arg=last)
    assert f"step {last}" in page.locator('[data-part="thumbs"] button.now').inner_text()


def open_the_point(page, url, run_id):
    """Click the run's point on Trade-off, and arrive at the run."""
    page.goto(f"{url}/trade_off")
    settle(page)
    plot = page.locator(PLOT).first
    plot.wait_for()
    page.wait_for_timeout(1000)  # the columns settle
    x, y = plot.evaluate(
        """(node, id) => {
            const holds = (each) => JSON.stringify(each ?? "").includes(id);
            const trace = node.data.find((each) => (each.customdata || []).some(holds)), layout = node._fullLayout;
            const at = trace.customdata.findIndex(holds), box = node.getBoundingClientRect(), size = layout._size;
            return [box.x + size.l + layout.xaxis.d2p(trace.x[at]), box.y + size.t + layout.yaxis.d2p(trace.y[at])];
        }""",
        run_id,
    )
    page.mouse.move(x, y)
    page.wait_for_timeout(300)  # plotly knows the hovered point
    page.mouse.click(x, y)
    page.wait_for_url(f"**/run?run={run_id}*")
    page.get_by_role("heading", name="journey").wait_for()


def take_away(page, info):
    """Download the settings, the curves and the report of a run, and read them."""
    page.get_by_role("button", name="Download").click()
    texts = {}
    for name in ("Settings (YAML)", "Curves (CSV)", "Report (HTML)"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        texts[name] = Path(download.value.path()).read_text(encoding="utf-8")
    assert yaml.safe_load(texts["Settings (YAML)"]) == info.config
    rows = list(csv.DictReader(io.StringIO(texts["Curves (CSV)"])))
    assert {row["split"] for row in rows} == {"train", "val"} and int(rows[-1]["step"]) == info.total
    assert "journey" in texts["Report (HTML)"] and texts["Report (HTML)"].rstrip().endswith("</html>")


def test_a_run_from_launch_to_downloads(tmp_path):
    store = RunStore(tmp_path / "runs")
    with browse(width=1440) as (page, faults):
        with serve(tmp_path, tmp_path / "first.log") as url:
            run_id = launch(page, url)
            watch_live(page)
            change_pages(page, run_id)
            server = server_of(url)
            trainer = store.get(run_id).pid
            page.goto("about:blank")  # the page of a server that is gone would report failed requests
            kill(server, trainer)
        assert store.get(run_id).state == "lost"
        with serve(tmp_path, tmp_path / "second.log") as url:
            page.goto(f"{url}/run?run={run_id}")
            settle(page)
            page.get_by_text("lost", exact=True).first.wait_for()
            tab = page.context.browser.new_page()
            tab.goto(f"{url}/runs")
            settle(tab)
            page.get_by_role("button", name="Resume").click()
            page.get_by_role("button", name="Cancel").wait_for(timeout=SECONDS)
            page.get_by_text("running", exact=True).first.wait_for(timeout=SECONDS)
            tab.goto(f"{url}/run?run={run_id}")
            tab.get_by_text("running", exact=True).first.wait_for(timeout=SECONDS)
            tab.get_by_role("button", name="Cancel").click()
            page.get_by_text("cancelled", exact=True).first.wait_for(timeout=SECONDS)
            page.get_by_role("button", name="Resume").click()
            tab.get_by_text("running", exact=True).first.wait_for(timeout=SECONDS)
            tab.close()
            page.get_by_text("finished", exact=True).first.wait_for(timeout=SECONDS)
            info = store.get(run_id)
            assert info.state == "finished" and info.step == info.total and info.attempt == 3
            see_epitomes(page, url, run_id)
            open_the_point(page, url, run_id)
            take_away(page, info)
        assert not faults, faults


def server_of(url):
    """The process id of the server that listens at this address."""
    import psutil

    port = int(url.rpartition(":")[2])
    (pid,) = {each.pid for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr.port == port}
    return pid
