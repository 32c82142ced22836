"""Serve JavaScript to the pages as files. A name holds a hash of its content, so that the browser keeps a file until it changes."""

import hashlib
from functools import cache

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from nes_lab.figures.explorer_data import explorer_js

__all__ = ["FOLDER", "explorer_path", "serve_file"]

FOLDER = "/lab"
"""Path of the files on the server."""


@cache
def _file(name: str) -> tuple[str, bytes]:
    """Return the name of a file with its hash, and its content."""
    content = explorer_js().encode()
    return f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.js", content


def explorer_path() -> str:
    """Return the path of the epitome explorer's JavaScript on the server."""
    return f"{FOLDER}/{_file('explorer')[0]}"


async def serve_file(request: Request) -> Response:
    """Answer a request for a file. A name with another hash is not found."""
    name, content = _file("explorer")
    if request.path_params["name"] != name:
        return PlainTextResponse("not found", status_code=404)
    return Response(
        content, media_type="text/javascript", headers={"Cache-Control": "public, max-age=31536000, immutable"}
    )
