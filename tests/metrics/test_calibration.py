"""Calibration, by hand and on probabilities whose truth is known."""

import numpy as np
import pytest

from metseg.metrics.calibration import (
    at_temperature,
    count_pixels,
    expected_calibration_error,
    fit_temperature,
    reliability,
    with_temperature,
)


def counts_of(p: list[float], lesion: list[int]) -> np.ndarray:
    return count_pixels(np.float32(p), np.array(lesion, bool))


def test_reliability_by_hand():
    # 0.001 is passed over, lesion or not; 1.0 belongs to the last class.
    counts = counts_of([0.001, 0.001, 0.12, 0.18, 0.18, 1.0], [0, 1, 0, 1, 0, 1])
    table = reliability(counts)
    assert table.pixels.tolist() == [3, 1]
    assert table.probability.tolist() == pytest.approx([0.16, 1.0])
    assert table.lesion_share.tolist() == pytest.approx([1 / 3, 1])
    assert expected_calibration_error(counts) == pytest.approx((3 * (1 / 3 - 0.16) + 0) / 4)
    (one,) = reliability(counts, bins=1).itertuples()
    assert one.pixels == 4 and one.lesion_share == pytest.approx(1 / 2)


def test_scans_add_up():
    p, lesion = [0.3, 0.6, 0.9, 0.31], [0, 1, 1, 1]
    parts = counts_of(p[:2], lesion[:2]) + counts_of(p[2:], lesion[2:])
    np.testing.assert_allclose(parts, counts_of(p, lesion))


def test_nothing_to_count():
    nothing = counts_of([0.0, 0.001], [0, 0])
    assert np.isnan(expected_calibration_error(nothing)) and fit_temperature(nothing) == 1


@pytest.mark.parametrize(
    ("p", "temperature", "expected"), [(0.8, 1, 0.8), (0.8, 2, 2 / 3), (2 / 3, 0.5, 0.8)]
)
def test_temperature_by_hand(p, temperature, expected):
    # 0.8 has the odds 4, and 2/3 the odds 2, their root.
    assert with_temperature(p, temperature) == pytest.approx(expected)


def test_counts_at_another_temperature_by_hand():
    counts = at_temperature(counts_of([0.8, 0.8, 0.5], [1, 0, 1]), 2)
    assert counts.sum(axis=1).tolist() == pytest.approx([3, 2 * 2 / 3 + 0.5, 2])
    table = reliability(counts)
    assert table.probability.tolist() == pytest.approx([0.5, 2 / 3]) and table.pixels.tolist() == [1, 2]


def test_temperature_leaves_a_half_and_the_order():
    p = np.linspace(0, 1, 101)
    for temperature in (0.2, 3):
        after = with_temperature(p, temperature)
        assert after[50] == pytest.approx(0.5)
        assert (np.diff(after) > 0).all() and after.min() >= 0 and after.max() <= 1


@pytest.mark.parametrize("temperature", [0.5, 1, 2.5])
def test_a_temperature_is_found_again(temperature):
    """Lesions are drawn with the very probabilities that a network then says too surely, or too little so."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.25, 0.75, 200_000)  # so that nothing comes to lie below 0.01
    lesion = rng.random(truth.size) < truth
    said = with_temperature(truth, 1 / temperature)
    counts = count_pixels(said, lesion)
    assert fit_temperature(counts) == pytest.approx(temperature, rel=0.05)
    assert expected_calibration_error(at_temperature(counts, temperature)) < 0.01
    cooled = count_pixels(with_temperature(said, temperature), lesion)
    assert expected_calibration_error(cooled) < 0.01
