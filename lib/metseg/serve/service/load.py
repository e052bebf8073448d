"""How the service bears many clients at once: errors, latencies, memory.

A user's proxy is left aside: it stands between the machine and others, and the service runs on this one.
"""

import asyncio
import io
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import tifffile

from metseg.base.errors import MetsegError
from metseg.serve.service.admission import Limits

_READY_SECONDS = 120.0
_MOST_RETRIES = 60  # of a client that finds no room, one a second
_SERVE = """
import json, sys
from metseg.base.errors import MetsegError
from metseg.serve.service.admission import Limits
from metseg.serve.service.server import serve
settings = json.loads(sys.argv[1])
try:
    serve(**settings | {"limits": Limits(**settings["limits"]), "log_level": "WARNING"})
except MetsegError as error:
    sys.exit(str(error))
"""


@dataclass
class _Tally:
    """What the clients met."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    retries: int = 0


def measure_load(
    models: Mapping[str, Path],
    *,
    clients: int = 16,
    requests: int = 2000,
    alone: int = 100,
    workers: int = 1,
    limits: Limits | None = None,
    slices: Sequence[bytes] | None = None,
    on_answer: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Starts the service, sends it slices, and stops it.

    Args:
        models: {name: folder of an exported model}, the default first.
        clients: Clients that send at once, each one slice after the other.
        requests: Slices that they send, all together.
        alone: Slices that a single client sends before, for the latency without company.
        workers, limits: As in `serve`.
        slices: Files to send in turn; slices of the phantom if left out.
        on_answer: Called with (answered, of) after each answer to one of many clients.

    Returns:
        `requests`, `clients`, `workers`; `errors`, and the `first_error` or None; `retries` after a 503;
        `seconds`, `requests_per_second`; `p50_ms`, `p95_ms`, `p99_ms` of many clients, from the first attempt
        to the answer; `alone_p50_ms`, `alone_p95_ms`; `rss_mb_start`, `rss_mb_middle`, `rss_mb_end`, the
        memory of all processes of the service.

    Raises:
        MetsegError: The service does not start.
    """
    slices = slices or phantom_slices()
    with _running(models, workers=workers, limits=limits) as (address, process):
        alone_tally, _ = asyncio.run(_send(address, slices, clients=1, requests=alone))
        memory = [_rss_mb(process)]

        def answered(count: int) -> None:
            if count == max(1, requests // 2):
                memory.append(_rss_mb(process))
            if on_answer:
                on_answer(count, requests)

        tally, seconds = asyncio.run(
            _send(address, slices, clients=clients, requests=requests, on_answer=answered)
        )
        memory.append(_rss_mb(process))
    errors = alone_tally.errors + tally.errors
    return {
        "requests": requests,
        "clients": clients,
        "workers": workers,
        "errors": len(errors),
        "first_error": next(iter(errors), None),
        "retries": tally.retries,
        "seconds": seconds,
        "requests_per_second": len(tally.seconds) / seconds,
        **{f"p{share}_ms": _percentile_ms(tally.seconds, share) for share in (50, 95, 99)},
        **{f"alone_p{share}_ms": _percentile_ms(alone_tally.seconds, share) for share in (50, 95)},
        **dict(zip(("rss_mb_start", "rss_mb_middle", "rss_mb_end"), memory, strict=True)),
    }


def phantom_slices(*, size: int = 256, count: int = 16) -> list[bytes]:
    """Returns slices of a drawn patient as TIFF files."""
    from metseg.data.phantom.draw import FIELD_OF_VIEW_MM, draw_phantom  # SciPy is of no use to the service

    files = []
    for plane in draw_phantom(1, size=size, slices=count, pixel_mm=FIELD_OF_VIEW_MM / size).image:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, plane, photometric="rgb")
        files.append(buffer.getvalue())
    return files


@contextmanager
def _running(
    models: Mapping[str, Path], *, workers: int, limits: Limits | None
) -> Iterator[tuple[str, subprocess.Popen]]:
    """Runs the service in a process of its own; yields its address and the process, when it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"port": port, "workers": workers, "limits": asdict(limits or Limits())}
    settings["phantom_network"] = True  # nobody looks at these masks
    settings |= {"models": {name: str(Path(folder).absolute()) for name, folder in models.items()}}
    process = subprocess.Popen([sys.executable, "-c", _SERVE, json.dumps(settings)])
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(address, process)
        yield address, process
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(address: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{address}/health/ready", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise MetsegError("the service did not start; what it said stands above, or call: metseg serve")


async def _send(
    address: str,
    slices: Sequence[bytes],
    *,
    clients: int,
    requests: int,
    on_answer: Callable[[int], None] | None = None,
) -> tuple[_Tally, float]:
    """Sends slices in turn; returns what the clients met and the seconds that it took."""
    tally, numbers = _Tally(), iter(range(requests))
    answered = 0

    async def send_in_turn() -> None:
        nonlocal answered
        async with httpx.AsyncClient(base_url=address, timeout=120, trust_env=False) as client:
            for number in numbers:  # shared by all clients
                await _segment(client, slices[number % len(slices)], tally)
                answered += 1
                if on_answer:
                    on_answer(answered)

    start = time.perf_counter()
    await asyncio.gather(*(send_in_turn() for _ in range(clients)))
    return tally, time.perf_counter() - start


async def _segment(client: httpx.AsyncClient, content: bytes, tally: _Tally) -> None:
    """Sends one slice until the service has room for it; gives up after `_MOST_RETRIES`."""
    start = time.perf_counter()
    for retry in range(_MOST_RETRIES + 1):
        try:
            answer = await client.post("/predict", files={"file": content})
        except httpx.HTTPError as error:
            tally.errors.append(repr(error))
            return
        if answer.status_code != 503 or retry == _MOST_RETRIES:
            break
        tally.retries += 1
        await asyncio.sleep(float(answer.headers["Retry-After"]))
    if answer.status_code == 200 and answer.json()["mask"]:
        tally.seconds.append(time.perf_counter() - start)
    else:
        tally.errors.append(f"{answer.status_code}: {answer.text:.200}")


def _percentile_ms(seconds: Sequence[float], share: int) -> float | None:
    return 1000 * float(np.percentile(seconds, share)) if seconds else None


def _rss_mb(process: subprocess.Popen) -> float:
    parent = psutil.Process(process.pid)
    family = [parent, *parent.children(recursive=True)]
    return sum(each.memory_info().rss for each in family) / 1e6
