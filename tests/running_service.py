"""The service on a real port, in a thread of the test, with models that mark bright pixels."""

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import tifffile
import uvicorn
from fastapi import FastAPI
from PIL import Image
from tiny_runs import SIZE, write_bright_model

from metseg.serve.listening import listen
from metseg.serve.service.protocol import BoundedProtocol

# Of the models' size, so that nothing is resampled: 4 × 5 px of lesion, and 3 × 3 px that FLAIR alone shows.
BRIGHT_CORNER = np.full((SIZE, SIZE, 3), 20, np.uint8)
BRIGHT_CORNER[2:6, 3:8] = 240
BRIGHT_CORNER[20:23, 20:23, 1] = 240


def write_models(folder: Path) -> dict[str, Path]:
    """Writes a model that looks at all channels, the default, and one that looks at FLAIR alone."""
    flair = {"name": "attention_unet", "channels": (0, 1, 0)}
    return {
        "nested_unet": write_bright_model(
            folder / "nested_unet", name="nested_unet", encoder="efficientnet_lite0"
        ),
        "attention_unet": write_bright_model(folder / "attention_unet", **flair),
    }


def as_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def as_tiff(pixels: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


@contextmanager
def running(app: FastAPI, *, ready: bool = True, root_path: str = "") -> Iterator[httpx.Client]:
    """Runs an app; yields a client of it, when its models are loaded if `ready`."""
    listener = listen("127.0.0.1", 0)
    quiet = {"access_log": False, "log_config": None}
    config = uvicorn.Config(app, http=BoundedProtocol, ws="none", root_path=root_path, **quiet)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30, trust_env=False
        ) as client:
            while ready and client.get("/health/ready").status_code != 200:
                time.sleep(0.005)
            yield client
    finally:
        server.should_exit = True
        thread.join()
