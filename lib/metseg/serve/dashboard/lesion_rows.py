"""The lesions of a volume as the rows of the viewer's table."""

import numpy as np

from metseg.inference.operating_points import LesionCalibration
from metseg.masks.measure import MeasuredLesion


def centre_of(lesion: MeasuredLesion) -> tuple[int, int, int]:
    """Returns the voxel (z, y, x) that is nearest to a lesion's centroid."""
    return tuple(int(np.rint(each)) for each in lesion.centroid)


def rating_of(calibration: LesionCalibration | None) -> dict:
    """Returns what a row's "rated" is, as `VolumeViewer.rating` has it."""
    if calibration is None:
        return {}
    share = calibration.slope is not None
    return {"title": "A lesion" if share else "Score", "told": calibration.told, "share": share}


def row_of(lesion: MeasuredLesion, calibration: LesionCalibration | None) -> dict:
    """Returns one of `VolumeViewer.lesions`."""
    rated = lesion.score
    if calibration is not None and calibration.slope is not None:
        rated = calibration.probability(rated)
    return {
        "number": lesion.number,
        "voxels": lesion.voxels,
        "volume_mm3": lesion.volume_mm3,
        "longest_mm": lesion.longest.mm,
        "longest_px": lesion.longest.px,
        "mean_probability": lesion.mean_probability,
        "rated": rated,
        "centre": list(centre_of(lesion)),
    }
