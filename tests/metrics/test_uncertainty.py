"""Calibration and uncertainty by hand."""

import numpy as np
import pytest

from metseg.metrics.uncertainty import (
    count_errors,
    count_pixels,
    entropy,
    expected_calibration_error,
    reliability,
    retention,
    retention_gain,
)


def test_reliability_by_hand():
    # 0.001 is passed over, lesion or not; 1.0 belongs to the last class; the counts of two scans add up.
    p, lesion = [0.001, 0.001, 0.12, 0.18, 0.18, 1.0], [0, 1, 0, 1, 0, 1]
    counts = sum(count_pixels(np.float32(p[k::2]), np.array(lesion[k::2], bool)) for k in (0, 1))
    table = reliability(counts)
    assert table.pixels.tolist() == [3, 1]
    assert table.probability.tolist() == pytest.approx([0.16, 1.0])
    assert table.lesion_share.tolist() == pytest.approx([1 / 3, 1])
    assert expected_calibration_error(counts) == pytest.approx((3 * (1 / 3 - 0.16) + 0) / 4)
    nothing = count_pixels(np.float32([0.0, 0.001]), np.zeros(2, bool))
    assert reliability(nothing).empty and np.isnan(expected_calibration_error(nothing))


def test_entropy_by_hand():
    found = entropy(np.float32([0, 0.25, 0.5, 0.75, 1]))
    quarter = 0.25 * 2 + 0.75 * np.log2(4 / 3)
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx([0, quarter, 1, quarter, 0], abs=1e-4)


def test_the_decision_is_most_uncertain_at_its_threshold():
    # Odds of 1/4 at the threshold: 0.5 has the odds 1, four times as many, and so the entropy of 4/5.
    found = entropy(np.float32([0.2, 0.5]), threshold=0.2)
    assert found.tolist() == pytest.approx([1, -0.8 * np.log2(0.8) - 0.2 * np.log2(0.2)], abs=1e-4)


def counts_of(uncertainty: list[float], wrong: list[int]) -> np.ndarray:
    return count_errors(np.float32(uncertainty), np.array(wrong, bool))


def at(table, referred: float):
    (row,) = table[np.isclose(table.referred, referred)].drop_duplicates().itertuples()
    return row


def test_retention_by_hand():
    counts = counts_of([0.9, 0.7, 0.5, 0.1], [1, 0, 1, 0])
    table = retention(counts)
    assert [at(table, share).errors_left for share in (0, 0.25, 0.5, 0.75, 1)] == [1, 0.5, 0.5, 0, 0]
    # By the trapezoid rule; below the ideal lies a triangle of 1/4.
    ours = 0.5 - 0.25 * ((1 + 0.5) / 2 + (0.5 + 0.5) / 2 + (0.5 + 0) / 2 + 0)
    assert retention_gain(counts) == pytest.approx(ours / (0.5 - 0.25))


def test_scans_add_up():
    u, wrong = np.float32([0.9, 0.2, 0.4, 1.0]), np.array([1, 0, 0, 1], bool)
    parts = count_errors(u[:2], wrong[:2]) + count_errors(u[2:], wrong[2:])
    np.testing.assert_array_equal(parts, count_errors(u, wrong))
    assert parts.sum(axis=1).tolist() == [4, 2]


@pytest.mark.parametrize(
    ("uncertainty", "gain"), [([0.9, 0.8, 0.2, 0.1], 1), ([0.5] * 4, 0), ([0.1, 0.2, 0.8, 0.9], -1)]
)
def test_gain_from_the_worst_to_the_best(uncertainty, gain):
    assert retention_gain(counts_of(uncertainty, [1, 1, 0, 0])) == pytest.approx(gain)


def test_nothing_or_everything_wrong():
    assert retention(counts_of([0.1, 0.3], [0, 0])).errors_left.isna().all()
    assert np.isnan(retention_gain(counts_of([0.1, 0.3], [0, 0])))
    assert np.isnan(retention_gain(counts_of([0.1, 0.3], [1, 1])))
