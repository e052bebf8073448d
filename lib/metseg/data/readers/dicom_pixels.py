"""Pixels of DICOM frames, decoded by pydicom's plugins, or one sentence on why they cannot be had."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.filereader import read_partial
from pydicom.pixels import get_decoder, iter_pixels
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from metseg.base.errors import MetsegError
from metseg.data.readers.dicom_headers import Frame, read_syntax
from metseg.data.readers.dicom_streams import keep_frames

_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # as numbers of either length, or integers


def read_pixels(frames: Sequence[Frame]) -> Iterator[tuple[int, np.ndarray]]:
    """Yields each frame's number among those given, and its (Y, X) pixels as stored; of MONOCHROME1, where 0
    is white, the negative.

    They come file by file, so that each is read once.

    Raises:
        MetsegError: A file is truncated or damaged, or in a transfer syntax that cannot be decoded.
    """
    order = sorted(range(len(frames)), key=lambda k: (frames[k].path, frames[k].index))
    for path, group in groupby(order, key=lambda k: frames[k].path):
        wanted = list(group)
        pixels = _decoded(path, [frames[k].index for k in wanted])
        for k in wanted:
            with _complaints_of(path):
                image = next(pixels)
            yield k, _negative(image, frames[k]) if is_negative(frames[k]) else image


def _decoded(path: Path, indices: list[int]) -> Iterator[np.ndarray]:
    with open(path, "rb") as file:
        dataset = read_partial(file, _behind_pixels(), force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:  # an old file without this header
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        keep_frames(dataset, indices)
        yield from iter_pixels(dataset)
    else:
        _complain_of_excess(dataset)
        yield from iter_pixels(dataset, indices=indices)


def _behind_pixels() -> Callable[..., bool]:
    """Returns what makes pydicom stop behind the pixels: nobody has counted what follows there."""
    seen = False

    def stop(tag: int, *_) -> bool:
        nonlocal seen
        before, seen = seen, seen or tag in _PIXELS
        return before

    return stop


@contextmanager
def _complaints_of(path: Path) -> Iterator[None]:
    """Makes one sentence of whatever pydicom and its decoders stumble over."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on padding
            yield
    except Exception as error:
        syntax, can_be_read = None, True
        with suppress(Exception), open(path, "rb") as file:
            if syntax := read_syntax(file):
                can_be_read = False
                can_be_read = get_decoder(syntax).is_available
        named = getattr(syntax, "name", "unknown")
        if isinstance(error, NotImplementedError) or not can_be_read:
            remedy = "decompress it (gdcmconv --raw FILE COPY)"
            raise MetsegError(
                f"{path} has a transfer syntax that cannot be read, {named}; {remedy}"
            ) from error
        reason = " ".join(str(error).split())
        raise MetsegError(
            f"{path} is truncated or damaged ({named}: {reason:.100}); copy it again"
        ) from error


def _complain_of_excess(dataset: Dataset) -> None:
    """Raises a `ValueError` where pixels are left over: the header's size is not that of the picture.

    Decoders take the first pixels and would shear it. A row of zeros at most is padding.
    """
    if "PixelData" not in dataset:
        return
    expected = get_expected_length(dataset)
    excess = len(dataset.PixelData) - expected
    is_padding = excess <= dataset.Columns * dataset.BitsAllocated / 8 and not any(
        dataset.PixelData[expected:]
    )
    if excess > 1 and not is_padding:
        raise ValueError(f"{excess} bytes more than {dataset.Rows} × {dataset.Columns} pixels need")


def padding(frame: Frame) -> float | None:
    """Returns the value, as `read_pixels` yields it, that fills what was not imaged (PS3.3 C.7.5.1.1.2)."""
    value = frame.header.get("PixelPaddingValue")
    if value is not None and value >= 2**15 and frame.header.get("PixelRepresentation") == 1:
        value -= 2**16  # written as if it were unsigned
    return _both_ends(frame) - value if value is not None and is_negative(frame) else value


def is_negative(frame: Frame) -> bool:
    """Returns whether the lowest value is to be shown white."""
    return frame.header.get("PhotometricInterpretation") == "MONOCHROME1"


def scale(frame: Frame) -> tuple[float, float]:
    """Returns slope and intercept, from stored to scanner's values (PS3.3 C.11.1.1.2)."""
    return frame.header.get("RescaleSlope", 1.0), frame.header.get("RescaleIntercept", 0.0)


def _negative(image: np.ndarray, frame: Frame) -> np.ndarray:
    return (_both_ends(frame) - image.astype(np.int64)).astype(image.dtype)


def _both_ends(frame: Frame) -> int:
    """Returns the highest and the lowest value that can be stored, added up."""
    signed = frame.header.get("PixelRepresentation") == 1
    return -1 if signed else 2 ** int(frame.header.get("BitsStored", 16)) - 1
