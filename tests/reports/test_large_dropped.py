"""Two boxes of known size and probability, voxels of 2 × 1 × 1 mm."""

import numpy as np
import pytest

from metseg.masks.postprocess import Postprocessing
from metseg.reports.large_dropped import large_dropped

SPACING = (2.0, 1.0, 1.0)


@pytest.fixture
def prob_map() -> np.ndarray:
    found = np.zeros((20, 40, 40), np.float32)
    found[2:12, 2:22, 2:22] = 0.8  # 4000 voxels, 8 ml
    found[15:18, 25:35, 25:35] = 0.7  # 300 voxels, 0.6 ml
    return found


def told(prob_map, lesion_threshold, spacing_mm=SPACING, **options) -> tuple[str, ...]:
    settings = Postprocessing(threshold=0.3, lesion_threshold=lesion_threshold, **options)
    return large_dropped(prob_map, settings, spacing_mm)


def test_what_is_large_is_told_where_its_score_keeps_it_out(prob_map):
    (sentence,) = told(prob_map, 0.9)
    assert "8.0 ml" in sentence and "0.9" in sentence
    assert not told(prob_map, 0.75)  # it is in the mask; the small one is left out
    assert not told(prob_map, 0.75, min_lesion_px=1000)  # not its score keeps it out
    assert not told(prob_map, None)


def test_the_largest_first_from_four_millilitres_on(prob_map):
    prob_map[15:20, 0:20, 0:20] = 0.5  # 2000 voxels: 4 ml
    assert ["8.0 ml" in each for each in told(prob_map, 0.9)] == [True, False]
    prob_map[15, 0, 0] = 0
    assert len(told(prob_map, 0.9)) == 1


def test_nothing_is_said_of_voxels_of_unknown_size(prob_map):
    assert not told(prob_map, 0.9, None)
