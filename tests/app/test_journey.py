"""One long way through the app in a real browser: a run from its launch to its downloads, with the server killed on the way."""

from __future__ import annotations

import contextlib

import psutil
import pytest

from nes_lab.runs.store import RunStore
from tests.app.browser import browse, serve
from tests.app.journey_steps import (
    LONG,
    cancel,
    change_pages,
    kill_server,
    launch,
    open_tab,
    open_the_point,
    reload,
    resume,
    see_epitomes,
    see_new_points,
    see_state,
    take_away,
    watch_live,
)

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1500)]
EPOCHS = 24  # four times as long as the steps while it trains; not the form's default, which no address has
OUTAGE = (
    "ERR_CONNECTION_",
    "ERR_EMPTY_RESPONSE",
    "WebSocket connection",
    "when disconnected from server",
    "No response received when attempting to reach /_stcore/health",  # these two after a few seconds
    "Streamlit server is not responding",
)
"""What Chromium and Streamlit say on the console while there is no server."""


@pytest.fixture
def store(tmp_path):
    """The store of the app's runs. A training that a failed test leaves behind is ended."""
    store = RunStore(tmp_path / "runs")
    yield store
    for info in store.list():
        if info.is_active and info.pid is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(info.pid).kill()


def test_a_run_from_launch_to_downloads(tmp_path, store):
    with browse(width=1440) as (page, faults):
        page.set_default_timeout(LONG)
        with serve(tmp_path, tmp_path / "first.log") as url:
            run_id = launch(page, url, EPOCHS)
            watch_live(page)
            change_pages(page, run_id, EPOCHS)
            reload(page, run_id)
            tab = open_tab(page, url, run_id)
            cancel(tab, page)
            resume(page, tab)
            assert not faults, faults
            trainer = store.get(run_id).pid
            page.evaluate("window.stayed = true")
            assert kill_server(url) > 0
        with serve(tmp_path, tmp_path / "second.log", port=int(url.rpartition(":")[2])):
            see_new_points(page)  # the training went on, and both tabs find the new server
            assert page.evaluate("window.stayed") and store.get(run_id).pid == trainer
            assert not [fault for fault in faults if not any(part in fault for part in OUTAGE)]
            faults.clear()
            cancel(page, tab)
            resume(tab, page)
            for each in (page, tab):
                see_state(each, "finished", timeout=4 * LONG)
            tab.close()
            info = store.get(run_id)
            assert info.state == "finished" and info.step == info.total and info.attempt == 3
            see_epitomes(page, url, run_id)
            open_the_point(page, url, run_id)
            take_away(page, info)
            assert not faults, faults
