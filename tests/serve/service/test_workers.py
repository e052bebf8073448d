"""Processes of a service that die: real ones, really killed."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from running_service import write_models

START = """
import sys
from pathlib import Path
from metseg.base.errors import MetsegError
from metseg.serve.service import server, workers
workers.MOST_DEATHS = 3
try:
    server.serve({"nested_unet": Path(sys.argv[1])}, port=0, workers=2)
except MetsegError as error:
    sys.exit(f"SAID: {error}")
"""


@pytest.fixture
def service(tmp_path):
    folder = write_models(tmp_path)["nested_unet"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", START, str(folder)], stderr=log, env=os.environ | {"TMPDIR": str(tmp_path)}
        )
    yield psutil.Process(process.pid), folder, tmp_path / "log"
    process.kill()
    process.wait()


def await_text(log: Path, text: str) -> None:
    deadline = time.monotonic() + 60
    while text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def workers_of(parent: psutil.Process) -> list[psutil.Process]:
    return [each for each in parent.children() if "spawn_main" in " ".join(each.cmdline())]


def test_processes_that_die_one_after_the_other_end_the_service_with_a_sentence(service):
    parent, _, log = service
    await_text(log, "listens on")
    for deaths in range(1, 4):
        deadline = time.monotonic() + 30
        while log.read_text().count("SIGKILL") < deaths:
            with suppress(IndexError, psutil.NoSuchProcess):
                workers_of(parent)[-1].kill()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
    assert parent.wait(60) == 1
    assert "3 processes of the service ended within a minute" in log.read_text()
    assert not list(log.parent.glob("metseg-service-*"))


def test_a_process_that_cannot_begin_ends_the_service_with_a_sentence(service):
    parent, folder, log = service
    await_text(log, "listens on")
    (folder / "model.json").unlink()
    with suppress(IndexError, psutil.NoSuchProcess):  # one that had begun already
        workers_of(parent)[-1].kill()
    assert parent.wait(60) == 1
    assert "model.json is missing" in log.read_text() and "cannot begin" in log.read_text()
