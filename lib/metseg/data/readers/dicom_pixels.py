"""Pixels of DICOM frames, decoded by pydicom's plugins, or one sentence on why they cannot be had."""

import warnings
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.pixels import get_decoder, iter_pixels
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from metseg.base.errors import MetsegError
from metseg.data.readers.dicom_headers import Frame


def read_pixels(frames: Sequence[Frame]) -> Iterator[np.ndarray]:
    """Yields each frame's (Y, X) pixels as stored; of MONOCHROME1, where 0 is white, the negative.

    Raises:
        MetsegError: A file is truncated or damaged, or in a transfer syntax that cannot be decoded.
    """
    for path, group in groupby(frames, key=lambda frame: frame.path):
        wanted = list(group)
        syntax, can_be_read = "unknown", True
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on padding
                dataset = dcmread(path, force=True)
                if "TransferSyntaxUID" not in dataset.file_meta:  # an old file without this header
                    implicit, little = dataset.original_encoding
                    explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
                    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
                syntax = dataset.file_meta.TransferSyntaxUID.name
                can_be_read = get_decoder(dataset.file_meta.TransferSyntaxUID).is_available
                _complain_of_excess(dataset)
                pixels = list(iter_pixels(dataset, indices=[frame.index for frame in wanted]))
        except Exception as error:  # noqa: BLE001 - whatever a decoder stumbles over
            if isinstance(error, NotImplementedError) or not can_be_read:
                remedy = "decompress it (gdcmconv --raw FILE COPY)"
                raise MetsegError(
                    f"{path} has a transfer syntax that cannot be read, {syntax}; {remedy}"
                ) from error
            reason = " ".join(str(error).split())
            raise MetsegError(
                f"{path} is truncated or damaged ({syntax}: {reason:.100}); copy it again"
            ) from error
        for frame, image in zip(wanted, pixels, strict=True):
            yield _negative(image, frame) if is_negative(frame) else image


def _complain_of_excess(dataset: Dataset) -> None:
    """Raises a `ValueError` where pixels are left over: the header's size is not that of the picture.

    Decoders take the first pixels and would shear it. A row of zeros at most is padding.
    """
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated or "PixelData" not in dataset:
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
