"""Patches of volumes: half of them at a lesion, small ones as often as large; by seed, epoch and number."""

import numpy as np
import pandas as pd
import pytest
from tiny_scans import tiny_config

from metseg.base.errors import MetsegError
from metseg.training.augment import Augmentation, augment_pair, augment_patch
from metseg.training.cache import SliceCache
from metseg.training.patches import CaseVolume, PatchBatches, case_volumes, patch_batches

DEPTHS, SIDE = {"a": 12, "b": 3, "c": 6}, 24
PATCH = (4, 8, 8)


@pytest.fixture
def cache() -> SliceCache:
    """Slice n has grey value 20 + n; lesions: `a` one of a voxel and one of 200, `b` of a voxel, `c` none."""
    depth = sum(DEPTHS.values())
    images = np.broadcast_to(
        np.arange(20, 20 + depth, dtype=np.uint8)[:, None, None, None], (depth, SIDE, SIDE, 3)
    )
    masks = np.zeros((depth, SIDE, SIDE), bool)
    masks[1, 2, 3] = masks[13, 20, 4] = True
    masks[6:8, 10:20, 10:20] = True
    names = np.repeat(list(DEPTHS), list(DEPTHS.values()))
    table = pd.DataFrame({"case_id": names, "patient_id": names, "lesion_px": masks.sum((1, 2))})
    return SliceCache(np.array(images), masks, table, "f")


@pytest.fixture
def volumes(cache) -> list[CaseVolume]:
    return case_volumes(cache, np.arange(len(cache.images)))


def drawn(cache, volumes, *, count=200, epoch=0, augmentation=None) -> PatchBatches:
    options = {"batch_size": 2, "augmentation": augmentation, "seed": 5, "epoch": epoch}
    return PatchBatches(cache, volumes, patch_size=PATCH, count=count, **options)


def test_cases_are_volumes(volumes, cache):
    assert [(each.patient_id, each.first, each.depth) for each in volumes] == [
        ("a", 0, 12),
        ("b", 12, 3),
        ("c", 15, 6),
    ]
    assert [len(each.lesions) for each in volumes] == [2, 1, 0]
    small, large = volumes[0].lesions
    assert small.tolist() == [[1, 2, 3]] and 100 <= len(large) <= 200
    assert cache.masks[tuple(large.T)].all() and volumes[1].lesions[0].tolist() == [[1, 20, 4]]
    (alone,) = case_volumes(cache, np.arange(12, 15))
    assert alone.first == 12
    with pytest.raises(MetsegError, match="a is a slice alone"):
        case_volumes(SliceCache(cache.images[:1], cache.masks[:1], cache.slices[:1], "f"), np.array([0]))


def test_every_other_patch_holds_a_lesion_and_the_small_one_has_its_share(cache, volumes):
    batches = drawn(cache, volumes)
    assert len(batches) == 100
    small, held = 0, 0
    for k in range(len(batches)):
        images, masks = batches[k]
        assert images.shape == (2, *PATCH, 3) and masks.shape == (2, *PATCH, 1)
        assert images.dtype == masks.dtype == np.float32
        assert masks[0].any()
        held += masks[1].any()
        small += masks[0].sum() == 1
    assert held < 50
    # Of `b` half of them, and half of `a`'s for its small lesion.
    assert 60 <= small <= 90


def test_a_patch_is_the_volumes_own(cache, volumes):
    images, masks = drawn(cache, volumes)[0]
    grey = np.rint(images[0, :, 0, 0, 0] * 255).astype(int) - 20
    grey = grey[grey >= 0]
    assert (np.diff(grey) == 1).all()  # slices in order, of one case
    table = cache.slices.case_id.to_numpy()[grey]
    assert len(set(table)) == 1


def test_a_volume_of_fewer_slices_is_seen_on_black(cache, volumes):
    images, masks = drawn(cache, volumes[1:2])[0]
    assert images[0, :3].min() > 0 and not images[0, 3:].any() and masks[0].sum() == 1


def test_an_epoch_follows_from_seed_epoch_and_number(cache, volumes):
    config = Augmentation(rotation_deg=20, elastic=0.02)
    first, again = (drawn(cache, volumes, augmentation=config)[3] for _ in range(2))
    other = drawn(cache, volumes, augmentation=config, epoch=1)[3]
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
    assert set(np.unique(first[1])) <= {0, 1} and first[0].min() >= 0 and first[0].max() <= 1
    assert len(drawn(cache, volumes, count=5)) == 3 and len(drawn(cache, volumes, count=5)[2][0]) == 1
    ahead = list(drawn(cache, volumes, count=3).prepared_ahead())
    assert [images.shape[0] for images, _ in ahead] == [2, 1]


def test_several_regions_keep_their_channels(cache):
    masks = np.stack([cache.masks, np.ones_like(cache.masks)], axis=-1)
    both = SliceCache(cache.images, masks, cache.slices, "f")
    volumes = case_volumes(both, np.arange(12))
    assert len(volumes[0].lesions) == 2
    _, drawn_masks = drawn(both, volumes, augmentation=Augmentation(shift=0, rotation_deg=0, zoom=0))[0]
    assert drawn_masks.shape == (2, *PATCH, 2) and drawn_masks[..., 1].all() and not drawn_masks[..., 0].all()


def test_slices_of_a_patch_are_changed_alike():
    rng = np.random.default_rng(2)
    one, mask = rng.integers(0, 256, (16, 16, 3), np.uint8), rng.random((16, 16)) > 0.5
    config = Augmentation(rotation_deg=40, elastic=0.05, modality_dropout=0.5)
    kind = (config, np.random.default_rng(3))
    images, masks = augment_patch(np.stack([one] * 3), np.stack([mask] * 3), (0, 0), 16, *kind)
    assert (images == images[0]).all() and (masks == masks[0]).all()
    # And as a slice is: grey values are rounded before and not after they are moved.
    image, own = augment_pair(one.astype(np.float32) / 255, mask, config, np.random.default_rng(3))
    np.testing.assert_allclose(images[0], image, atol=0.05)
    np.testing.assert_array_equal(masks[0], own)


def test_a_patch_at_rest_is_cut_where_it_lies():
    rng = np.random.default_rng(2)
    slices, masks = rng.integers(0, 256, (2, 16, 16, 3), np.uint8), rng.random((2, 16, 16)) > 0.5
    still = Augmentation(rotation_deg=0, shift=0, zoom=0, flip=False, gamma=0, brightness=0)
    image, mask = augment_patch(slices, masks, (3, 5), 8, still, rng)
    np.testing.assert_allclose(image, slices[:, 3:11, 5:13] / 255, atol=1e-6)
    np.testing.assert_array_equal(mask, masks[:, 3:11, 5:13])


def test_how_many_an_epoch_has(cache, volumes):
    options = {"rank": 3, "patch_size": (4, 8, 8), "batch_size": 4, "epoch_patches": 10}
    config = tiny_config("x", **options)
    assert len(patch_batches(cache, volumes, config, epoch=0)) == 3
    assert len(patch_batches(cache, volumes, config, epoch=0, most=4)) == 1
