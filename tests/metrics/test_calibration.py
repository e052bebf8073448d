"""A logistic fit whose answer is known."""

import numpy as np
import pytest

from metseg.metrics.calibration import fit_logistic


def test_two_scores_get_their_own_shares():
    """With two scores any pair of shares can be met: of targets 0.9 and 0.1 for 8 of 8 and 8 others."""
    scores = np.repeat([-1.0, 1.0], 8)
    slope, intercept = fit_logistic(scores, scores > 0)
    assert 1 / (1 + np.exp(-slope - intercept)) == pytest.approx(0.9, abs=1e-4)
    assert 1 / (1 + np.exp(slope - intercept)) == pytest.approx(0.1, abs=1e-4)


def test_known_odds_are_found_again():
    scores = np.random.default_rng(0).normal(0, 2, 20_000)
    real = np.random.default_rng(1).random(20_000) < 1 / (1 + np.exp(-0.7 * scores + 1))
    assert fit_logistic(scores, real) == pytest.approx((0.7, -1), abs=0.06)


def test_scores_that_tell_nothing():
    slope, intercept = fit_logistic(np.tile([-1.0, 1.0], 20), np.arange(40) % 4 < 2)
    assert (slope, intercept) == pytest.approx((0, 0), abs=1e-3)
