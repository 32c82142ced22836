"""A real JupyterLab on a free port, and a notebook run in it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

from tests.app.browser import wait_for
from tests.notebooks.places import FOLDER, private

TOKEN = "only-for-this-test"
STARTED = re.compile(r"\[[*\d]+\]")


@contextlib.contextmanager
def serve_lab(notebook, home):
    """Serve a copy of the notebook; yields the address that opens it, and ends the whole process group."""
    folder = home / "notebooks"
    folder.mkdir(parents=True)
    for file in (notebook, notebook.with_suffix(".py")):
        if file.is_file():
            shutil.copy(file, folder)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    options = [f"--port={port}", "--port-retries=0", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    options += [f"--notebook-dir={folder}", f"--IdentityProvider.token={TOKEN}"]
    quiet = home / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    log = home / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            cwd=folder,
            env=private(home) | {"JUPYTER_CONFIG_PATH": str(FOLDER / "settings")},  # as make lab does
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/login", process, log)
        yield f"http://127.0.0.1:{port}/lab/tree/{notebook.name}?token={TOKEN}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)  # it ends its kernels first
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def open_notebook(page, address):
    """Open the notebook; returns when its kernel is idle."""
    page.goto(address, timeout=180_000)  # a busy machine needs long to load JupyterLab
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_selector("text=/Python 3.*Idle/")  # the status bar


def save(page):
    """Save the notebook, and wait until the server has it."""
    with page.expect_response(lambda answer: answer.request.method == "PUT" and "/api/contents/" in answer.url):
        page.keyboard.press("Control+s")


def set_theme(page, name):
    """Choose a theme of JupyterLab, such as ``JupyterLab Dark``."""
    page.click("li.lm-MenuBar-item:has-text('Settings')")
    page.hover("li.lm-Menu-item:has-text('Theme')")
    page.click(f"li.lm-Menu-item:has-text('{name}') >> nth=0")
    page.wait_for_selector(f"body[data-jp-theme-name='{name}']", state="attached")


def run_all(page, cells):
    """Run the open notebook; returns when the last of its code cells has its number."""
    for _ in range(10):  # a kernel that is still connecting is asked for in a dialog, and nothing runs
        page.click("li.lm-MenuBar-item:has-text('Run')")
        page.click("[data-command='runmenu:run-all']")
        page.wait_for_timeout(2000)
        if page.locator(".jp-Dialog .jp-mod-accept").is_visible():
            page.click(".jp-Dialog .jp-mod-accept")
        elif page.locator(".jp-CodeCell .jp-InputPrompt").filter(has_text=STARTED).count():
            break
    last = page.locator(".jp-CodeCell .jp-InputPrompt").filter(has_text=f"[{cells}]")
    last.first.wait_for(state="attached", timeout=180_000)


def run_new_cell(page, code):
    """Run code in a new cell at the end of the open notebook, and return the cell."""
    last = page.locator(".jp-Notebook-cell").last
    last.scroll_into_view_if_needed()
    last.click(position={"x": 60, "y": 8})
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    page.keyboard.insert_text(code)
    page.keyboard.press("Control+Enter")
    return page.locator(".jp-CodeCell").last
