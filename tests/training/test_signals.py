"""SIGTERM and Ctrl-C as requests to stop."""

from __future__ import annotations

import os
import signal

from nes_lab.training.signals import StopSignals


def test_stop_signals_set_a_flag_twice_and_restore_handlers() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) == before
