"""The service as it is started and stopped: real processes, real sockets."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest
from running_service import BRIGHT_CORNER, as_png, write_models
from tiny_runs import write_bright_model

from metseg.base.errors import MetsegError
from metseg.data.provenance import PHANTOM
from metseg.serve.service import server

START = """
import json, sys
from metseg.serve.service.server import serve
models, workers = json.loads(sys.argv[1])
serve(models, port=0, workers=workers)
"""
PNG = as_png(BRIGHT_CORNER)


class Service:
    """`serve` in a process of its own."""

    def __init__(self, models: dict[str, Path], workers: int, tmp: Path):
        arguments = json.dumps([{name: str(folder) for name, folder in models.items()}, workers])
        self.log = tmp / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, arguments], stderr=log, env=os.environ | {"TMPDIR": str(tmp)}
            )
        deadline = time.monotonic() + 60
        while not (found := re.search(r"listens on (http://127.0.0.1:(\d+))", self.log.read_text())):
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        self.address, self.port = found[1], int(found[2])
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.address}/health/ready").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        else:
            raise AssertionError(f"not ready in time: {self.log.read_text()}")

    def segment(self) -> httpx.Response:
        return httpx.post(f"{self.address}/predict", files={"file": ("JANE_DOE_1970.png", PNG)})


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def start(tmp_path, models):
    started = []

    def run(workers: int) -> Service:
        started.append(Service(models, workers, tmp_path))
        return started[-1]

    yield run
    for service in started:
        service.process.kill()
        service.process.wait()


def half_sent(port: int) -> tuple[socket.socket, bytes]:
    """Begins an upload; returns its connection and what is still to be sent."""
    form = b'--B\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n' + PNG + b"\r\n--B--\r\n"
    header = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B\r\n"
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(header + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(form))
    assert connection.recv(1024).startswith(b"HTTP/1.1 100")  # it is being read
    connection.sendall(form[:50])
    return connection, form[50:]


def read_all(connection: socket.socket) -> bytes:
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
    return answer


def end_in_the_midst_of_an_upload(service: Service, workers: int) -> None:
    """Tells the service to end while one uploads, who is answered all the same."""
    connection, rest = half_sent(service.port)
    service.process.terminate()
    deadline = time.monotonic() + 30
    while service.log.read_text().count("Shutting down") < workers:
        assert time.monotonic() < deadline, service.log.read_text()
        time.sleep(0.02)
    connection.sendall(rest)
    assert read_all(connection).startswith(b"HTTP/1.1 200 OK")
    assert service.process.wait(30) in (0, -signal.SIGTERM)
    with pytest.raises(httpx.ConnectError):
        httpx.get(service.address)


def test_several_processes_have_one_set_of_figures_and_finish_what_is_in_flight(start, tmp_path):
    service = start(2)
    for _ in range(20):  # each over a connection of its own, so that either process has some
        assert service.segment().status_code == 200
    seen = [httpx.get(f"{service.address}/metrics").text for _ in range(6)]
    counted = [
        re.search(r'metseg_requests_total\{path="/predict",status="200"\} (.*)', text) for text in seen
    ]
    assert [float(found[1]) for found in counted] == [20.0] * 6
    assert all(re.search(r"^metseg_waiting 0\.0$", text, re.MULTILINE) for text in seen)
    (home,) = tmp_path.glob("metseg-service-*")  # figures and jobs
    end_in_the_midst_of_an_upload(service, 2)
    assert not home.exists()


def test_workers_end_with_the_process_that_started_them(start):
    service = start(2)
    service.process.kill()
    service.process.wait()
    deadline = time.monotonic() + 30
    with pytest.raises(httpx.TransportError):
        while time.monotonic() < deadline:
            httpx.get(f"{service.address}/health")
            time.sleep(0.1)


def test_the_log_tells_kind_and_size_alone_and_what_is_in_flight_is_finished(start):
    service = start(1)
    assert service.segment().status_code == 200
    for name, content in (("file", b"JANE DOE"), ("JANE", PNG)):
        refused = httpx.post(f"{service.address}/predict?threshold=JANE", files={name: ("JANE_DOE", content)})
        assert refused.status_code == 422
    letter = {"file": ("JANE_DOE.png", b"JANE DOE")}
    assert httpx.post(f"{service.address}/predict", files=letter, data={"JANE": "JANE"}).status_code == 422
    assert httpx.post(f"{service.address}/predict", files=letter).status_code == 415
    assert httpx.get(f"{service.address}/JANE_DOE?q=JANE_DOE").status_code == 404
    end_in_the_midst_of_an_upload(service, 1)
    log = service.log.read_text()
    assert f"PNG of {len(PNG)} bytes" in log
    assert "JANE" not in log


def test_a_model_that_is_missing_is_told_before_anything_listens(tmp_path):
    with pytest.raises(MetsegError, match=r"model\.json is missing"):
        server.serve({"nested_unet": tmp_path}, port=0)


def test_a_network_of_the_phantom_is_refused_before_it_listens(tmp_path):
    folder = write_bright_model(tmp_path / "unet", data=asdict(PHANTOM))
    with pytest.raises(MetsegError, match="^mine/unet knows nothing but the phantom"):
        server.serve({"mine/unet": folder})
    with pytest.raises(MetsegError, match="the host is empty"):  # it is the next thing that is wrong
        server.serve({"mine/unet": folder}, host="", phantom_network=True)
