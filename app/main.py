"""Define the app's server. Start it with ``streamlit run app/main.py``.

The pages are in ``app/lab.py``. This file holds what belongs to the server: it refuses requests with a foreign Host header, serves
JavaScript to the pages, and starts and ends the workers that answer the pages' questions.
"""

import importlib
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount, Route
from streamlit.starlette import App

_ROOT = str(Path(__file__).resolve().parents[1])
if _ROOT not in sys.path:  # streamlit puts app/ on the path, not the folder that holds it
    sys.path.insert(0, _ROOT)

from app.components.tables import load_tables  # noqa: E402
from app.listening import open_warning  # noqa: E402
from app.static_files import FOLDER, file_path, serve_file  # noqa: E402
from app.workers import start_when_quiet, stop_workers  # noqa: E402

LARGE = ("nes_lab.experiment.train", "nes_lab.experiment.open_runs", "nes_lab.figures.run_panels", "plotly.graph_objs")
"""Modules that pages need and that take long to import. The server imports them before the first visitor comes."""

GZIP_LEVEL = 4
"""How hard files are compressed. Level 9 makes plotly.js 4 % smaller, and takes twice the time."""


def import_large_modules() -> None:
    """Import what the pages need, so that the first page of a new server is not slower than the next."""
    load_tables()
    for name in LARGE:
        importlib.import_module(name)
    file_path("plotly")  # reads the file


@asynccontextmanager
async def workers(server: App) -> AsyncIterator[None]:
    """Start the workers after the server, and end them with it."""
    threading.Thread(target=import_large_modules, daemon=True).start()
    warning = open_warning()
    if warning is not None:
        print(f"WARNING: {warning}", file=sys.stderr, flush=True)
    start_when_quiet()
    try:
        yield
    finally:
        stop_workers()


# streamlit compares the Host header of websockets only; a foreign page could otherwise read every other address
_HOSTS = st.get_option("server.allowedHosts") or ["*"]

app = App(
    Path(__file__).with_name("lab.py"),
    middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(_HOSTS), www_redirect=False)],
    routes=[
        Mount(
            FOLDER,
            routes=[Route("/{name}", serve_file)],
            middleware=[Middleware(GZipMiddleware, compresslevel=GZIP_LEVEL)],
        )
    ],
    lifespan=workers,
)
