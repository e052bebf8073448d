"""What a trial gets of a machine that it shares with others: cores, one GPU, memory."""

import getpass
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from metseg.base.hardware import cores

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_THREADS += ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
_USABLE = 0.95  # of the machine's memory


def thread_limits(beside: int) -> dict[str, str]:
    """Returns the environment of one of `beside` trials, each with as many threads as its share of cores."""
    return dict.fromkeys(_THREADS, str(max(1, cores() // beside)))


def memory_share(beside: int) -> int:
    """Returns the bytes that one of `beside` trials may hold; a container's limit counts."""
    from distributed.system import MEMORY_LIMIT

    return int(_USABLE * MEMORY_LIMIT / beside)


@contextmanager
def one_gpu() -> Iterator[Mapping[str, str]]:
    """Yields the environment that shows a trial one GPU, no other trial's as long as they are enough."""
    names = visible_gpus()
    for name in names:
        lock = FileLock(own_temporary(f"gpu-{re.sub('[^0-9A-Za-z-]', '_', name)}.lock"), timeout=0)
        with suppress(Timeout):
            with lock:
                yield {"CUDA_VISIBLE_DEVICES": name}
            return
    yield {"CUDA_VISIBLE_DEVICES": names[os.getpid() % len(names)]} if names else {}


def own_temporary(name: str) -> Path:
    """Returns a path among this machine's temporary files, the same for all processes of a user."""
    folder = Path(tempfile.gettempdir(), f"metseg-{getpass.getuser()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / name


def visible_gpus() -> list[str]:
    """Returns the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [name.strip() for name in told.split(",") if name.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return []
    return [
        str(k) for k, _ in enumerate(line for line in listed.stdout.splitlines() if line.startswith("GPU"))
    ]
