"""Which operating point is taken, and what is told of it; a table of five lesions in two scans."""

import math

import pytest

from metseg.base.errors import MetsegError
from metseg.inference.operating_points import (
    LesionCalibration,
    MaskSettings,
    OperatingPoints,
    expected,
    told_of,
)
from metseg.masks.postprocess import Postprocessing

SIZES = ("< 3", "3–6", "6–10", "≥ 10")
ROWS = [  # threshold, false positives a scan, found by size
    (0.3, 2.5, (2, 2, 1, 0)),
    (0.5, 1.0, (1, 2, 1, 0)),
    (0.6, 0.5, (1, 2, 1, 0)),
    (0.7, 0.5, (1, 2, 1, 0)),
    (0.8, 0.5, (1, 2, 1, 0)),
    (0.9, 0.25, (0, 1, 1, 0)),
]


def counts(found: tuple[int, ...]) -> dict[str, int]:
    return dict(zip(SIZES, found, strict=True)) | {"all": sum(found)}


POINTS = OperatingPoints(
    rule="voxel",
    score="mean log odds",
    patients=2,
    scans=2,
    lesions=counts((2, 2, 1, 0)),
    points=[
        {"lesion_threshold": at, "false_positives_per_scan": false, "found": counts(found)}
        for at, false, found in ROWS
    ],
)
OWN = Postprocessing(threshold=0.4).detecting_from(0.7)
SETTINGS = MaskSettings(postprocessing=OWN, operating_points=POINTS)


@pytest.mark.parametrize(
    ("wanted", "taken"), [(3, 0.3), (2.5, 0.3), (2, 0.7), (0.5, 0.7), (0.3, 0.9), (0.25, 0.9)]
)
def test_most_lesions_at_no_more_false_positives(wanted, taken):
    """0.6 to 0.8 find as many as 0.5 at fewer false positives, and the middle of them is taken."""
    assert POINTS.within(wanted).lesion_threshold == taken


def test_where_there_are_always_more():
    assert POINTS.within(0.1) is None and POINTS.fewest().lesion_threshold == 0.9
    with pytest.raises(MetsegError, match="unet .*0.1 false positives.*0.25"):
        SETTINGS.within(0.1, "unet")
    with pytest.raises(MetsegError, match="unet has no operating points"):
        MaskSettings(postprocessing=Postprocessing()).within(1, "unet")


def test_settings_of_a_point():
    assert SETTINGS.within(1, "unet") == SETTINGS
    for wanted, threshold, lesion_threshold in ((0.25, 0.4, 0.9), (9, 0.3, 0.3)):
        taken = Postprocessing(threshold=threshold, lesion_threshold=lesion_threshold)
        assert SETTINGS.within(wanted, "unet") == SETTINGS.model_copy(update={"postprocessing": taken})


def test_a_point_in_a_sentence():
    text = POINTS.told(POINTS.at(0.51))
    for part in ("1 false positive a scan", "50 % of lesions < 3 mm (n = 2)", "100 % of 3–6 mm (n = 2)"):
        assert part in text
    assert "5 lesions of 2 patients" in text and "10 mm" not in text.replace("6–10 mm", "")


def test_nothing_is_expected_of_other_settings():
    assert expected(POINTS, OWN, OWN).lesion_threshold == 0.7
    assert expected(POINTS, OWN, OWN.detecting_from(0.32)).lesion_threshold == 0.3
    for other in ({"threshold": 0.5}, {"min_lesion_px": 3}, {"fill_holes": True}, {"lesion_threshold": None}):
        assert expected(POINTS, OWN, OWN.model_copy(update=other)) is None
    assert expected(None, OWN, OWN) is None and told_of(None, OWN, OWN) == ""


def test_a_calibrated_probability_by_hand():
    found = LesionCalibration(slope=2, intercept=-1, least=0.3, candidates=40, lesions=10)
    assert found.probability(0.5) == pytest.approx(1 / (1 + math.e))
    assert found.probability(0.8) == pytest.approx(16 / (16 + math.e))  # odds 4, squared, by e
    assert found.probability(1.0) == found.probability(0.99999) < 1
    assert found.probability(0.29) is None and found.probability(None) is None
    assert "n = 40" in found.told and "10 of them" in found.told


def test_what_is_not_calibrated_is_called_so():
    found = LesionCalibration(least=0.3, candidates=1, lesions=1)
    assert found.probability(0.9) is None
    assert "not calibrated" in found.told and "1 candidate in" in found.told
