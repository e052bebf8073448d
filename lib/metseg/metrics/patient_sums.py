"""A patient's scans together: their voxels added, by what a voxel is worth."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

_SAME_SIZE = 1e-3  # of a voxel's volume: headers round


def voxel_mm3(spacing_mm: tuple[float, float, float] | None) -> float:
    """Returns the volume of a voxel; nan where its spacing is unknown."""
    return np.nan if spacing_mm is None else float(np.prod(spacing_mm))


def patient_sums(scans: pd.DataFrame, counts: Sequence[str]) -> pd.DataFrame:
    """Adds what was counted in each patient's scans.

    Voxels are added as they are; where a patient's scans have voxels of different volume, and all are known,
    each is weighed by its own in mm³, so that a visit in thin slices does not count for more.

    Args:
        scans: One row a scan: patient_id, the counts, and `voxel_mm3` if it is known (nan where it is not).
        counts: Columns of voxels.

    Returns:
        Table indexed by patient_id, sorted: the counts, in voxels of one size or in mm³.
    """
    sizes = scans["voxel_mm3"] if "voxel_mm3" in scans else pd.Series(np.nan, scans.index)
    by_patient = sizes.groupby(scans["patient_id"])
    known = by_patient.transform(lambda each: each.notna().all())
    differ = by_patient.transform("max") > (1 + _SAME_SIZE) * by_patient.transform("min")
    table = scans[list(counts)].groupby(scans["patient_id"]).sum()
    if (weighed := known & differ).any():
        in_mm3 = scans.loc[weighed, list(counts)].mul(sizes[weighed], axis=0)
        sums = in_mm3.groupby(scans.loc[weighed, "patient_id"]).sum()
        table = table.astype(float)
        table.loc[sums.index] = sums
    return table
