"""Who may ask the service, and what each answer and each line of the log carry."""

import re
import socket
import time

import httpx
import pytest
from running_service import BRIGHT_CORNER, as_png, running, write_models

from metseg.serve.door import Door
from metseg.serve.service.api import create_app
from metseg.serve.service.gate import Access
from metseg.serve.tokens import Keys

TOKEN = "a token of sixteen"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PNG = as_png(BRIGHT_CORNER)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def client(models):
    with running(create_app(models)) as client:
        yield client


@pytest.fixture
def guarded(models):
    access = Access(Keys({"ward": TOKEN}), Door.of([], ["https://viewer.example"]))
    with running(create_app(models, access=access)) as client:
        yield client


def segment(client: httpx.Client, **options) -> httpx.Response:
    return client.post("/predict", files={"file": ("JANE_DOE_1970.png", PNG)}, **options)


def test_a_token_opens_and_nothing_else_does(guarded):
    assert segment(guarded, headers=BEARER).status_code == 200
    for headers in ({}, {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"}):
        refused = segment(guarded, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "no_token")
        assert refused.headers["WWW-Authenticate"] == "Bearer" and refused.headers["Connection"] == "close"
    assert guarded.get("/models").status_code == guarded.get("/jobs/x").status_code == 401
    for path in ("/health", "/health/ready", "/openapi.json"):
        assert guarded.get(path).status_code == 200


def test_guesses_are_not_answered_for_long(guarded):
    wrong = {"Authorization": "Bearer not the token at all"}
    found = [guarded.get("/models", headers=wrong).status_code for _ in range(11)]
    assert found == [401] * 10 + [429]
    last = guarded.get("/models", headers=BEARER)  # nor is who guessed it in the end
    assert last.status_code == 429 and last.headers["Retry-After"] == "60"
    assert guarded.get("/health").status_code == 200


def test_a_right_token_is_not_called_wrong_while_the_list_cannot_be_read(models, tmp_path):
    path = tmp_path / "keys.yml"
    path.write_text(f"ward: {TOKEN}\n")
    with running(create_app(models, access=Access(Keys({}, path)))) as client:
        assert client.get("/models", headers=BEARER).status_code == 200
        path.unlink()
        codes = [client.get("/models", headers=BEARER).json()["code"] for _ in range(11)]
        assert codes == ["unreadable_keys"] * 11
        assert client.get("/models").json()["code"] == "no_token"
        path.write_text(f"ward: {TOKEN}\n")
        assert client.get("/models", headers=BEARER).status_code == 200


def test_a_page_of_another_site_is_refused_without_being_read(client):
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty"}
    refused = segment(client, headers=foreign)
    assert (refused.status_code, refused.json()["code"]) == (403, "foreign_page")
    assert segment(client, headers={"Origin": "http://evil.example"}).status_code == 403
    assert segment(client, headers={"Origin": str(client.base_url).rstrip("/")}).status_code == 200


def test_a_foreign_name_is_refused(guarded):
    refused = guarded.get("/health", headers={"Host": "evil.example"})
    assert (refused.status_code, refused.json()["code"]) == (421, "unknown_host")


def test_pages_that_may_ask(guarded):
    asked = {
        "Origin": "https://viewer.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    before = guarded.options("/predict", headers=asked)
    assert before.status_code == 200
    assert before.headers["Access-Control-Allow-Origin"] == "https://viewer.example"
    answer = segment(guarded, headers={**BEARER, "Origin": "https://viewer.example"})
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://viewer.example"
    other = segment(guarded, headers={**BEARER, "Origin": "https://evil.example"})
    assert other.status_code == 403 and "Access-Control-Allow-Origin" not in other.headers


def test_what_every_answer_carries(client):
    numbers = set()
    for answer in (segment(client), client.get("/health"), client.get("/nowhere"), client.post("/predict")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        numbers.add(answer.headers["X-Request-ID"])
    assert len(numbers) == 4


def test_a_line_tells_who_asked_what_and_nothing_of_it(guarded, told):
    answer = segment(guarded, headers=BEARER, params={"threshold": "0.123"})
    guarded.get("/jobs/secretsecret", headers=BEARER)
    guarded.get("/models")
    lines, deadline = [], time.monotonic() + 10
    while len(lines) < 3 and time.monotonic() < deadline:  # each follows its answer
        told_of = [record.message for record in told.records if record.name == "metseg.serve.audit"]
        lines = [line for line in told_of if "/health" not in line]
        time.sleep(0.01)
    assert re.fullmatch(
        rf"{answer.headers['X-Request-ID']} ward POST /predict 200, \d+ bytes, \d+\.\d+ s", lines[0]
    )
    assert int(re.search(r"(\d+) bytes", lines[0])[1]) > len(PNG)
    assert " ward GET /jobs/{job} 404, 0 bytes" in lines[1] and " - GET - 401, 0 bytes" in lines[2]
    assert not re.search("JANE|0.123|secretsecret", told.text) and TOKEN not in told.text


def test_a_request_of_two_lengths_is_the_last_of_its_connection(client):
    where = client.base_url.host, client.base_url.port
    two = b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    hidden = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(where, timeout=10) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\n" + two + hidden)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400") and b"two_lengths" in answer and b"alive" not in answer


def test_what_only_looks_has_no_body(client):
    for path in ("/health", "/health/ready", "/models", "/metrics"):
        answer = client.head(path)
        assert answer.status_code == 200 and not answer.content
    assert client.head("/jobs/x").status_code == 405  # its answer is sent once
    assert client.head("/predict").status_code == 405


@pytest.mark.parametrize(
    "address", ["/predict?threshold=0.4&threshold=0.5", "/predict?threshold=0.4&min_lesion_px=1"]
)
def test_a_parameter_is_said_once(client, address):
    twice = client.post(address, files={"file": PNG}, data={"min_lesion_px": "2"})
    assert twice.status_code == 422 and "given twice" in twice.json()["message"]
