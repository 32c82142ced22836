"""Plans of the tests use no times of this machine."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def home_without_times(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("NES_LAB_HOME", str(tmp_path_factory.mktemp("home")))
