"""What the tests of files share."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from metseg.base.errors import MetsegError


def complaint(function, *args) -> str:
    """The text of the `MetsegError`, which must be a single sentence on a single line."""
    with pytest.raises(MetsegError) as caught:
        function(*args)
    text = str(caught.value)
    assert text and "\n" not in text and "Traceback" not in text
    return text


def tiff(path: Path, pixels: np.ndarray, **options) -> Path:
    tifffile.imwrite(path, pixels, **options)
    return path
