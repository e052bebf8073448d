"""Tiny data sets in the layout of the Kaggle LGG set, written to a test's own folder.

What whoever starts the tests has set for other programs is set back for them and the processes they start.
"""

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

import metseg  # noqa: F401 - before OpenVINO, ONNX Runtime and TensorFlow, which read their environment once

for name in list(os.environ):
    if name.lower().endswith("_proxy") or name.startswith("KERAS_"):
        del os.environ[name]
for name in ("PYTHONIOENCODING", "MPLBACKEND", "FORCE_COLOR", "COLUMNS"):
    os.environ.pop(name, None)
os.environ |= {"MATPLOTLIBRC": os.devnull, "KERAS_BACKEND": "tensorflow"}
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background. With a handler, of whatever kind, a child starts without one and can be
    # interrupted; being ignored would be inherited.
    signal.signal(signal.SIGINT, lambda number, frame: None)


@pytest.fixture(autouse=True)
def _same_chance() -> None:
    """Each test draws the same numbers, Keras's initial weights among them, whatever ran before."""
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002 - what others draw from


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """A function that returns an (H, W, 3) uint8 image without a black pixel; another seed, another image."""

    def draw(seed: int, shape: tuple[int, int] = (24, 32)) -> np.ndarray:
        return np.random.default_rng(seed).integers(1, 256, (*shape, 3), dtype=np.uint8)

    return draw


@pytest.fixture
def square() -> Callable[..., np.ndarray]:
    """A function that returns an (H, W) bool mask with one square, or none where its side is 0."""

    def draw(side: int, shape: tuple[int, int] = (24, 32)) -> np.ndarray:
        mask = np.zeros(shape, bool)
        mask[4 : 4 + side, 6 : 6 + side] = True
        return mask

    return draw


@pytest.fixture
def write_slice() -> Callable[..., Path]:
    """A function that writes `<stem>.tif` and `<stem>_mask.tif`, either left out where it is None."""

    def write(
        folder: Path, stem: str, image: np.ndarray | None, mask: np.ndarray | None = None, **tags
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        if image is not None:
            tifffile.imwrite(folder / f"{stem}.tif", image, photometric="rgb", **tags)
        if mask is not None:
            tifffile.imwrite(
                folder / f"{stem}_mask.tif", mask.astype(np.uint8) * 255, photometric="minisblack"
            )
        return folder / f"{stem}.tif"

    return write


@pytest.fixture
def write_set(write_slice, noise, square) -> Callable[..., Path]:
    """A function that writes two patients of 2 and 3 slices, 24 by 32 px.

    Lesion pixels of the slices: 0 and 9 of TCGA_CS_0001, 0, 16 and 25 of TCGA_CS_0002.
    """

    def write(folder: Path, *, flat: bool = False) -> Path:
        seed = 0
        for case_id, sides in (("TCGA_CS_0001_19990101", (0, 3)), ("TCGA_CS_0002_19990102", (0, 4, 5))):
            for n, side in enumerate(sides, start=1):
                seed += 1
                home = folder if flat else folder / case_id
                write_slice(home, f"{case_id}_{n}", noise(seed), square(side))
        return folder

    return write
