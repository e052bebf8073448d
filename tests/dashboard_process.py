"""The dashboard's server in a process of its own, as `metseg dashboard` runs it."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

_CODE = (
    "import json, sys; from metseg.serve.dashboard.voila_server import serve_dashboard;"
    "serve_dashboard(**json.loads(sys.argv[1]))"
)


@dataclass
class Running:
    """A server: its address with the token, if there is one, and its process."""

    address: str
    process: subprocess.Popen

    @property
    def origin(self) -> str:
        """The address without path and token."""
        return re.match(r"http://[^/]+", self.address)[0]

    def client(self, **options) -> httpx.Client:
        """A visitor, who has opened nothing yet."""
        return httpx.Client(base_url=self.origin, timeout=60, **options)


@contextmanager
def running_dashboard(log: Path, *, cwd: Path | None = None, **options) -> Iterator[Running]:
    """Starts a server on a free port; ends it as Ctrl-C does.

    Args:
        log: What it writes to stderr.
        cwd: Its working directory.
        **options: Of `serve_dashboard`.
    """
    arguments = json.dumps({"port": 0, **options})
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", _CODE, arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=cwd,
        )
    try:
        line = process.stdout.readline()
        assert line.startswith("The dashboard is at "), log.read_text()
        yield Running(line.split()[4], process)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            process.kill()
            process.stdout.close()


def kernel_id(page: str) -> str:
    """The kernel that a page names as its own."""
    return re.search(r'"kernelId": "([\w-]+)"', page)[1]


def process_of(kernel: str) -> int:
    """The process of a kernel, found by its connection file."""
    for process in psutil.process_iter(["cmdline"]):
        if any(f"kernel-{kernel}.json" in argument for argument in process.info["cmdline"] or ()):
            return process.pid
    raise LookupError(kernel)
