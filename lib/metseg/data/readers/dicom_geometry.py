"""Where DICOM slices lie: their order and affine, or what keeps them from being one volume."""

from collections.abc import Sequence

import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.readers.dicom_headers import Frame

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_COUNTS = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
_LEAST_MM, _MOST_MM = 1e-3, 1e6  # of pixels, and of positions; all else is a damaged header
_SAME_MM = 0.01  # two positions nearer than that are one
_SAME_COSINE = 1e-3
_UNEVEN = 0.1  # of the distance between slices
_TILT = np.sin(np.deg2rad(0.3))  # what rounded cosines may pretend


def same_place(frame: Frame) -> tuple | None:
    """Returns a key that frames at one place share; None where the header tells no place."""
    position, cosines = _numbers(frame, "ImagePositionPatient"), _numbers(frame, "ImageOrientationPatient")
    if position is None or cosines is None:
        return None
    return tuple(np.round(position, 2)), tuple(np.round(cosines, 2))


def arrange(frames: Sequence[Frame]) -> tuple[list[Frame], np.ndarray, list[str]]:
    """Orders slices by their position along the normal, never by name or number.

    Args:
        frames: The slices of one series, no two at one place.

    Returns:
        The slices in order; the affine, voxel (x, y, z, 1) → mm in RAS+, from DICOM's LPS; and notes. As z
        runs along row × column, array and affine are right-handed always.

    Raises:
        MetsegError: They make no volume. The text goes on after the series' name.

    Reference:
        DICOM PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1.
    """
    told = {keyword: [_numbers(frame, keyword) for frame in frames] for keyword in _COUNTS}
    for keyword, values in told.items():
        for frame, value in zip(frames, values, strict=True):
            if value is None or (keyword == "PixelSpacing" and min(value) < _LEAST_MM):
                unknown = "sizes are" if keyword == "PixelSpacing" else "left and right are"
                raise MetsegError(
                    f"tells no {keyword} (in {frame.path.name}), so that {unknown} unknown; "
                    "export the scanner's own images"
                )
    positions, cosines, spacing = map(np.array, told.values())
    row, column = cosines[0, :3], cosines[0, 3:]
    if np.abs(cosines - cosines[0]).max() > _SAME_COSINE:
        planes = len({tuple(np.rint(each * 100).astype(int)) for each in cosines})
        raise MetsegError(
            f"holds slices of {planes} orientations, as a localiser does; give the files of one alone"
        )
    if abs(row @ column) > 0.01 or max(abs(row @ row - 1), abs(column @ column - 1)) > 0.02:
        raise MetsegError(
            "has an ImageOrientationPatient that is no pair of perpendicular unit vectors; export it again"
        )
    row, column = row / np.linalg.norm(row), column / np.linalg.norm(column)
    shapes = {(int(frame.header["Rows"]), int(frame.header["Columns"])) for frame in frames}
    if len(shapes) > 1 or np.ptp(spacing, axis=0).max() > _SAME_COSINE:
        raise MetsegError(
            f"holds slices of several sizes or pixel spacings ({_listed(shapes)}); export it again"
        )
    normal = np.cross(row, column)
    order = np.argsort(positions @ normal, kind="stable")
    positions, frames = positions[order], [frames[k] for k in order]
    step, notes = _step(positions, normal, frames)
    affine = np.eye(4)
    # PixelSpacing is (between rows, between columns): its second number is the step along a row.
    affine[:3] = np.stack([row * spacing[0][1], column * spacing[0][0], step, positions[0]], axis=1)
    return frames, LPS_TO_RAS @ affine, notes


def _step(positions: np.ndarray, normal: np.ndarray, frames: Sequence[Frame]) -> tuple[np.ndarray, list[str]]:
    """Returns the (3,) mm in LPS from a slice to the next, and notes."""
    header = frames[0].header
    if len(positions) == 1:
        thickness = header.get("SliceThickness") or header.get("SpacingBetweenSlices") or 0
        if not _LEAST_MM <= thickness < _MOST_MM:
            raise MetsegError("is one slice of unknown thickness; give the folder with all its slices")
        return normal * thickness, [
            f"It is one slice; that it is {thickness:g} mm thick is what its header says."
        ]
    gaps = np.diff(positions @ normal)
    if gaps.min() < _SAME_MM:
        raise MetsegError(
            "holds several slices at one position; give the files of one image a position alone"
        )
    usual = float(np.percentile(gaps, 50, method="lower"))
    if (wide := np.flatnonzero(gaps > 1.5 * usual)).size:
        k = wide[0]
        lost = int(sum(np.rint(gaps[wide] / usual) - 1))
        raise MetsegError(
            f"lacks {lost} slice{'s' * (lost != 1)}: {gaps[k]:.2f} mm lie between {frames[k].path.name} and "
            f"{frames[k + 1].path.name}, {usual:.2f} mm elsewhere; copy the whole series"
        )
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    length = np.linalg.norm(step)
    shear = np.linalg.norm(step - (step @ normal) * normal) / length
    if shear > _TILT:
        tilt = np.rad2deg(np.arcsin(shear))
        raise MetsegError(
            f"was taken with a gantry tilt of {tilt:.1f}° (its slices are sheared); export it resampled"
        )
    off = np.linalg.norm(positions - positions[0] - np.arange(len(positions))[:, None] * step, axis=1).max()
    if off > _UNEVEN * length:
        raise MetsegError(
            f"has uneven slices, up to {off:.2f} mm off an even stack of {length:.2f} mm; export it resampled"
        )
    told = header.get("SpacingBetweenSlices")
    if told is not None and abs(abs(told) - length) > _UNEVEN * length:
        return step, [
            f"Its slices lie {length:.4g} mm apart by position, which was taken; its header says {told:g} mm."
        ]
    return step, []


def _numbers(frame: Frame, keyword: str) -> np.ndarray | None:
    value, count = frame.header.get(keyword), _COUNTS[keyword]
    usable = value and len(value) == count and np.abs(value).max() < _MOST_MM
    return np.array(value) if usable else None


def _listed(shapes: set[tuple[int, int]]) -> str:
    return ", ".join(f"{rows} × {columns}" for rows, columns in sorted(shapes))
