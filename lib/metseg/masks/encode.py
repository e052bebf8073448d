"""A segmentation as files: the API answers with these bytes, and the dashboard's download holds the same."""

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields

import cv2
import numpy as np
import tifffile

from metseg.masks.colours import PREDICTION_COLOUR
from metseg.masks.lesions import Lesion

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest date a ZIP can hold; the same content is always the same file


def encode_png(pixels: np.ndarray) -> bytes:
    """Returns an (H, W) or (H, W, 3) RGB uint8 array as a PNG file."""
    return cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()


def mask_png(mask: np.ndarray) -> bytes:
    """Returns an (H, W) bool mask as a PNG file: grey, 0 or 255."""
    return encode_png(mask.astype(np.uint8) * 255)


def mask_tiff(mask: np.ndarray, *, software: str = "metseg") -> bytes:
    """Returns an (H, W) bool mask as a TIFF file: uint8, 0 or 255."""
    buffer = io.BytesIO()
    kind = {"photometric": "minisblack", "compression": "zlib", "software": software}
    tifffile.imwrite(buffer, mask.astype(np.uint8) * 255, **kind)
    return buffer.getvalue()


def overlay(
    image: np.ndarray, mask: np.ndarray, *, opacity: float = 0.35, colour: str = PREDICTION_COLOUR
) -> np.ndarray:
    """Tints an (H, W) bool mask on a slice and draws its border, which is always opaque.

    Args:
        image: (H, W), shown in grey, or (H, W, 3) uint8; the result is of the latter shape.
        opacity: Of the tint, 0 to 1.
        colour: As `#RRGGBB`.
    """
    shown = np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image.copy()
    ink = np.frombuffer(bytes.fromhex(colour.removeprefix("#")), np.uint8)
    shown[mask] = np.rint((1 - opacity) * shown[mask] + opacity * ink.astype(np.float32))
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # Drawn on the lesion's own outermost pixels, so that the border claims no pixel the mask does not.
    return cv2.drawContours(np.ascontiguousarray(shown), contours, -1, ink.tolist(), 1)


def lesions_csv(lesions: Sequence[Lesion]) -> bytes:
    """Returns the lesions as a CSV file, a column an attribute of `Lesion`; unknown sizes are left blank."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Lesion)])
    for lesion in lesions:
        writer.writerow([round(value, 4) if isinstance(value, float) else value for value in astuple(lesion)])
    return text.getvalue().encode()


def archive(files: Mapping[str, bytes]) -> bytes:
    """Returns {name: content} as a ZIP file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, content in files.items():
            zipped.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
