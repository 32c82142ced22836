"""The committed measurement of the app meets its targets, and covers what it should."""

import json
from pathlib import Path

import pytest

from app.labels import FIRST_RUN_SECONDS
from benchmarks import app_speed

RESULTS = json.loads(app_speed.RESULTS.read_text(encoding="utf-8"))
SECONDS = {"new network": 4.0, "another option": 1.5, "another budget": 0.3, "refused budget": 0.3}


@pytest.mark.parametrize("question", SECONDS)
def test_plans_are_answered_in_time(question):
    rows = [row for row in RESULTS["plans"] if "network" in row]
    assert [row["network"] for row in rows[:-1]] == list(app_speed.NETWORKS)
    assert rows[-1]["network"] not in app_speed.NETWORKS  # the one drawn by the day
    assert {row["network"]: row[question] for row in rows if row[question] > SECONDS[question]} == {}


def test_pages_are_painted_in_time():
    pages = RESULTS["pages"]
    assert (pages["runs"], pages["rows per run"], pages["cells of the epitome"]) == (200, 10_000, 1_000_000)
    assert pages["Start, painted after s"] <= 3 and pages["Epitomes, a million cells, painted after s"] <= 4
    # Runs meets a fresh server; Run is the first page that loads plotly.js
    assert not [name for name in ("Runs", "Run", "Trade-off") if pages[f"{name}, 200 runs, painted after s"] > 2]
    assert pages["hover, pointer event to drawn frame, ms"]["largest"] <= 50


def test_the_first_run_takes_as_long_as_its_button_says():
    if "first-run" not in RESULTS:
        pytest.skip("the committed result is older than this measurement: run python -m benchmarks.app_speed")
    # nobody waits longer than the button says, and it does not frighten; else change its number
    assert 0.6 * FIRST_RUN_SECONDS <= RESULTS["first-run"]["seconds"] <= FIRST_RUN_SECONDS


def test_main_names_the_machine():
    assert RESULTS["device"] and RESULTS["cores"] and len(RESULTS["commit"]) >= 12
    assert Path(RESULTS["script"]).name == "app_speed.py"
