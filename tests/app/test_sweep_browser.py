"""A sweep launched from the page trains on real digits, is stopped and continued by its buttons, and is seen to finish."""

from __future__ import annotations

import pytest

from nes_lab.runs.store import RunStore
from tests.app.browser import browse, serve, settle

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(420)]


def test_a_sweep_is_launched_stopped_continued_and_seen_to_finish(tmp_path):
    store = RunStore(tmp_path / "runs")
    with serve(tmp_path, tmp_path / "server.log") as url, browse(width=1300) as (page, faults):
        page.goto(f"{url}/sweep?madds=60%25&seeds=2&sweep-name=tiny")
        settle(page)
        page.get_by_text("2 trials, 1 at the same time").wait_for()
        page.get_by_role("button", name="Launch").click()
        page.get_by_role("heading", name="tiny").wait_for()
        page.get_by_test_id("stMain").get_by_role("button", name="Stop").click()  # the toolbar has one, too
        page.get_by_text("stopped: 0 of 2 finished").wait_for(timeout=180_000)
        page.get_by_role("button", name="Continue").click()
        page.get_by_text("finished: 2 of 2 finished").wait_for(timeout=360_000)  # the page draws itself again
        page.get_by_text("measured: 1 setting, 2 runs").wait_for()
        assert "sweep=tiny" in page.url and not faults
    assert [info.state for info in store.list()] == ["finished", "finished"]
