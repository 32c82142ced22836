"""Send and read messages between the app and its workers. A message is one line of JSON on a Unix socket; nothing is pickled.

Tests: tests/worker/test_client.py.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any

__all__ = ["LineReader", "is_own_user", "send"]

LARGEST_MESSAGE = 64 * 2**20
"""Largest message in bytes. A plan of a network with 300 layers has less than one million."""


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send one message.

    Raises:
        OSError: If the other side has closed the connection.
    """
    connection.sendall(json.dumps(message, separators=(",", ":"), allow_nan=True).encode() + b"\n")


class LineReader:
    """Reads messages from a connection, one per line.

    Args:
        connection: The connected socket. Its timeout limits each read.
        limit: Largest message in bytes.
    """

    def __init__(self, connection: socket.socket, limit: int = LARGEST_MESSAGE) -> None:
        self._connection = connection
        self._limit = limit
        self._received = bytearray()

    def read(self) -> dict[str, Any] | None:
        """Return the next message; None if the other side has closed the connection.

        Raises:
            TimeoutError: If the socket's timeout ends before a complete message is there. What was received is kept.
            ValueError: If a message is not a JSON object, or is too long.
        """
        while (end := self._received.find(b"\n")) < 0:
            if len(self._received) > self._limit:
                raise ValueError(f"a message has more than {self._limit:,} bytes")
            chunk = self._connection.recv(1 << 16)
            if not chunk:
                return None
            self._received += chunk
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError(f"a message is {type(message).__name__}, not an object")
        return message


def is_own_user(connection: socket.socket) -> bool:
    """Return True if the process at the other end of a Unix socket belongs to the user of this process.

    Where the system cannot tell (outside Linux), the result is True; the socket's folder, which only its user can enter,
    is the protection there.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return user == os.getuid()
