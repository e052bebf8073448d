"""A DICOM SEG or RTSTRUCT becomes the reference of a scan, on the scan's own grid and on no other.

Its numbers are those of the segments or of the ROIs (PS3.3 C.8.20.2 and C.8.8.5).
"""

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.readers.dicom_stacks import listed
from metseg.data.readers.image_errors import DamagedImage, UnusablePixels
from metseg.data.volume import Labels, Volume
from metseg.masks.outline import filled

if TYPE_CHECKING:
    from pydicom import Dataset

SEG, LABELMAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
MASKS = (SEG, LABELMAP, RTSTRUCT)
_TO_RAS = np.diag([-1.0, -1, 1, 1])
_OFF = 0.1  # voxels by which a mask's grid may differ: programs round
_OFF_PLANE = 0.25  # of the slices' distance, for a contour
_LESION = {"lesion": frozenset({1})}
# RT ROI Interpreted Types (C.8.8.8.1) that are no finding.
_NO_LESION = {"EXTERNAL", "ORGAN", "AVOIDANCE", "SUPPORT", "BOLUS", "FIXATION", "MARKER"}
_NO_LESION |= {"ISOCENTER", "CONTROL", "REGISTRATION"}
# And those that a plan draws around one. Its PTV is the lesion with a margin.
_AROUND_A_LESION = {"PTV", "CTV", "TREATED_VOLUME", "IRRAD_VOLUME", "DOSE_REGION", "CAVITY", "CONTRAST_AGENT"}
_ANATOMY = {"123037004", "T-D000A"}  # Anatomical Structure, in SNOMED CT and RT (PS3.16 CID 7150)
_DESCRIPTIONS = ("SeriesDescription", "ContentLabel", "StructureSetLabel")  # the first that tells
_OF_HEADER = [*_DESCRIPTIONS, "SOPClassUID", "FrameOfReferenceUID", "SegmentationType", "SegmentSequence"]
_OF_HEADER += ["StructureSetROISequence", "RTROIObservationsSequence"]
Marks = Iterator[tuple[int, np.ndarray]]  # a number, and the (N, 3) voxels (x, y, z) that it marks


def read_labels(
    path: Path,
    image: Volume,
    name: str = "",
    *,
    regions: Mapping[str, frozenset[int]] = _LESION,
    expected: Collection[int] | None = None,
    frame_of_reference: str = "",
    parts: Sequence[Collection[int]] = (),
) -> tuple[Labels, list[str]]:
    """Reads a mask.

    Args:
        path: The file, a SEG or an RTSTRUCT.
        image: The volume on whose grid it must be, in whatever axis order.
        name: What to call it in an error; it goes by its path.
        regions: Which numbers make a region.
        expected: The numbers that may occur beside 0; None for any.
        frame_of_reference: The scan's FrameOfReferenceUID; "" where it tells none.
        parts: The numbers of each region that is wanted, so that others are not read; all if left out.

    Returns:
        Labels on the image's grid; and a sentence on what each number is called, and on all else that may
        surprise.

    Raises:
        MetsegError: It is neither, is damaged, has another frame of reference or grid than the scan, or marks
            what the scan does not show.
    """
    from metseg.data.readers.dicom_headers import read_bounded

    name = name or str(path)
    if image.affine is None:
        raise UnusablePixels(f"{name} tells places in mm, but the scan's orientation is unknown; give NIfTI")
    labels, notes, shared = np.zeros(image.grid, np.int32), [], 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = read_bounded(path)
            kind = str(file.get("SOPClassUID", ""))
            if kind not in MASKS:
                raise UnusablePixels(f"{name} is no SEG and no RTSTRUCT; give the file of the mask")
            contours = kind == RTSTRUCT
            names, frames = (_rois if contours else _segments)(file, notes)
            wanted = set().union(*parts) if all(parts) else set()
            names = {number: text for number, text in names.items() if not wanted or number in wanted}
            _complain_of_frame(frames, frame_of_reference, name, notes)
            for number, voxels in (_of_contours if contours else _of_frames)(file, [*names], image, name):
                x, y, z = voxels.T
                before = labels[z, y, x]
                shared += np.count_nonzero((before != 0) & (before != number))
                labels[z, y, x] = number
    except MetsegError:
        raise
    except Exception as error:  # whatever pydicom and its decoders stumble over
        reason = " ".join(str(error).split())
        raise DamagedImage(f"{name} is damaged or incomplete ({reason:.100}); export it again") from error
    if shared and len(parts) > 1:
        raise UnusablePixels(
            f"parts of {name} share {shared} voxels; several regions at once need parts apart"
        )
    found = set(np.unique(labels).tolist()) - {0}
    if expected is not None and (other := found - set(expected)):
        raise UnusablePixels(f"{name} marks with {sorted(other)}, but only {sorted(expected)} are known")
    called = ", ".join(f"{number} {text}" for number, text in sorted(names.items()) if number in found)
    notes += [f"It marks {called}."] if found else ["It marks no voxel."]
    notes += [f"{shared} voxels belong to several of its parts and were given to the last."] * bool(shared)
    return Labels(labels, regions, stored=frozenset(map(float, found))), notes


class MaskHeader(NamedTuple):
    """What a SEG or an RTSTRUCT tells of itself.

    Attributes:
        called: Its description.
        frames: Its frames of reference.
        parts: {number: what a segment or an ROI is called}, without those that are no finding by their type.
        unlikely: Those of `parts` that may be no lesion by their type: anatomy, margins around a lesion.
    """

    called: str
    frames: frozenset[str]
    parts: dict[int, str]
    unlikely: frozenset[int]


def read_header(path: Path) -> MaskHeader | None:
    """Reads the header of a SEG or an RTSTRUCT; None of a damaged file, or of another."""
    from metseg.data.readers.dicom_headers import read_bounded

    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = read_bounded(path, stop_before_pixels=True, specific_tags=_OF_HEADER)
        if (kind := str(file.get("SOPClassUID", ""))) in MASKS:
            parts, frames = (_rois if kind == RTSTRUCT else _segments)(file, [])
            called = (str(file.get(name) or "") for name in _DESCRIPTIONS)
            told = next(filter(None, called), "")
            return MaskHeader(" ".join(told.split()), frozenset(frames), parts, frozenset(_unlikely(file)))
    return None


def _unlikely(file: "Dataset") -> Iterator[int]:
    for each in file.get("SegmentSequence") or ():
        category = each.get("SegmentedPropertyCategoryCodeSequence")
        if category and category[0].get("CodeValue") in _ANATOMY:
            yield int(each.SegmentNumber)
    for each in file.get("RTROIObservationsSequence") or ():
        if str(each.get("RTROIInterpretedType", "")).upper() in _AROUND_A_LESION:
            yield int(each.ReferencedROINumber)


def _complain_of_frame(found: set[str], wanted: str, name: str, notes: list[str]) -> None:
    """Raises an `UnusablePixels` where places of mask and scan do not compare."""
    if not wanted or not found:
        notes.append("No frame of reference tells that it is of this scan; its places count as they are.")
    elif other := found - {wanted}:
        raise UnusablePixels(
            f"{name} has another frame of reference ({min(other)}) than the scan ({wanted}), so that their "
            "places do not compare; give the mask of this scan"
        )


def _segments(file: "Dataset", notes: list[str]) -> tuple[dict[int, str], set[str]]:
    """Returns {number: label} and the frames of reference of a SEG."""
    if file.get("SegmentationType") == "FRACTIONAL":
        notes.append("It holds fractions; a voxel counts from one half on.")
    names = {int(each.SegmentNumber): str(each.get("SegmentLabel", "")) for each in file.SegmentSequence}
    return names, {str(file.get("FrameOfReferenceUID", ""))} - {""}


def _of_frames(file: "Dataset", numbers: list[int], image: Volume, name: str) -> Marks:
    from pydicom.pixels import iter_pixels

    to_voxel, shared = np.linalg.inv(image.affine) @ _TO_RAS, file.SharedFunctionalGroupsSequence[0]
    least = int(file.MaximumFractionalValue) / 2 if file.get("SegmentationType") == "FRACTIONAL" else 1
    for frame, own in zip(iter_pixels(file), file.PerFrameFunctionalGroupsSequence, strict=True):

        def of(keyword: str, own: "Dataset" = own) -> "Dataset":
            return (own if keyword in own else shared)[keyword].value[0]  # what all frames share is told once

        row_mm, column_mm = map(float, of("PixelMeasuresSequence").PixelSpacing)
        axes = np.reshape(of("PlaneOrientationSequence").ImageOrientationPatient, (2, 3)).astype(float)
        corner = np.array(of("PlanePositionSequence").ImagePositionPatient, float)
        # From (column, row, 1) to the voxel (x, y, z).
        steps = to_voxel[:3, :3] @ (axes * [[column_mm], [row_mm]]).T
        exact = np.column_stack([steps, to_voxel[:3, :3] @ corner + to_voxel[:3, 3]])
        whole = np.rint(exact).astype(int)
        ends = np.array([(c, r, 1) for c in (0, frame.shape[1] - 1) for r in (0, frame.shape[0] - 1)])
        steps = np.abs(whole[:, :2])
        off = np.abs((exact - whole) @ ends.T).max()
        if (steps.sum(0) != 1).any() or (steps.sum(1) > 1).any() or off > _OFF:
            raise UnusablePixels(f"{name} lies on another grid than the scan; export it on the scan's own")
        rows, columns = np.nonzero(frame >= least)
        voxels = np.stack([columns, rows, np.ones_like(rows)], axis=1) @ whole.T
        _complain_if_outside(voxels, image, name)
        if file.SOPClassUID == LABELMAP:
            for number in set(frame[rows, columns].tolist()) & {*numbers}:
                yield number, voxels[frame[rows, columns] == number]
        else:
            yield int(of("SegmentIdentificationSequence").ReferencedSegmentNumber), voxels


def _rois(file: "Dataset", notes: list[str]) -> tuple[dict[int, str], set[str]]:
    """Returns {number: name} of the ROIs that may be lesions, and the frames of reference of all."""
    told = file.get("RTROIObservationsSequence") or []
    kinds = {int(each.ReferencedROINumber): str(each.get("RTROIInterpretedType", "")) for each in told}
    names, left_out, frames = {}, [], set()
    for roi in file.StructureSetROISequence:
        number, called = int(roi.ROINumber), str(roi.get("ROIName", ""))
        frames.add(str(roi.get("ReferencedFrameOfReferenceUID", "")))
        if (kind := kinds.get(number, "").upper()) in _NO_LESION:
            left_out.append(f"{number} {called} ({kind})")
            continue
        names[number] = called
    if left_out:
        notes.append(f"Left out, for they are no lesions by their type: {listed(left_out)}.")
    return names, frames - {""}


def _of_contours(file: "Dataset", numbers: list[int], image: Volume, name: str) -> Marks:
    to_voxel, sizes = np.linalg.inv(image.affine) @ _TO_RAS, image.grid[::-1]
    for roi in file.ROIContourSequence:
        if (number := int(roi.ReferencedROINumber)) not in numbers:
            continue
        planes: dict[tuple[int, int], list[np.ndarray]] = {}
        for contour in roi.get("ContourSequence") or ():
            if not str(contour.ContourGeometricType).startswith("CLOSED"):
                kind = contour.ContourGeometricType
                raise UnusablePixels(f"{name} has a contour of ROI {number} that is no area ({kind})")
            places = np.reshape(contour.ContourData, (-1, 3)).astype(float)
            points = places @ to_voxel[:3, :3].T + to_voxel[:3, 3]
            axis = int(np.ptp(points, axis=0).argmin())  # across the slice that it lies in
            plane = int(np.rint(points[:, axis].mean()))
            if np.abs(points[:, axis] - plane).max() > _OFF_PLANE:
                raise UnusablePixels(f"{name} has contours between the scan's slices; give that of this scan")
            inner = points + np.sign(points.mean(axis=0) - points) * 0.5  # half a pixel goes around the last
            _complain_if_outside(np.rint(inner).astype(int), image, name)
            planes.setdefault((axis, plane), []).append(np.delete(points, axis, axis=1).round(4))
        for (axis, plane), polygons in planes.items():
            width, height = np.delete(sizes, axis)
            rows, columns = np.nonzero(filled(polygons, (height, width)))
            yield number, np.insert(np.stack([columns, rows], axis=1), axis, plane, axis=1)


def _complain_if_outside(voxels: np.ndarray, image: Volume, name: str) -> None:
    if len(voxels) and (voxels.min() < 0 or (voxels.max(axis=0) >= image.grid[::-1]).any()):
        raise UnusablePixels(f"{name} marks what lies outside of the scan; give the mask of this scan")
