"""The Dice of whole volumes by windows, worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from tiny_scans import tiny_config

from metseg.training.cache import SliceCache
from metseg.training.patches import case_volumes
from metseg.training.volume_validation import validate_volumes


class FakeModel:
    """Says the logits of the probabilities that are hidden in the first channels, a head each."""

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        p = np.clip(images[..., :2], 1e-6, 1 - 1e-6)
        return np.log(p / (1 - p))


def test_by_hand():
    masks = np.zeros((8, 16, 16), bool)
    masks[2, :4, :4] = masks[6, :2, :2] = True  # 16 voxels of a, 4 of b
    images = np.zeros((8, 16, 16, 3), np.uint8)
    images[2, 2:6, :4] = 255  # a: 16 found, 8 of them right
    images[6, :2, :2, 0] = 255  # b: one head is sure, the other not at all: 1/2 in the mean
    names = ["a"] * 5 + ["b"] * 3
    table = pd.DataFrame({"case_id": names, "patient_id": names, "lesion_px": masks.sum((1, 2))})
    cache = SliceCache(images, masks, table, "f")
    config = tiny_config("x", rank=3, patch_size=(4, 8, 8), epoch_patches=4, batch_size=2, threshold=0.49)
    found = validate_volumes(FakeModel(), cache, case_volumes(cache, np.arange(8)), config)
    assert found.dice == pytest.approx((0.5 + 1) / 2) and not found.predicts_nothing
    assert np.isfinite(found.loss) and found.loss > 0
    blind = SliceCache(np.zeros_like(images), masks, table, "f")
    assert validate_volumes(FakeModel(), blind, case_volumes(blind, np.arange(8)), config)[1:3] == (0, True)
