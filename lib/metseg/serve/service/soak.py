"""How the service holds out: clients of all kinds for a long time, then what of them is left in it."""

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from metseg.serve.service.load import family_of, phantom_slices, running_service

_VOLUME_GRID = (48, 48, 12)
_REST_SECONDS = 2.0
# What a client does, how often of a hundred times, and what may be answered.
_SHARES = {"slice": 78, "no image": 6, "wrong setting": 6, "half an upload": 6, "figures": 3, "volume": 1}
_EXPECTED = {
    "slice": {200, 503},
    "no image": {415, 503},
    "wrong setting": {422, 503},
    "half an upload": {0},
    "figures": {200},
    "volume": {200, 503},
}


def measure_soak(
    models: Mapping[str, Path],
    *,
    seconds: float,
    clients: int = 8,
    workers: int = 1,
    slices: Sequence[bytes] | None = None,
    every: float = 5.0,
    on_second: Callable[[float], object] = lambda _: None,
) -> dict[str, Any]:
    """Starts the service, has clients send slices, volumes, what is wrong and half of it, and stops it.

    Args:
        models: {name: folder of an exported model}, the default first.
        seconds: How long.
        clients: Clients at once, each one request after the other.
        workers: As in `serve`.
        slices: Files to send; slices of the phantom if left out.
        every: Seconds between two looks at the service's memory.
        on_second: Called every now and then with the seconds that have gone.

    Returns:
        `seconds`, `clients`, `workers`; `requests` by kind; `busy`, how many were told to come again;
        `errors`, answers that are not right, and the `first_error` or None; `rss_mb` of all processes of the
        service, a tenth of the time after the start, in the middle and at the end, and `rss_mb_an_hour`, its
        slope over the second half; `descriptors`, its open files and connections, before the first client and
        after the last.

    Raises:
        MetsegError: A model cannot be loaded, or the service does not start.
    """
    slices, volume = slices or phantom_slices(), noise_volume()
    counts, errors, busy, lock = Counter[str](), [], 0, threading.Lock()
    with running_service(models, workers=workers) as (address, pid):
        with httpx.Client(base_url=address, trust_env=False) as client:
            client.get("/health")
        before, looks, started = _descriptors(pid), [], time.monotonic()

        def live(number: int) -> None:
            nonlocal busy
            chance = random.Random(number)
            with httpx.Client(base_url=address, timeout=120, trust_env=False) as client:
                while True:  # once at least, however slow the machine is
                    kind = chance.choices(list(_SHARES), list(_SHARES.values()))[0]
                    try:
                        status, text = _do(kind, client, chance.choice(slices), volume)
                    except httpx.HTTPError as error:
                        status, text = -1, repr(error)
                    with lock:
                        counts[kind] += 1
                        busy += status == 503
                        if status not in _EXPECTED[kind]:
                            errors.append(f"{kind}: {status} {text:.200}")
                    if time.monotonic() - started >= seconds:
                        return

        with ThreadPoolExecutor(clients) as pool:
            living = [pool.submit(live, number) for number in range(clients)]
            while (gone := time.monotonic() - started) < seconds:
                looks.append((gone, sum(each.memory_info().rss for each in family_of(pid)) / 1e6))
                on_second(gone)
                time.sleep(min(every, max(0.01, seconds - gone)))
            for each in living:
                each.result()
        time.sleep(_REST_SECONDS)
        after = _descriptors(pid)
    at, memory = np.array(looks).T
    late = at >= seconds / 2
    slope = np.polyfit(at[late], memory[late], 1)[0] if late.sum() > 1 else 0.0
    return {
        "seconds": seconds,
        "clients": clients,
        "workers": workers,
        "requests": dict(counts),
        "busy": busy,
        "errors": len(errors),
        "first_error": next(iter(errors), None),
        "rss_mb": {f"{share:.0%}": float(np.interp(share * seconds, at, memory)) for share in (0.1, 0.5, 1)},
        "rss_mb_an_hour": float(3600 * slope),
        "descriptors": {"before": before, "after": after},
    }


def noise_volume() -> dict[str, bytes]:
    """Returns {sequence: NIfTI file} of a small volume that holds noise."""
    import nibabel  # of no use to who starts the service

    rng = np.random.default_rng(0)
    return {
        name: nibabel.Nifti1Image(
            rng.integers(0, 999, _VOLUME_GRID, np.int16), np.diag([4, 4, 8, 1])
        ).to_bytes()
        for name in ("t1", "t1c", "flair")
    }


def _do(kind: str, client: httpx.Client, file: bytes, volume: Mapping[str, bytes]) -> tuple[int, str]:
    """Does one thing; returns the status of the answer, 0 where none was waited for, and its text."""
    if kind == "half an upload":
        where = urlsplit(str(client.base_url))
        with socket.create_connection((where.hostname, where.port), timeout=120) as connection:
            head = (
                "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B"
            )
            connection.sendall(
                f"{head}\r\nContent-Length: {len(file)}\r\n\r\n".encode() + file[: len(file) // 2]
            )
        return 0, ""
    if kind == "figures":
        answer = client.get("/metrics")
    elif kind == "volume":
        files = {name: (f"{name}.nii", content) for name, content in volume.items()}
        answer = client.post("/predict", files=files, data={"trust_anyway": "true"})
        while answer.status_code == 202:
            time.sleep(0.2)
            answer = client.get(answer.json()["url"])
    else:
        sent = b"no image" if kind == "no image" else file
        data = {"threshold": "2"} if kind == "wrong setting" else {}
        answer = client.post("/predict", files={"file": sent}, data=data)
    return answer.status_code, "" if answer.status_code == 200 else answer.text


def _descriptors(pid: int) -> int:
    return sum(each.num_fds() for each in family_of(pid))
