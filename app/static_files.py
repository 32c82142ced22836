"""Serve JavaScript to the pages as files. A name holds a hash of its content, so that the browser keeps a file until it changes."""

import hashlib
from collections.abc import Callable
from functools import cache

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from nes_lab.figures.explorer_data import explorer_js
from nes_lab.figures.report import plotly_js
from nes_lab.figures.slider_data import slider_js
from nes_lab.figures.small_example import small_example_js
from nes_lab.figures.theme import plot_js

__all__ = ["FOLDER", "file_path", "serve_file"]

FOLDER = "/lab"
"""Path of the files on the server."""

_SOURCES: dict[str, Callable[[], str]] = {
    "example": small_example_js,
    "explorer": explorer_js,
    "plot": plot_js,
    "plotly": plotly_js,
    "slider": slider_js,
}


@cache
def _content(name: str) -> bytes:
    return _SOURCES[name]().encode()


@cache
def file_path(name: str) -> str:
    """Return the path of a JavaScript file on the server, with the hash of its content.

    Args:
        name: ``"example"``, ``"explorer"``, ``"plot"``, ``"plotly"`` or ``"slider"``.
    """
    return f"{FOLDER}/{name}-{hashlib.sha256(_content(name)).hexdigest()[:16]}.js"


async def serve_file(request: Request) -> Response:
    """Answer a request for a file. A name with another hash is not found."""
    name = request.path_params["name"].partition("-")[0]
    if name not in _SOURCES or request.url.path != file_path(name):
        return PlainTextResponse("not found", status_code=404)
    kept = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(_content(name), media_type="text/javascript", headers=kept)
