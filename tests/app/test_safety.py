"""What the server refuses, tried on a real one: foreign hosts and origins, forged uploads, other files."""

from __future__ import annotations

import http.client
import urllib.parse

import pytest
import streamlit as st

from app.listening import is_loopback, open_warning
from app.static_files import file_path
from tests.app.browser import serve
from tests.app.test_views import open_page, plain

SOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
EVIL = {"Host": "evil.example"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("safe")
    with serve(home, home / "server.log") as url:
        yield urllib.parse.urlsplit(url)


def ask(server, path, method="GET", headers=None, body=None):
    """Send a request with exactly this path, and return the status and the headers of the answer."""
    connection = http.client.HTTPConnection(server.hostname, server.port, timeout=30)
    connection.putrequest(method, path, skip_host=bool(headers and "Host" in headers), skip_accept_encoding=True)
    for name, value in (headers or {}).items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    connection.close()
    return answer.status, answer.headers


@pytest.mark.parametrize(
    "path", ["/", "/data", "/_stcore/health", "/_stcore/host-config", "/_stcore/upload_file/a/b", "/lab/x.js"]
)
def test_a_foreign_host_is_refused_at_every_address(server, path):
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8501"):
        assert ask(server, path, headers={"Host": host})[0] == 400


def test_websockets_of_foreign_hosts_and_origins_are_refused(server):
    own = f"http://{server.netloc}"
    assert ask(server, "/_stcore/stream", headers=SOCKET | {"Origin": own})[0] == 101
    assert ask(server, "/_stcore/stream", headers=SOCKET | {"Origin": "http://evil.example"})[0] == 403
    assert ask(server, "/_stcore/stream", headers=SOCKET | EVIL | {"Origin": own})[0] in (400, 403)


def test_a_foreign_origin_cannot_read_an_answer(server):
    _, headers = ask(server, "/_stcore/health", headers={"Origin": "http://evil.example"})
    assert headers.get("Access-Control-Allow-Origin") not in ("*", "http://evil.example")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_forged_uploads_are_refused(server, method):
    status, _ = ask(server, "/_stcore/upload_file/session/file", method, {"Origin": "http://evil.example"}, b"x")
    assert status in (403, 405)


@pytest.mark.parametrize(
    "name", ["../main.py", "..%2f..%2fREADME.md", "%2e%2e/lab.py", "explorer-0.js", "plot", "", "explorer.js%00"]
)
def test_only_the_scripts_are_served_below_lab(server, name):
    status, _ = ask(server, f"/lab/{name}")
    assert status in (400, 404)


def test_scripts_can_be_asked_for_but_not_changed(server):
    path = file_path("plot")
    assert ask(server, path)[0] == ask(server, path, "HEAD")[0] == 200
    assert {ask(server, path, method, body=b"")[0] for method in ("POST", "PUT", "DELETE")} == {405}


def test_is_loopback_knows_names_and_numbers():
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]")))
    assert not any(map(is_loopback, (None, "", "0.0.0.0", "::", "10.0.0.2", "localhost.evil.example")))


def test_every_page_warns_beyond_loopback(home, monkeypatch):
    assert open_warning() is None and not open_page("start").warning
    real = st.get_option
    monkeypatch.setattr(st, "get_option", lambda name: "0.0.0.0" if name == "server.address" else real(name))
    for name in ("start", "runs"):
        assert "listens at 0.0.0.0. It has no login" in plain(open_page(name).warning[0].value)


def test_the_configuration_protects():
    assert st.get_option("server.enableXsrfProtection") and st.get_option("server.enableCORS")
    assert st.get_option("server.maxUploadSize") == 50 and st.get_option("server.address") == "127.0.0.1"
