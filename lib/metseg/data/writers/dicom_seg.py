"""Lesions as a DICOM Segmentation (PS3.3 A.51), one segment a lesion, checked by reading it back."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from metseg.base.errors import MetsegError
from metseg.base.files import replacing

if TYPE_CHECKING:
    import highdicom
    import pydicom

_SAME_MM = 0.01


class Maker(NamedTuple):
    """What made a result, as DICOM's equipment modules name it.

    Attributes:
        network: The network's full name.
        network_id: Its hash.
        version: metseg's.
    """

    network: str
    network_id: str
    version: str


def write_seg(
    labels: np.ndarray,
    affine: np.ndarray,
    sources: Sequence["pydicom.Dataset"],
    target: Path,
    made_by: Maker,
    *,
    frame_order: Sequence[int] | None = None,
    names: Sequence[str] = (),
) -> "highdicom.seg.Segmentation":
    """Writes lesions as a DICOM SEG that refers to the series it was found in.

    Args:
        labels: (Z, Y, X) int on the series' own grid: 0 outside, else the lesion's number from 1 on.
        affine: (4, 4), voxel (x, y, z, 1) → mm in RAS+.
        sources: The series' slices in the order of `labels`, or its one file of several frames; from
            `metseg.data.writers.dicom_sources.read_sources`.
        target: The file.
        made_by: What found them.
        names: What to call the segments; Lesion 1, Lesion 2 and so on if left out.
        frame_order: Of a file of several frames, the frame (from 0 on) of each slice of `labels`.

    Returns:
        What was written; each segment has a tracking UID of its own.

    Raises:
        MetsegError: There is no lesion, the file cannot be written, or read again it is not where it was.
    """
    import highdicom as hd
    from pydicom.sr.codedict import codes

    count, frames = int(labels.max()), labels
    if count == 0:
        raise MetsegError(f"{target} was not written: there is no lesion, and DICOM has no empty segment")
    if frame_order is not None:
        frames = np.zeros((int(sources[0].NumberOfFrames), *labels.shape[1:]), labels.dtype)
        frames[list(frame_order)] = labels
    names = names or [f"Lesion {number}" for number in range(1, count + 1)]
    algorithm = hd.AlgorithmIdentificationSequence(
        made_by.network, codes.DCM.ArtificialIntelligence, made_by.version
    )
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Lesion,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            tracking_uid=hd.UID(),
            tracking_id=name,
            anatomic_regions=[codes.SCT.Brain],
        )
        for number, name in enumerate(names, start=1)
    ]
    try:
        written = hd.seg.Segmentation(
            source_images=list(sources),
            pixel_array=frames.astype(np.uint16 if count > 255 else np.uint8),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=hd.UID(),
            series_number=9001,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="metseg",
            manufacturer_model_name=made_by.network[:64],
            software_versions=made_by.version,
            device_serial_number=made_by.network_id[:16],
            content_description="Lesions found by a network; not for diagnosis",
            content_label="LESIONS",
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:  # what highdicom finds in a header
        raise MetsegError(
            f"{target} was not written: the series' header does not let it ({error})"
        ) from error
    with replacing(target) as partial:
        written.save_as(partial)
        complain_if_moved(read_seg(partial), centroids(labels, affine), target)
    return written


def centroids(labels: np.ndarray, affine: np.ndarray) -> dict[int, tuple[np.ndarray, int]]:
    """Returns {lesion's number: (centroid in mm RAS+, voxels)} of (Z, Y, X) labels."""
    found = {}
    for number in np.unique(labels[labels > 0]).tolist():
        places = np.argwhere(labels == number)
        z, y, x = places.mean(axis=0)
        found[number] = (affine @ (x, y, z, 1))[:3], len(places)
    return found


def read_seg(path: Path) -> dict[int, tuple[np.ndarray, int]]:
    """Reads a SEG by its own geometry; returns what `centroids` does."""
    import pydicom

    seg = pydicom.dcmread(path)
    frames = np.reshape(seg.pixel_array, (-1, seg.Rows, seg.Columns))
    shared, sums = seg.SharedFunctionalGroupsSequence[0], {}
    for frame, own in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):

        def of(keyword: str, own: "pydicom.Dataset" = own) -> "pydicom.Dataset":
            return (own if keyword in own else shared)[keyword].value[0]  # what all frames share is told once

        number = int(of("SegmentIdentificationSequence").ReferencedSegmentNumber)
        corner = np.array(of("PlanePositionSequence").ImagePositionPatient, float)
        axes = np.reshape(of("PlaneOrientationSequence").ImageOrientationPatient, (2, 3))
        row, column = axes.astype(float)
        row_mm, column_mm = map(float, of("PixelMeasuresSequence").PixelSpacing)
        rows, columns = np.nonzero(frame)
        places = corner + np.outer(columns * column_mm, row) + np.outer(rows * row_mm, column)
        sums[number] = sums.get(number, np.zeros(4)) + (*places.sum(axis=0), len(rows))
    return {number: (total[:3] / total[3] * (-1, -1, 1), int(total[3])) for number, total in sums.items()}


def complain_if_moved(
    found: dict[int, tuple[np.ndarray, float]], meant: dict[int, tuple[np.ndarray, int]], target: Path
) -> None:
    """Raises a `MetsegError` unless a file that was read again has each lesion where it was."""
    for number, (place, voxels) in meant.items():
        its_place, its_voxels = found.get(number, (place, 0))
        moved = float(np.linalg.norm(its_place - place))
        if moved > _SAME_MM or its_voxels != voxels:
            raise MetsegError(
                f"{target} was not written: lesion {number} would be {moved:.2f} mm away and have "
                f"{its_voxels} of {voxels} voxels; the series' geometry cannot be kept in it"
            )
