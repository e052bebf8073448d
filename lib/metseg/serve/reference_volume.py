"""The reference of an uploaded volume: a mask that somebody drew."""

import numpy as np

from metseg.data.volume import Volume
from metseg.serve.upload import Refused
from metseg.serve.volume_upload import MAX_VOLUME_BYTES, MAX_VOXELS, too_large_volume

_MAX_LABELS = 100  # of a reference that numbers lesions one by one


def read_reference_volume(content: bytes, name: str, stored: Volume) -> tuple[np.ndarray, list[str]]:
    """Reads the reference of a scan, whatever numbers it marks with.

    Args:
        content: A NIfTI file.
        name: What to call it in an error.
        stored: The grid of the scan's files.

    Returns:
        (Z, Y, X) bool on the scan's axial grid, and what is to be known of it, as sentences.

    Raises:
        MetsegError: It is no NIfTI, holds no labels or too many, or lies on another grid.
    """
    from metseg.data.grid import to_axial
    from metseg.data.readers.nifti import read_labels

    if len(content) > MAX_VOLUME_BYTES:
        raise too_large_volume(name)
    labels, notes = read_labels(content, stored, name, regions={}, max_voxels=MAX_VOXELS)
    if len(labels.stored) > _MAX_LABELS:
        told = f"{name} holds {len(labels.stored)} different numbers, as an image does; give the mask itself"
        raise Refused("unusable_pixels", told)
    if len(labels.stored) > 1:
        numbers = ", ".join(f"{number:g}" for number in sorted(labels.stored)[:8])
        notes.append(f"It marks with {numbers}; all of them are taken as lesion.")
    place = {"affine": stored.affine, "spacing_mm": None if stored.affine is not None else stored.spacing_mm}
    turned = to_axial(Volume(labels.array[None], ("labels",), **place))
    return turned.array[0] > 0, notes
