"""Metastases anew in each epoch: the same from the same seed, and the table says what masks show."""

import numpy as np
import pandas as pd
import pytest
from tiny_scans import tiny_config

from metseg.base.errors import MetsegError, MetsegWarning
from metseg.data.phantom.visits import draw_visits
from metseg.training.cache import SliceCache
from metseg.training.inserted import InsertedScans

REGIONS = ("TC", "ET", "WT")
DEPTH = 30


@pytest.fixture(scope="module")
def cache():
    """Two drawn heads as a cache holds them, without a tumour; the second one all noise."""
    volume = draw_visits(1, slices=DEPTH, size=84)[0].volume
    grey = np.stack([volume.array[volume.channels.index(each)] for each in ("t1", "flair", "t1c")], axis=-1)
    head = np.clip(grey / grey.max() * 255, 0, 255).astype(np.uint8)
    noise = np.random.default_rng(0).integers(1, 255, head.shape, dtype=np.uint8)
    names = ["head"] * DEPTH + ["noise"] * DEPTH
    table = pd.DataFrame({"case_id": names, "patient_id": names, "lesion_px": 0})
    masks = np.zeros((2 * DEPTH, 84, 84, 3), bool)
    affines = {"head": volume.affine, "noise": volume.affine}
    return SliceCache(np.concatenate([head, noise]), masks, table, "f", affines)


def scans(cache: SliceCache, *, regions=REGIONS, seed: int = 0, rows=slice(DEPTH)) -> InsertedScans:
    chosen = np.arange(len(cache.slices))[rows]
    return InsertedScans(cache, chosen, regions=regions, count=1, seed=seed, epochs=3)


@pytest.fixture(scope="module")
def epochs(cache):
    """The first two epochs of the first scan."""
    drawn = scans(cache)
    return [drawn.epoch(k) for k in range(2)]


def test_each_epoch_has_its_own_and_a_seed_gives_them_again(cache, epochs):
    again, epochs = scans(cache), [found for found, _ in epochs]
    assert epochs[0].masks.any() and not np.array_equal(epochs[0].masks, epochs[1].masks)
    resumed = again.epoch(1)[0]  # as after an interruption, without the epoch before
    assert np.array_equal(resumed.images, epochs[1].images)
    assert np.array_equal(resumed.masks, epochs[1].masks)
    assert not np.array_equal(scans(cache, seed=1).epoch(0)[0].masks, epochs[0].masks)


def test_table_and_regions_are_what_the_masks_show(cache, epochs):
    found, rows = epochs[0]
    core, enhancing, whole = np.moveaxis(found.masks, -1, 0)
    assert rows.tolist() == list(range(DEPTH)) and set(found.slices.case_id) == {"head"}
    assert found.slices.lesion_px.tolist() == core.sum((1, 2)).tolist()
    assert not (enhancing & ~core).any() and not (core & ~whole).any() and enhancing.any()
    far = ~np.isin(np.arange(DEPTH), np.flatnonzero(whole.any((1, 2)))[:, None] + np.arange(-4, 5))
    assert np.array_equal(found.images[far], cache.images[:DEPTH][far])
    assert not cache.masks.any()  # what is kept stays as it is


def test_one_region_alone(cache, epochs):
    core = SliceCache(cache.images, cache.masks[..., 0], cache.slices, "f", cache.affines)
    alone, (three, _) = scans(core, regions=("TC",)).epoch(0)[0], epochs[0]
    assert np.array_equal(alone.masks, three.masks[..., 0]) and np.array_equal(alone.images, three.images)


def test_own_tumour_stays(cache):
    own = cache.masks.copy()
    own[12:16, 30:36, 30:36] = True
    own[12:16, 28:38, 28:38, 2] = True
    found, _ = scans(SliceCache(cache.images, own, cache.slices, "f", cache.affines)).epoch(0)
    assert np.array_equal(found.masks & own[:DEPTH], own[:DEPTH])


def test_a_scan_that_takes_none_is_named_and_learned_from_as_it_is(cache):
    both = InsertedScans(cache, np.arange(2 * DEPTH), regions=REGIONS, count=2, seed=0, epochs=1)
    with pytest.warns(MetsegWarning, match="noise takes no metastases"):
        found, _ = both.epoch(0)
    assert np.array_equal(found.images[DEPTH:], cache.images[DEPTH:]) and found.masks[:DEPTH].any()
    with pytest.raises(MetsegError, match="no scan takes metastases"), pytest.warns(MetsegWarning):
        scans(cache, rows=slice(DEPTH, None)).epoch(0)


def test_a_scan_that_lacks_a_sequence_takes_none(cache):
    images = cache.images.copy()
    images[DEPTH:] = images[:DEPTH]
    images[DEPTH:, ..., 1] = images[DEPTH:, ..., 2]  # post-contrast for FLAIR
    both = SliceCache(images, cache.masks, cache.slices, "f", cache.affines)
    made = InsertedScans(both, np.arange(2 * DEPTH), regions=REGIONS, count=2, seed=0, epochs=1)
    with pytest.warns(MetsegWarning, match="noise takes no metastases: flair and t1c"):
        found, _ = made.epoch(0)
    assert np.array_equal(found.images[DEPTH:], images[DEPTH:]) and found.masks[:DEPTH].any()


def test_unknown_place_is_refused(cache):
    with pytest.raises(MetsegError, match="head"):
        scans(SliceCache(cache.images, cache.masks, cache.slices, "f", {"head": None}))


@pytest.mark.parametrize(
    "wrong", [{"target": "1,3"}, {"target": ""}, {"clip_limit": 2.0}, {"intensity": "slice"}]
)
def test_what_does_not_go_with_it_is_refused(wrong):
    fine = {"target": "TC+WT", "clip_limit": 0.0, "intensity": "tissue", "inserted_scans": 2}
    assert tiny_config("x", **fine).learning.inserted_scans == 2
    with pytest.raises(MetsegError, match="inserted_scans"):
        tiny_config("x", **{**fine, **wrong})
