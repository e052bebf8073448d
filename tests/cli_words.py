"""What the tests of the commands share: scans and what a command prints."""

import itertools
import re
from pathlib import Path

import numpy as np
import tifffile
from tiny_runs import HALF, MISSED, WHOLE

PATIENTS = {f"P_{k}_20000101": mask for k, mask in enumerate((WHOLE, HALF, MISSED), start=1)}


def worked(out: str) -> str:
    """What a command printed after it had said how it read the scans and which networks it took."""
    lines = out.splitlines(keepends=True)
    return "".join(itertools.dropwhile(lambda line: re.match(r"network: |\d+ files?: ", line), lines))


def grey(*shape: int, value: int = 0) -> np.ndarray:
    return np.full((*shape, 3), value, np.uint8)


def half_bright(height: int = 37, width: int = 53) -> np.ndarray:
    """Black on the left, white from column 24 on."""
    image = grey(height, width)
    image[:, 24:] = 255
    return image


def written(folder: Path) -> dict[str, np.ndarray]:
    """All files below a folder, which must be masks."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        mask = tifffile.imread(path)
        assert mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 255}
        found[path.relative_to(folder).as_posix()] = mask
    return found
