"""Start a worker, ask it, cancel a question, and start it again if it dies or hangs. Nothing here imports torch.

Tests: tests/worker/test_client.py.
"""

from __future__ import annotations

import atexit
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from nes_lab.errors import NesLabError
from nes_lab.progress_bar import ProgressEvent
from nes_lab.records.budget import parse_bytes, parse_quantity
from nes_lab.worker.messages import LineReader, send

__all__ = ["Refusal", "Waiting", "Worker", "WorkerError"]

SECONDS_WITHOUT_SIGN = 20.0
"""Time without a sign of life after which a worker counts as hung, in seconds. Importing torch can block it for some seconds."""

SECONDS_BETWEEN_CALLS = 0.05
"""Time between two calls of a ``waiting`` function, in seconds."""


class Waiting(NamedTuple):
    """Says how far a question is: seconds since it was asked, whether a worker works on it, and the newest progress of the work."""

    seconds: float
    is_worked_on: bool
    progress: ProgressEvent | None


class Refusal(NesLabError):
    """Raised if the question is a user's mistake, such as a budget that cannot be met. The message says what is wrong.

    Args:
        message: The message of the library's error.
        kind: Name of the library's error class, such as ``BudgetError``.
        least: The smallest counts that can be reached, if a budget cannot be met; None otherwise.
        dense: The counts of the dense network, if a budget cannot be met; None otherwise.

    Examples:
        >>> Refusal("params=10 cannot be met", "BudgetError").kind
        'BudgetError'
    """

    def __init__(
        self, message: str, kind: str, least: dict[str, int] | None = None, dense: dict[str, int] | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.least = least
        self.dense = dense

    @property
    def similar_names(self) -> list[str]:
        """The known names that the message suggests for a wrong one."""
        return re.findall(r"'([^']+)'", str(self).partition("Did you mean")[2])

    def larger_budgets(self, limits: Mapping[str, Any]) -> dict[str, str]:
        """Return the smallest share that can be reached, for each limit of a budget that is below it.

        Args:
            limits: Limits on ``madds``, ``params`` and ``stored_bytes``, as in a configuration; None: no limit.

        Examples:
            >>> counts = {"least": {"madds": 40, "params": 1}, "dense": {"madds": 300, "params": 20}}
            >>> Refusal("madds=10% cannot be met", "BudgetError", **counts).larger_budgets({"madds": "10%", "params": "50%"})
            {'madds': '13.4%'}
        """
        larger: dict[str, str] = {}
        for quantity in ("madds", "params", "stored_bytes"):
            parse = parse_bytes if quantity == "stored_bytes" else parse_quantity
            limit = parse(limits.get(quantity))
            if limit is None or self.least is None or self.dense is None:
                continue
            least, dense = self.least[quantity], self.dense[quantity]
            if least > (limit * dense if limit <= 1 else limit):
                larger[quantity] = f"{math.ceil(1000 * least / dense) / 10:g}%"
        return larger


class WorkerError(NesLabError):
    """Raised if a worker cannot answer: it died, it hung, or its work failed unexpectedly.

    Args:
        message: What happened.
        details: The traceback or the last lines of the worker's log; may be empty.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class Worker:
    """A process that keeps torch loaded and answers questions, one after another.

    The process is started by the first question or by :meth:`start`. It ends with :meth:`close`, and when this process ends. Questions
    may be asked from several threads.

    Args:
        kind: ``"plans"`` or ``"jobs"``. What it can be asked stands in :mod:`nes_lab.worker.questions`.
        python_path: Folders from which the worker can import, before those of this process.
        command: Command that runs the worker, without the path of its socket, which is added; None: NES Lab's own worker.

    Examples:
        >>> worker = Worker("plans")
        >>> worker.pid is None  # worker.ask("ping", {}) would start it and answer 'ready'
        True
    """

    def __init__(
        self,
        kind: Literal["plans", "jobs"],
        python_path: Sequence[str] = (),
        command: Sequence[str] | None = None,
    ) -> None:
        self.kind = kind
        self._command = tuple(command or (sys.executable, "-m", "nes_lab.worker", kind))
        self._python_path = tuple(python_path)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None

    @property
    def pid(self) -> int | None:
        """The number of the running process; None if there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> Path:
        """Start the process if it does not run, and return the path of its socket. The process loads torch in the background."""
        with self._lock:
            if self.pid is None:
                self._end()
                self._begin()
            assert self._folder is not None  # _begin sets it
            return self._folder / "socket"

    def close(self) -> None:
        """End the process. The next question starts a new one."""
        with self._lock:
            self._end()

    def ask(
        self,
        question: str,
        arguments: Mapping[str, Any],
        *,
        seconds: float = 180.0,
        waiting: Callable[[Waiting], object] | None = None,
    ) -> Any:
        """Ask a question and return the answer.

        A worker that dies during the question is started again, and asked once more.

        Args:
            question: Name of the question, such as ``"plan"``.
            arguments: Arguments of the question, as data for JSON.
            seconds: Time that the work may take, from its beginning. After it the worker is killed.
            waiting: Called about 20 times a second until the answer is there. An error that it raises cancels the question, and is
                passed on. None for no calls.

        Raises:
            Refusal: If the question is a user's mistake.
            WorkerError: If the work takes longer than ``seconds``, fails unexpectedly, or the worker dies twice.
        """
        for _ in range(2):
            path = self.start()
            pid = self.pid
            with suppress(ConnectionError, FileNotFoundError):
                answer = self._ask(path, question, arguments, seconds, waiting or (lambda state: None))
                if answer is not None:
                    return _value(answer)
            self._kill(pid)
        raise WorkerError(f"The process that makes {self.kind} stopped unexpectedly, twice.", self._last_lines())

    def _ask(
        self,
        path: Path,
        question: str,
        arguments: Mapping[str, Any],
        seconds: float,
        waiting: Callable[[Waiting], object],
    ) -> dict[str, Any] | None:
        """Ask once. Return the answer; None if the worker died or hung."""
        asked = heard = time.monotonic()
        state = Waiting(0.0, False, None)
        with self._connect(path, waiting) as connection:
            send(connection, {"question": question, "arguments": dict(arguments)})
            connection.settimeout(SECONDS_BETWEEN_CALLS)
            reader = LineReader(connection)
            while True:
                waiting(state._replace(seconds=time.monotonic() - asked))
                try:
                    message = reader.read()
                except TimeoutError:
                    if time.monotonic() - heard > SECONDS_WITHOUT_SIGN:
                        return None
                    continue
                if message is None or "working" not in message:
                    return message
                heard, working = time.monotonic(), message["working"]
                state = Waiting(heard - asked, working is not None, message["progress"])
                if working is not None and working > seconds:
                    self._kill(self.pid)
                    raise WorkerError(f"The work took longer than {seconds:.0f} seconds and was stopped.")

    def _connect(self, path: Path, waiting: Callable[[Waiting], object]) -> socket.socket:
        """Connect to the worker's socket, which is there a moment after the start.

        Raises:
            ConnectionError: If the worker ended, or opened no socket within :data:`SECONDS_WITHOUT_SIGN`.
        """
        began = time.monotonic()
        while time.monotonic() - began < SECONDS_WITHOUT_SIGN and self.pid is not None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(str(path))
                return connection
            except (FileNotFoundError, ConnectionRefusedError):
                connection.close()
                waiting(Waiting(time.monotonic() - began, False, None))
                time.sleep(SECONDS_BETWEEN_CALLS)
        raise ConnectionError(f"the {self.kind} worker opened no socket")

    def _begin(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="nes-lab-"))  # only this user can enter it
        atexit.register(self.close)
        path = os.pathsep.join([*self._python_path, *filter(None, [os.environ.get("PYTHONPATH")])])
        root = str(Path(__file__).resolve().parents[2])
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*self._command, str(self._folder / "socket")],
                stdin=subprocess.PIPE,  # the worker ends when this closes, so also when this process is killed
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [path, root]))},
                start_new_session=True,  # Ctrl-C in the terminal stops the server, which then ends the worker
            )

    def _end(self) -> None:
        atexit.unregister(self.close)
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdin is not None:
                with suppress(OSError):
                    process.stdin.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _kill(self, pid: int | None) -> None:
        """Kill the process with this number, unless another question has started a new one already."""
        with self._lock:
            process = self._process
            if process is not None and process.pid == pid:
                process.kill()
                process.wait()

    def _last_lines(self) -> str:
        folder = self._folder
        with suppress(OSError, TypeError):
            return (folder / "log").read_text(errors="replace")[-4000:]  # type: ignore[operator]
        return ""


def _value(answer: Mapping[str, Any]) -> Any:
    if "refused" in answer:
        refused = answer["refused"]
        raise Refusal(refused["message"], refused["kind"], refused["least"], refused["dense"])
    if "value" not in answer:
        raise WorkerError("The work failed unexpectedly. The details say more.", answer.get("crashed", ""))
    return answer["value"]
