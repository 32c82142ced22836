"""Serve the app on a free port and open it in Chromium, for what a simulated page cannot show."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from tests.house.tree import ROOT

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
)
PROBES = ("/_stcore/health", "/_stcore/host-config")  # streamlit tries these under a page's path first, and gets 404
START_SECONDS = 90  # two busy cores


@contextlib.contextmanager
def serve(home, log, port=None):
    """Serve the app with this home for runs, yield its address, and end its process group. Without a port, a free one is taken."""
    port = port or free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.headless", "true"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--server.port", str(port)],
            cwd=ROOT,
            env=os.environ | {"NES_LAB_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):  # a test has killed it
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(url, process, log):
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(url, timeout=2).close()
            return
        time.sleep(0.2)
    raise AssertionError(f"the app did not start in {START_SECONDS} s: {log.read_text()}")


@contextlib.contextmanager
def browse(width=1200, height=1000):
    """Open a page in Chromium, and yield it with the list of errors on its console and of requests to other machines."""
    from playwright.sync_api import sync_playwright

    faults = []
    with sync_playwright() as tool:
        chromium = tool.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        page = chromium.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("console", lambda message: note(message, faults))
        page.on("request", lambda request: note_foreign(request, faults))
        yield page, faults
        chromium.close()


def note(message, faults):
    url = (message.location or {}).get("url", "")
    if message.type == "error" and not url.endswith(PROBES):
        faults.append(f"console: {message.text} {url}")


def note_foreign(request, faults):
    """Note a request to another machine; the app must work without a network."""
    if request.url.startswith(("http", "ws")) and "//127.0.0.1" not in request.url:
        faults.append(f"foreign: {request.url}")


def settle(page):
    """Wait until the page is drawn."""
    page.wait_for_selector("h1")
    page.wait_for_selector('[data-testid="stStatusWidget"]', state="detached")
