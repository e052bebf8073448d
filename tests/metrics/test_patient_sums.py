"""Scans of one patient added by hand: voxels of one size count, voxels of several sizes are weighed."""

import numpy as np
import pandas as pd
import pytest

from metseg.metrics.case_scores import evaluate_case
from metseg.metrics.compare import combine_cases
from metseg.metrics.patient_sums import patient_sums, voxel_mm3


def scans(*sizes):
    """Of patient a two scans, of b one; voxels 10 and 20, and 5."""
    table = pd.DataFrame({"patient_id": ["a", "b", "a"], "ref": [10, 5, 20]})
    return table.assign(voxel_mm3=sizes) if sizes else table


@pytest.mark.parametrize(
    "sizes", [(), (np.nan,) * 3, (2.0, 7.0, 2.0), (2.0, 7.0, 2.0004), (2.0, 1.0, np.nan)]
)
def test_voxels_of_one_size_or_unknown_are_counted(sizes):
    assert patient_sums(scans(*sizes), ["ref"]).ref.to_dict() == {"a": 30, "b": 5}


def test_voxels_of_several_sizes_are_weighed():
    sums = patient_sums(scans(1.0, 7.0, 0.5), ["ref"])
    assert sums.ref.to_dict() == {"a": 10 * 1.0 + 20 * 0.5, "b": 5}


def test_a_visit_in_thin_slices_does_not_count_for_more():
    """10 mm3 found whole in 20 voxels, 10 mm3 missed in 2 voxels: half is found."""
    rows = []
    for visit, (voxels, found, spacing_mm) in {"1": (20, 20, (0.5, 1, 1)), "2": (2, 0, (5, 1, 1))}.items():
        mask_ref = np.arange(40).reshape(1, 5, 8) < voxels
        row, _ = evaluate_case(mask_ref, np.arange(40).reshape(1, 5, 8) < found, spacing_mm=spacing_mm)
        rows.append({"patient_id": "a", "case_id": visit, **row})
    combined = combine_cases(pd.DataFrame(rows)).loc["a"]
    assert combined.dice == pytest.approx(2 * 10 / (20 + 10)) and combined.recall == pytest.approx(0.5)
    assert (combined.precision, combined.ref_voxels) == (1.0, 22)
    unknown = pd.DataFrame(rows).assign(voxel_mm3=np.nan)
    assert combine_cases(unknown).dice["a"] == pytest.approx(2 * 20 / (22 + 20))


def test_voxel_mm3():
    assert voxel_mm3((5.0, 0.5, 0.4)) == pytest.approx(1.0) and np.isnan(voxel_mm3(None))
