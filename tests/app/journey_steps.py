"""Steps of a long way through the app in a browser. Each waits for what it has caused, and checks it."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from pathlib import Path

import psutil
import yaml

from tests.app.browser import settle

LONG = 240_000  # milliseconds to wait for what takes a few seconds on idle cores
LABEL = "journey"
PLOT = ".nes-plot[data-drawn]"
POINTS = f"document.querySelector('{PLOT}')?.calcdata[0].length"
RANGE = "node => node._fullLayout.xaxis.range.map(Number)"
EXPLORER = "document.querySelector('.nes-explorer').nesExplorer"
STILL = """node => new Promise((resolve) => {
    let last = "", same = 0;
    const look = () => {
        const { x, y, width } = node.getBoundingClientRect(), now = [x, y, width].join();
        same = now === last && node.isConnected ? same + 1 : 0;
        last = now;
        same > 20 ? resolve() : requestAnimationFrame(look);
    };
    look();
})"""
"""Waits until a node has stayed at its place for some frames."""

POINT_OF = """(node, id) => {
    const holds = (each) => JSON.stringify(each ?? "").includes(id);
    const trace = node.data.find((each) => (each.customdata || []).some(holds)), layout = node._fullLayout;
    const at = trace.customdata.findIndex(holds), box = node.getBoundingClientRect(), size = layout._size;
    return [box.x + size.l + layout.xaxis.d2p(trace.x[at]), box.y + size.t + layout.yaxis.d2p(trace.y[at])];
}"""


def launch(page, url, epochs):
    """Fill the form on Compress, launch a run, and return its id."""
    page.goto(f"{url}/compress")
    settle(page)
    page.get_by_text("Layers replaced").wait_for()
    page.get_by_text(re.compile(r"^Training: ")).click()
    for label, value, address in (
        ("Epochs", str(epochs), f"training.epochs={epochs}"),
        ("Label (free text)", LABEL, LABEL),
    ):
        field = page.get_by_label(label, exact=True)
        field.fill(value)
        field.press("Enter")
        page.wait_for_url(f"**{address}*")
    page.get_by_text("Layers replaced").wait_for()
    page.get_by_role("button", name="Launch").click()
    page.wait_for_url("**/run?run=*")
    return page.url.split("run=")[1].split("&")[0]


def see_state(page, state, timeout=LONG):
    """Wait until the page Run shows this state."""
    page.get_by_test_id("stMain").get_by_text(state, exact=True).first.wait_for(timeout=timeout)


def heading(page):
    """The title of the page Run: the label of the run."""
    return page.get_by_role("heading", name=LABEL, exact=True)


def zoom(page):
    """Drag over a third of the first plot, mark its node, and return the range that the drag has chosen."""
    plot = page.locator(PLOT).first
    plot.evaluate(STILL)
    before, box = plot.evaluate(RANGE), plot.locator(".nsewdrag").first.bounding_box()
    x, y, width = box["x"], box["y"] + box["height"] / 2, box["width"]
    page.mouse.move(x + 0.3 * width, y)
    page.mouse.down()
    page.mouse.move(x + 0.6 * width, y, steps=8)
    page.mouse.up()
    page.wait_for_function(f"old => ({RANGE})(document.querySelector('{PLOT}'))[0] !== old[0]", arg=before)
    plot.evaluate("node => { node.sameNode = true }")
    return plot.evaluate(RANGE)


def see_new_points(page):
    """Wait until the first plot has more points than now."""
    page.wait_for_function(f"count => {POINTS} > count", arg=page.evaluate(POINTS) or 0)


def watch_live(page):
    """See the curve of a training move while the zoom stays, in the same node."""
    page.wait_for_function(f"{POINTS} > 2")
    chosen = zoom(page)
    see_new_points(page)
    plot = page.locator(PLOT).first
    assert plot.evaluate(RANGE) == chosen and plot.evaluate("node => node.sameNode") is True


def change_pages(page, run_id, epochs):
    """Leave the page Run and come back: the run, the axis of the panels and the form on Compress are as they were."""
    page.get_by_test_id("stMain").get_by_text("epoch", exact=True).click()
    page.wait_for_url("**across=epoch*")
    links = page.get_by_test_id("stSidebarNavItems")
    links.get_by_role("link", name="Compress").click()
    page.get_by_text("Layers replaced").wait_for()
    page.get_by_text(f"Training: {epochs} epochs").wait_for()
    assert page.get_by_label("Label (free text)", exact=True).input_value() == LABEL
    links.get_by_role("link", name="Run", exact=True).click()
    page.wait_for_url(f"**{run_id}*")
    page.wait_for_url("**across=epoch*")
    heading(page).wait_for()


def reload(page, run_id):
    """Load the page again: it shows the same run over the same axis, and its curve still moves."""
    page.reload()
    settle(page)
    heading(page).wait_for()
    assert run_id in page.url and "across=epoch" in page.url
    page.locator(PLOT).first.wait_for()
    see_new_points(page)


def open_tab(page, url, run_id):
    """Open the run in a second tab."""
    tab = page.context.browser.new_page()
    tab.set_default_timeout(LONG)
    tab.goto(f"{url}/run?run={run_id}")
    settle(tab)
    see_state(tab, "running")
    return tab


def cancel(page, *others):
    """Cancel the run; all tabs see it."""
    page.get_by_role("button", name="Cancel", exact=True).click()
    for each in (page, *others):
        see_state(each, "cancelled")


def resume(page, *others):
    """Resume the run; all tabs see it."""
    page.get_by_role("button", name="Resume", exact=True).click()
    for each in (page, *others):
        see_state(each, "running")


def kill_server(url):
    """Kill the server at this address and its workers with SIGKILL, and return how many workers it had."""
    port = int(url.rpartition(":")[2])
    (pid,) = {each.pid for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr.port == port}
    server = psutil.Process(pid)
    workers = [each for each in server.children() if "nes_lab.worker" in each.cmdline()]
    for process in (server, *workers):
        process.kill()
    for process in (server, *workers):
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie counts as gone
            while process.status() != psutil.STATUS_ZOMBIE:
                process.wait(60)
    return len(workers)


def see_epitomes(page, url, run_id):
    """Point at the weight, click a cell and play: all panes of the explorer agree."""
    page.goto(f"{url}/epitomes?run={run_id}")
    settle(page)
    page.locator(".nes-explorer[data-drawn]").wait_for()
    words, weight = page.locator('[data-part="words"]'), page.locator('[data-part="weight"]')
    weight.evaluate(STILL)
    weight.hover()
    box = weight.bounding_box()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.6 * box["height"])
    row, column = page.evaluate(f"{EXPLORER}.views[0].patchOf({EXPLORER}.state.position)")
    words.get_by_text(f"Patch ({row}, {column})").wait_for()
    ruler = page.evaluate(f"{EXPLORER}.views[0].ruler")
    cell = {"x": ruler["left"] + 1.5 * ruler["scale"], "y": ruler["top"] + 0.5 * ruler["scale"]}
    page.locator('[data-part="epitome"]').click(position=cell)
    words.get_by_text("Cell (0, 1) of the epitome").wait_for()
    page.wait_for_url("**cell=0.1*")
    page.locator('[data-part="slider"]').press("Home")
    page.wait_for_function(f"{EXPLORER}.state.step === 0")
    page.get_by_role("button", name="Play").click()
    last = page.evaluate(f"{EXPLORER}.data.steps.at(-1)")
    page.get_by_role("button", name="Pause").wait_for()
    page.get_by_role("button", name="Play").wait_for()
    page.wait_for_url(lambda address: "step=" not in address)  # the page knows the choice, and has undone none
    assert page.evaluate(f"{EXPLORER}.state.step") == last
    assert str(last) in page.locator('[data-part="thumbs"] button.now').inner_text()
    words.get_by_text("Cell (0, 1) of the epitome").wait_for()


def open_the_point(page, url, run_id):
    """Click the run's point on Trade-off, and arrive at the run."""
    page.goto(f"{url}/trade_off")
    settle(page)
    plot = page.locator(PLOT).first
    plot.wait_for()
    plot.evaluate(STILL)
    x, y = plot.evaluate(POINT_OF, run_id)
    page.mouse.move(x - 2, y)
    page.mouse.move(x, y)
    plot.locator(".hoverlayer .hovertext").first.wait_for()  # plotly knows the point
    page.mouse.click(x, y)
    page.wait_for_url(f"**/run?run={run_id}*")
    heading(page).wait_for()


def take_away(page, info):
    """Download the settings, the curves and the report of a run, and read them."""
    page.get_by_role("button", name="Download", exact=True).click()
    texts = {}
    for name in ("Settings (YAML)", "Curves (CSV)", "Report (HTML)"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        texts[name] = Path(download.value.path()).read_text(encoding="utf-8")
    assert yaml.safe_load(texts["Settings (YAML)"]) == info.config
    rows = list(csv.DictReader(io.StringIO(texts["Curves (CSV)"])))
    assert {row["split"] for row in rows} == {"train", "val"} and int(rows[-1]["step"]) == info.total
    assert LABEL in texts["Report (HTML)"] and texts["Report (HTML)"].rstrip().endswith("</html>")
