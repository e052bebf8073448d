"""Regions that contain each other, on five voxels in a row."""

import numpy as np
import pytest

from metseg.base.errors import MetsegError
from metseg.masks.postprocess import Postprocessing
from metseg.masks.regions import complain_of_other_regions, label_map, nested, region_masks

# ET sticks out of TC, and TC out of WT.
FOUND = {"TC": [0, 1, 1, 0, 0], "ET": [0, 0, 1, 1, 0], "WT": [1, 0, 1, 0, 0]}


def of(*names: str) -> dict[str, np.ndarray]:
    return {name: np.array(FOUND[name], bool) for name in names}


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("TC ET WT", {"TC": [0, 1, 1, 0, 0], "ET": [0, 0, 1, 0, 0], "WT": [1, 1, 1, 0, 0]}),
        ("ET TC WT", {"ET": [0, 0, 1, 1, 0], "TC": [0, 1, 1, 1, 0], "WT": [1, 1, 1, 1, 0]}),
        ("WT TC ET", {"WT": [1, 0, 1, 0, 0], "TC": [0, 0, 1, 0, 0], "ET": [0, 0, 1, 0, 0]}),
        ("WT ET", {"WT": [1, 0, 1, 0, 0], "ET": [0, 0, 1, 0, 0]}),
        ("ET", {"ET": [0, 0, 1, 1, 0]}),
    ],
)
def test_the_main_region_stays_and_the_others_follow(order, expected):
    given = of(*order.split())
    found = nested(given)
    assert {name: mask.astype(int).tolist() for name, mask in found.items()} == expected
    assert [*found] == order.split()
    assert {name: mask.astype(int).tolist() for name, mask in given.items()} == {k: FOUND[k] for k in given}


def test_other_regions_stay_as_they_are():
    given = {"RC": np.array([1, 0, 0, 0, 1], bool), **of("TC", "ET")}
    found = nested(given)
    assert (found["RC"] == given["RC"]).all() and (found["TC"] == given["TC"]).all()
    assert found["ET"].astype(int).tolist() == [0, 0, 1, 0, 0]


def test_the_numbers_of_the_label_map():
    labels = label_map(nested(of("TC", "ET", "WT")))
    assert labels.dtype == np.uint8 and labels.tolist() == [2, 1, 3, 0, 0]


@pytest.mark.parametrize("names", [("lesion",), ("TC", "ET"), ("TC", "ET", "WT", "RC")])
def test_no_label_map_of_other_regions(names):
    with pytest.raises(MetsegError, match=", ".join(names)):
        complain_of_other_regions(names)


def test_lesions_are_chosen_by_the_main_region_alone():
    """The second lesion in a row of voxels is too faint to be kept; what surrounds it is not."""
    row = {"TC": [0.9, 0.5, 0, 0, 0.5, 0.5, 0], "ET": [0.5, 0, 0, 0, 0.5, 0, 0]}
    row["WT"] = [0.5, 0.5, 0.5, 0, 0, 0.5, 0.5]
    maps = {name: np.array(p, np.float32)[None, None] for name, p in row.items()}
    found = region_masks(maps, Postprocessing(threshold=0.4, lesion_threshold=0.6), 0.0)
    expected = {"TC": [1, 1, 0, 0, 0, 0, 0], "ET": [1, 0, 0, 0, 0, 0, 0], "WT": [1, 1, 1, 0, 0, 1, 1]}
    assert {name: mask[0, 0].astype(int).tolist() for name, mask in found.items()} == expected
    assert [*found] == ["TC", "ET", "WT"]
