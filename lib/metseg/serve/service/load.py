"""How the service bears many clients at once: errors, latencies, memory.

A user's proxy is left aside: it stands between the machine and others, and the service runs on this one.
"""

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import tifffile

from metseg.base.errors import MetsegError
from metseg.inference.predictor import Predictor
from metseg.serve.listening import listen
from metseg.serve.service.server import serve


def measure_load(
    models: Mapping[str, Path],
    *,
    clients: int = 16,
    requests: int = 2000,
    alone: int = 100,
    workers: int = 1,
    slices: Sequence[bytes] | None = None,
    on_answer: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Starts the service, sends it slices, and stops it.

    Args:
        models: {name: folder of an exported model}, the default first.
        clients: Clients that send at once, each one slice after the other.
        requests: Slices that they send, all together.
        alone: Slices that a single client sends before, for the latency without company.
        workers: As in `serve`.
        slices: Files to send in turn; slices of the phantom if left out.
        on_answer: Called after each answer to one of many clients.

    Returns:
        `requests`, `clients`, `workers`; `errors`, and the `first_error` or None; `seconds`,
        `requests_per_second`; `p50_ms`, `p95_ms`, `p99_ms` of many clients; `alone_p50_ms`, `alone_p95_ms`;
        `rss_mb_start`, `rss_mb_end`, the memory of all processes of the service.

    Raises:
        MetsegError: A model cannot be loaded, or the service does not start.
    """
    slices = slices or phantom_slices()
    with running_service(models, workers=workers) as (address, pid):
        by_itself, errors = _send(address, slices, clients=1, requests=alone)
        memory = _rss_mb(pid)
        start = time.perf_counter()
        many, more = _send(address, slices, clients=clients, requests=requests, on_answer=on_answer)
        seconds = time.perf_counter() - start
        errors += more
        return {
            "requests": requests,
            "clients": clients,
            "workers": workers,
            "errors": len(errors),
            "first_error": next(iter(errors), None),
            "seconds": seconds,
            "requests_per_second": len(many) / seconds,
            **_percentiles_ms(many, "", (50, 95, 99)),
            **_percentiles_ms(by_itself, "alone_", (50, 95)),
            "rss_mb_start": memory,
            "rss_mb_end": _rss_mb(pid),
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
def running_service(models: Mapping[str, Path], *, workers: int) -> Iterator[tuple[str, int]]:
    """Runs the service in a process of its own; yields its address and the process's id, when it is ready."""
    for folder in models.values():
        Predictor(folder)  # a damaged one is told here
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    options = {"port": port, "workers": workers, "log_level": "WARNING"}
    options["phantom_network"] = True  # nobody looks at these masks
    process = get_context("spawn").Process(target=serve, args=(dict(models),), kwargs=options)
    process.start()
    address, answer = f"http://127.0.0.1:{port}", None
    try:
        while answer is None:
            if not process.is_alive():
                raise MetsegError("the service did not start; what it said stands above")
            with suppress(httpx.TransportError):
                answer = httpx.get(f"{address}/health/ready", trust_env=False)
            time.sleep(0.05)
        yield address, process.pid
    finally:
        process.terminate()
        process.join()


def _send(
    address: str,
    slices: Sequence[bytes],
    *,
    clients: int,
    requests: int,
    on_answer: Callable[[], object] = lambda: None,
) -> tuple[list[float], list[str]]:
    """Sends slices in turn; returns the seconds of good answers, and what else was answered."""
    seconds, errors = [], []
    with ThreadPoolExecutor(clients) as pool, httpx.Client(timeout=120, trust_env=False) as client:

        def send(number: int) -> None:
            start = time.perf_counter()
            try:
                file = {"file": slices[number % len(slices)]}
                answer = client.post(f"{address}/predict", files=file)
                if answer.status_code == 200 and answer.json()["mask"]:
                    seconds.append(time.perf_counter() - start)
                else:
                    errors.append(f"{answer.status_code}: {answer.text:.200}")
            except httpx.HTTPError as error:
                errors.append(repr(error))
            on_answer()

        list(pool.map(send, range(requests)))
    return seconds, errors


def _percentiles_ms(seconds: Sequence[float], prefix: str, shares: Sequence[int]) -> dict[str, float | None]:
    values = [1000 * float(np.percentile(seconds, share)) if seconds else None for share in shares]
    return {f"{prefix}p{share}_ms": value for share, value in zip(shares, values, strict=True)}


def _rss_mb(pid: int) -> float:
    return sum(each.memory_info().rss for each in family_of(pid)) / 1e6


def family_of(pid: int) -> list[psutil.Process]:
    """Returns a process and all that it started."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]
