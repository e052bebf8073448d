"""Thresholds and operating points from two scans whose lesions are counted by hand; no network."""

import numpy as np
import pytest

from metseg.data.volume import Case, Labels, Volume
from metseg.export.operating_points import LESION_THRESHOLDS, ValidationScan, candidates, settle
from metseg.masks.components import expit, label_lesions, log_odds
from metseg.masks.postprocess import Postprocessing, postprocess

MM = (1.0, 1.0, 1.0)


def scan(patient_id: str, *blobs: tuple[int, float, bool]) -> ValidationScan:
    """A row of cubes: (side, score, whether it is a lesion); from front to back log odds fall by 0.1.

    Sides of 2, 4 and 7 voxels have the volume of balls of 2.5, 5.0 and 8.7 mm.
    """
    prob_map, mask = np.zeros((9, 9, 60), np.float32), np.zeros((9, 9, 60), bool)
    at = 1
    for side, score, is_lesion in blobs:
        box = (slice(1, 1 + side), slice(1, 1 + side), slice(at, at + side))
        prob_map[box] = expit(log_odds(score) + np.linspace(0.05, -0.05, side))[:, None, None]
        mask[box] = is_lesion
        at += side + 2
    volume = Volume(np.zeros((1, *mask.shape), np.uint8), ("t1c",), spacing_mm=MM)
    return ValidationScan.of(Case(volume, Labels.of_mask(mask), f"{patient_id}-0", patient_id), prob_map)


SCANS = [
    scan("A", (2, 0.62, True), (4, 0.87, True), (7, 0.96, True), (2, 0.52, False), (2, 0.32, False)),
    scan("B", (2, 0.32, True), (4, 0.72, True), (2, 0.72, False), (2, 0.32, False), (2, 0.32, False)),
]


def test_a_scan_is_kept_in_its_box():
    kept = SCANS[0]
    assert kept.box[0] == 7 and kept.spacing_mm == MM and len(kept.places) == 3 * 8 + 64 + 343 + 8 - 8
    assert kept.prob_map.max() == pytest.approx(0.9619, abs=1e-4) and kept.mask_ref.sum() == 8 + 64 + 343


def test_thresholds_and_points_by_hand():
    found = settle(SCANS, Postprocessing())
    # From 0.3 on lesions are whole, and from 0.2 on the same: 0.3 is nearer to the training's 0.5.
    assert found.settings.postprocessing.threshold == 0.3
    points = {each.lesion_threshold: each for each in found.settings.operating_points.points}
    assert [*points] == sorted(LESION_THRESHOLDS)
    assert found.settings.operating_points.lesions == {"< 3": 2, "3–6": 2, "6–10": 1, "≥ 10": 0, "all": 5}
    assert found.settings.operating_points.scans == found.settings.operating_points.patients == 2
    low, high = points[0.3], points[0.7]
    assert low.found == {"< 3": 2, "3–6": 2, "6–10": 1, "≥ 10": 0, "all": 5}
    assert low.false_positives_per_scan == 2.5
    assert high.found == {"< 3": 0, "3–6": 2, "6–10": 1, "≥ 10": 0, "all": 3}
    assert high.false_positives_per_scan == 0.5
    assert points[0.4].false_positives_per_scan == 1.0
    # 4 of 5 at one false positive a scan or at half of one, which is from 0.525 to 0.6: of four the third
    assert found.settings.postprocessing.lesion_threshold == 0.575
    assert points[0.575].found["all"] == 4 and points[0.575].false_positives_per_scan == 0.5
    assert found.settings.operating_points.within(1.0) == points[0.575]


def test_what_a_point_tells_is_what_its_mask_shows():
    found = settle(SCANS, Postprocessing())
    for point in found.settings.operating_points.points:
        setting = found.settings.postprocessing.detecting_from(point.lesion_threshold)
        hits = 0
        for each in SCANS:
            mask = postprocess(each.prob_map, setting)
            hits += len(np.unique(label_lesions(each.mask_ref)[mask & each.mask_ref]))
        assert hits == point.found["all"]


def test_where_detection_is_below_extent_the_extent_follows():
    """The lesion is marked well from 0.8 on, but a second one reaches 0.3 alone, and nothing is false."""
    prob_map, mask = np.zeros((9, 9, 40), np.float32), np.zeros((9, 9, 40), bool)
    prob_map[1:8, 1:8, 1:8] = 0.45
    prob_map[2:6, 2:6, 2:6] = 0.9
    mask[2:6, 2:6, 2:6] = mask[2:4, 2:4, 20:22] = True
    prob_map[2:4, 2:4, 20:22] = 0.42
    volume = Volume(np.zeros((1, *mask.shape), np.uint8), ("t1c",), spacing_mm=MM)
    case = Case(volume, Labels.of_mask(mask), "A-0", "A")
    found = settle([ValidationScan.of(case, prob_map)], Postprocessing())
    setting = found.settings.postprocessing
    assert setting.lesion_threshold <= 0.4 and setting.threshold == setting.lesion_threshold
    assert found.settings.operating_points.at(setting.lesion_threshold).found["all"] == 2


def test_an_own_tumour_is_neither_found_nor_missed_nor_invented():
    """The largest of A and the faint one of B were there before; what marks them is no false positive."""
    own = [np.zeros_like(each.is_lesion) for each in SCANS]
    numbers = [label_lesions(each.mask_ref).flat[each.places] for each in SCANS]
    own[0], own[1] = numbers[0] == 3, numbers[1] == 1
    some = [each._replace(is_own=of) for each, of in zip(SCANS, own, strict=True)]
    every, found = settle(SCANS, Postprocessing()), settle(some, Postprocessing())
    points = found.settings.operating_points
    assert points.lesions == {"< 3": 1, "3–6": 2, "6–10": 0, "≥ 10": 0, "all": 3} and points.set_aside == 2
    assert points.at(0.3).found == points.lesions and points.at(0.7).found["all"] == 2
    for at in (0.3, 0.4, 0.7):
        of_all = every.settings.operating_points.at(at)
        assert points.at(at).false_positives_per_scan == of_all.false_positives_per_scan
    assert (len(candidates(some, 0.3)), candidates(some, 0.3).real.sum()) == (8, 3)
    assert settle([each._replace(is_own=each.is_lesion) for each in SCANS], Postprocessing()) == every


def test_candidates_of_all_scans():
    table = candidates(SCANS, 0.3)
    assert len(table) == 10 and table.real.sum() == 5
    assert sorted(expit(table.log_odds).round(2))[-3:] == [0.72, 0.87, 0.96]


def test_few_candidates_are_not_calibrated():
    found = settle(SCANS, Postprocessing()).settings.lesion_calibration
    assert (found.candidates, found.lesions, found.slope) == (10, 5, None)
    assert (
        found.probability(0.9) is None and "10 candidates" in found.told and "5 of them false" in found.told
    )


def test_a_calibration_rises_with_the_probability():
    blobs = [((2, 0.95, True), (2, 0.7, k % 2 == 0), (2, 0.4, k == 0), (2, 0.4, False)) for k in range(8)]
    found = settle([scan("A", *row) for row in blobs], Postprocessing()).settings.lesion_calibration
    assert (found.candidates, found.lesions, found.least) == (32, 8 + 4 + 1, 0.3)
    low, middle, high = map(found.probability, (0.4, 0.7, 0.95))
    assert low == pytest.approx(1 / 16, abs=0.1) and middle == pytest.approx(0.5, abs=0.15) and high > 0.85
    assert found.probability(0.2) is None


def test_a_network_that_marks_nothing():
    found = settle([scan("A", (4, 0.01, True))], Postprocessing())
    settings = found.settings
    assert found.dice == 0 and settings.postprocessing.threshold == 0.5
    assert settings.operating_points.fewest().found["all"] == 0
    assert settings.lesion_calibration.candidates == 0
