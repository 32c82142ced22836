"""Turn SIGTERM and Ctrl-C into a request to stop. The training then finishes its current step, saves and ends."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["StopSignals"]


class StopSignals:
    """A context manager in which SIGTERM and SIGINT (Ctrl-C) do not end the program.

    Instead, the name of the signal is stored in ``received``.

    The previous signal handlers are restored at the end of the ``with`` block. Python allows signal handlers only in the main
    thread. In any other thread this context manager does nothing, and ``received`` stays empty. In the
    example, no signal arrives.

    Attributes:
        received: Name of the last signal, such as ``"SIGTERM"``; empty if there was none.

    Examples:
        >>> with StopSignals() as stop:
        ...     stop.received
        ''
    """

    def __init__(self) -> None:
        self.received = ""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number).name
