"""What the server gives, to whom, and to how many; no browser."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import dashboard_process
import httpx
import nbformat
import psutil
import pytest
from dashboard_models import write_released
from dashboard_process import kernel_id, process_of, running_dashboard
from tiny_runs import write_bright_model
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from metseg.base.errors import MetsegError
from metseg.data.provenance import PHANTOM
from metseg.release.released import OFFERED
from metseg.serve.dashboard import voila_server
from metseg.serve.dashboard.handlers import PageHandler
from metseg.serve.dashboard.voila_server import serve_dashboard

TOKEN = "open & sesame, please"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    log = tmp_path_factory.mktemp("dashboard") / "log"
    with running_dashboard(log, token=TOKEN, max_kernels=2, preheat=1) as running:
        yield running
    # Whatever else the tests below did, nothing of it was worth a line.
    assert {*log.read_text().splitlines()} <= {
        f"a wrong token from {each}" for each in ("127.0.0.1", "10.9.9.9")
    }


@pytest.fixture(scope="module")
def visitor(server):
    """A client that has the token's cookie, and its page."""
    with server.client() as client:
        page = client.get("/", params={"token": TOKEN})
        assert page.status_code == 200
        yield client, page


# ---- the page ----


def test_the_page_comes_with_a_kernel_and_without_its_source(visitor):
    _, page = visitor
    assert '"modelId": "' in page.text and kernel_id(page.text)
    assert page.text.rstrip().endswith("</html>")
    assert "from metseg" not in page.text and "Dashboard()" not in page.text
    assert re.findall(r"(?:src|href)=[^ >]*", page.text) == ['href="data:,"']  # nothing of other servers
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"].startswith("no-")


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_DATA"), reason="this system bounds no process's memory")
def test_a_kernel_has_so_much_memory_and_no_more(visitor):
    kernel = psutil.Process(process_of(kernel_id(visitor[1].text)))
    assert kernel.rlimit(psutil.RLIMIT_DATA) == (4 * 10**9, 4 * 10**9)


def test_without_the_token_there_is_a_sentence_and_no_kernel(server):
    for query in ("", "?token=", "?token=wrong"):
        with server.client() as client:
            answer = client.get(f"/{query}")
        assert answer.status_code == 403 and "This dashboard opens by its link" in answer.text
        assert "kernelId" not in answer.text and "<form" not in answer.text


def test_guesses_are_not_answered_for_long(server):
    stranger = {"X-Forwarded-For": "10.9.9.9"}  # as a proxy on this machine says it
    with server.client() as client:
        for _ in range(10):
            assert client.get("/", params={"token": "guessed"}, headers=stranger).status_code == 403
        assert client.get("/", params={"token": TOKEN}, headers=stranger).status_code == 403
        told = client.get(f"/api/kernels/{NOBODY}", params={"token": TOKEN})
        assert told.status_code == 404  # others are let in
        cookie = told.headers["Set-Cookie"].lower()
    assert "samesite=lax" in cookie and "httponly" in cookie
    assert told.headers["X-Content-Type-Options"] == "nosniff"


NOBODY = "0" * 8 + "-0000-0000-0000-" + "0" * 12


ELSEWHERE = [
    "/dashboard.ipynb",
    "/01_explore_data.ipynb",
    "/voila/files/dashboard.ipynb",
    "/voila/files/params/cpu.yml",
    "/voila/files/../../../../etc/passwd",
    "/voila/files/%2e%2e/%2e%2e/pyproject.toml",
    "/voila/static/voila.js",
    "/voila/static/..%2f..%2fapp.py",
    "/voila/static/%2e%2e/app.py",
    "/voila/templates/lab/static/index.css",
    "/voila/templates/lab/static/..%2f..%2f..%2f..%2fjupyter",
    "/voila/templates/x",
    "/voila/labextensions/anywidget/package.json",
    "/voila/render/dashboard.ipynb",
    "/voila/tree",
    "/voila/api/contents",
    "/voila/api/themes/x",
    f"/voila/query/{NOBODY}",
    "/tree",
    "/lab",
    "/files/dashboard.ipynb",
    "/api",
    "/api/contents",
    "/api/contents/dashboard.ipynb",
    "/api/kernels",
    f"/api/kernels/{NOBODY}",
    "/api/kernelspecs",
    "/api/sessions",
    "/api/terminals",
    "/api/status",
    "/metrics",
    "/login",
    "/logout",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2fetc%2fpasswd",
    "//etc/passwd",
    "/%00",
]


def test_there_is_nothing_else_to_fetch(visitor, server):
    client, _ = visitor
    for url in [*ELSEWHERE, *(f"{path}?token={quote(TOKEN)}" for path in ELSEWHERE)]:
        answer = client.get(server.origin + url)
        assert answer.status_code in (400, 403, 404, 405), answer.text
        assert "root:" not in answer.text and "cells" not in answer.text


def test_nothing_can_be_changed(visitor):
    client, page = visitor
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in ("/", "/api/kernels", f"/api/kernels/{kernel_id(page.text)}", "/api/contents/x.ipynb"):
            assert client.request(method, path).status_code in (403, 404, 405)
    assert client.request("OPTIONS", "/").status_code == 405
    assert client.get(f"/api/kernels/{kernel_id(page.text)}").status_code == 200


# ---- a server without a token ----


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory):
    """A client of a server with a model of another name; in the end Ctrl-C comes while a kernel ends."""
    folder = tmp_path_factory.mktemp("unguarded")
    models = {"mine/unet": str(write_bright_model(folder / "mine" / "unet"))}
    log = folder / "log"
    with running_dashboard(log, models=models, preheat=0) as running, running.client() as client:
        yield client, models
        kernel = kernel_id(client.get("/").text)
        with pytest.raises(httpx.ReadTimeout):  # asked, not waited for
            client.post(f"/api/kernels/{kernel}/end", timeout=httpx.Timeout(60, read=0.01))
    assert running.process.returncode == 0 and log.read_text() == ""


def test_a_page_of_another_site_gets_nothing(unguarded):
    refused = unguarded[0].get("/", headers={"Host": "evil.example"})
    assert refused.status_code == 421 and "kernelId" not in refused.text
    framed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    for headers in (framed, framed | {"Sec-Fetch-Mode": "no-cors"}, {"Origin": "http://evil.example"}):
        refused = unguarded[0].get("/", headers=headers)
        assert refused.status_code == 403 and "kernelId" not in refused.text


def test_a_kernel_offers_the_named_models_and_if_it_dies_leaves_no_connection_file(unguarded):
    client, models = unguarded
    process = psutil.Process(process_of(kernel_id(client.get("/").text)))
    assert json.loads(process.environ()[OFFERED]) == models
    connection = next(Path(each) for each in process.cmdline() if each.endswith(".json"))
    assert connection.is_file()
    process.kill()
    deadline = time.monotonic() + 20
    while connection.is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not connection.is_file()


# ---- the websocket ----


async def talk(
    origin: str, client, kernel: str, steps: list[tuple[dict | None, Callable[[dict], bool]]]
) -> list[dict]:
    """Sends each message over a page's websocket and waits for the answer to it; returns all that came."""
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    address = f"{origin.replace('http', 'ws')}/api/kernels/{kernel}/channels?session_id=test"
    connection = await websocket_connect(HTTPRequest(address, headers={"Cookie": cookies}))
    received = []
    for sent, is_answer in steps:
        if sent is not None:
            await connection.write_message(json.dumps(sent))
        while not received or not is_answer(received[-1]):
            text = await asyncio.wait_for(connection.read_message(), 20)
            assert text is not None, "the websocket was closed"
            if isinstance(text, bytes):
                text = text[int.from_bytes(text[4:8], "big") : int.from_bytes(text[8:12], "big")]
            received.append(json.loads(text))
    connection.close()
    return received


def is_kind(kind: str) -> Callable[[dict], bool]:
    return lambda answer: answer["header"]["msg_type"] == kind


def is_open(answer: dict) -> bool:
    idle = answer["content"].get("execution_state") == "idle"
    return idle and answer["parent_header"].get("msg_id") == "comm_open"


def message(kind: str, content: dict, metadata: dict | None = None) -> dict:
    header = {"msg_id": kind, "session": "test", "username": "", "msg_type": kind, "version": "5.3"}
    return {
        "header": {**header, "date": "2026-01-01T00:00:00Z"},
        "parent_header": {},
        "metadata": metadata or {},
        "content": content,
        "channel": "shell",
    }


def test_a_visitor_runs_no_code_and_sees_no_output(visitor, server):
    client, page = visitor
    run = message("execute_request", {"code": "print('mine'); 1 / 0", "silent": False})
    control = {"comm_id": "control", "target_name": "jupyter.widget.control", "data": {}}
    opened = message("comm_open", control, {"version": "1.0.0"})
    ask = message("comm_msg", {"comm_id": "control", "data": {"method": "request_states"}})
    steps = [(run, lambda answer: True), (opened, is_open), (ask, is_kind("comm_msg"))]
    answers = asyncio.run(talk(server.origin, client, kernel_id(page.text), steps))
    assert {answer["header"]["msg_type"] for answer in answers} <= {"status", "comm_msg"}
    assert "mine" not in json.dumps(answers)
    states = answers[-1]["content"]["data"]["states"].values()
    assert "metseg.serve.dashboard.view.Dashboard" in {s["state"].get("_anywidget_id") for s in states}


def test_a_websocket_needs_the_token(visitor, server):
    _, page = visitor
    with server.client() as stranger, pytest.raises(HTTPClientError, match="403"):
        asyncio.run(talk(server.origin, stranger, kernel_id(page.text), []))


# ---- the log ----


def raised(text: str) -> ValueError:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def test_a_request_that_fails_is_logged_without_its_text(caplog):
    error = raised("Jane Doe.png")
    handler = SimpleNamespace(log=logging.getLogger("test"))
    PageHandler.log_exception(handler, type(error), error, error.__traceback__)
    assert "a request failed: ValueError at" in caplog.text and "Jane" not in caplog.text


# ---- seats ----


def test_seats_are_bounded_and_given_back(server, visitor):
    client, _ = visitor
    second = client.get("/")
    third = client.get("/")
    assert second.status_code == 200 and third.status_code == 503
    assert "All seats are taken" in third.text and third.headers["Retry-After"] == "60"
    assert client.post(f"/api/kernels/{kernel_id(second.text)}/end").status_code == 204
    fourth = client.get("/")
    assert fourth.status_code == 200
    client.post(f"/api/kernels/{kernel_id(fourth.text)}/end")


# ---- starting and ending ----


def test_beyond_this_machine_there_is_a_token_and_an_idle_kernel_is_ended_though_its_page_is_open(tmp_path):
    options = {"host": "0.0.0.0", "base_url": "seg", "preheat": 0, "idle_minutes": 0.03}
    with running_dashboard(tmp_path / "log", cwd=tmp_path, **options) as running:
        address, _, token = running.address.partition("?token=")
        assert len(token) > 20 and address.endswith("/seg/")
        port = address.split(":")[2].split("/")[0]
        with running.client() as client:
            client.base_url = f"http://127.0.0.1:{port}"
            assert client.get("/seg/").status_code == 403
            assert client.get("/").status_code == 404
            page = client.get("/seg/", params={"token": token})
            assert page.status_code == 200 and '"baseUrl": "/seg/"' in page.text
            kernel = kernel_id(page.text)
            steps = [(None, is_kind("shutdown_reply"))]
            answers = asyncio.run(talk(f"http://127.0.0.1:{port}/seg", client, kernel, steps))
            assert answers[-1]["content"]["restart"] is False
            deadline = time.monotonic() + 20
            while client.get(f"/seg/api/kernels/{kernel}").status_code == 200 and time.monotonic() < deadline:
                time.sleep(0.1)
            assert client.get(f"/seg/api/kernels/{kernel}").status_code == 404
    assert running.process.returncode == 0 and (tmp_path / "log").read_text() == ""


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"host": "", "token": TOKEN}, "the host is empty"),
        ({"host": "0.0.0.0", "token": ""}, "the token must not be empty"),
        ({"host": "::", "token": ""}, "the token must not be empty"),
        ({"host": "", "token": ""}, "the token must not be empty"),
        ({"scans": Path("nowhere")}, "cannot read nowhere"),
    ],
)
def test_an_option_that_cannot_be_is_a_sentence(options, sentence):
    with pytest.raises(MetsegError, match=sentence):
        serve_dashboard(port=0, **options)


def test_a_network_of_the_phantom_is_refused_before_anybody_visits(tmp_path):
    folder = write_bright_model(tmp_path / "unet", data=asdict(PHANTOM))
    with pytest.raises(MetsegError, match="^mine/unet knows nothing but the phantom"):
        serve_dashboard({"mine/unet": folder}, port=0)
    with pytest.raises(MetsegError, match="token"):  # it is the next thing that is wrong
        serve_dashboard({"mine/unet": folder}, port=0, phantom_network=True, host="0.0.0.0", token="")


def test_a_damaged_model_is_a_sentence_before_anybody_visits(tmp_path, monkeypatch):
    folder = write_released(tmp_path / "released")
    (folder / "attention_unet" / "model.onnx").write_bytes(b"damaged")
    monkeypatch.setattr(voila_server, "released_dir", lambda: folder)
    with pytest.raises(MetsegError, match=r"model\.onnx is not the file that model\.json describes"):
        serve_dashboard(port=0)


def test_a_page_that_fails_says_so_and_the_log_says_why(tmp_path, monkeypatch):
    log = tmp_path / "log"
    notebook = tmp_path / "notebooks" / "dashboard.ipynb"
    notebook.parent.mkdir()
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("raise LookupError('Jane Doe')")])
    broken.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "metseg"}
    nbformat.write(broken, notebook)
    patch = "from metseg.serve.dashboard import voila_server; from pathlib import Path;"
    patch += f"voila_server.project_root = lambda: Path({str(tmp_path)!r});"
    monkeypatch.setattr(dashboard_process, "_CODE", patch + dashboard_process._CODE)
    with running_dashboard(log, preheat=0) as running, running.client() as client:
        page = client.get("/").text
    assert "The dashboard could not be started" in page and page.count("#starting { display: none; }") == 1
    assert "Jane" not in page and "LookupError" not in page
    told = log.read_text()
    assert "could not be started: LookupError" in told and "Jane" not in told
