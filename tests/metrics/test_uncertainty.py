"""Calibration and uncertainty by hand."""

import numpy as np
import pytest

from metseg.metrics.uncertainty import (
    count_pixels,
    entropy,
    expected_calibration_error,
    reliability,
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
