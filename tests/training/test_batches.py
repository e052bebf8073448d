"""Every slice once an epoch, in an order and with changes that follow from seed and epoch alone."""

import dataclasses
import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metseg.data.cases import CaseFiles, SliceFiles
from metseg.preprocessing.pipeline import Preprocessing
from metseg.training import cache as caches
from metseg.training import network_slices
from metseg.training.augment import Augmentation
from metseg.training.batches import EpochBatches, drawn_rows, resized
from metseg.training.cache import SliceCache, open_cache
from metseg.training.config import Learning

SLICES, SIZE = 11, 16


@pytest.fixture
def cache() -> SliceCache:
    """Slice n is of grey value 10 n + 5 with a square of side n + 2."""
    images = np.zeros((SLICES, SIZE, SIZE, 3), np.uint8)
    masks = np.zeros((SLICES, SIZE, SIZE), bool)
    for n in range(SLICES):
        images[n] = 10 * n + 5
        masks[n, : n + 2, : n + 2] = True
    table = pd.DataFrame({"case_id": "A", "patient_id": "A", "slice_index": range(SLICES), "lesion_px": 4})
    return SliceCache(images, masks, table, "f")


def epoch_of(cache: SliceCache, epoch: int = 0, **changes) -> EpochBatches:
    options = {"rows": np.arange(SLICES), "batch_size": 4, "augmentation": None, "seed": 3, **changes}
    rows = options.pop("rows")
    return EpochBatches(cache, rows, epoch=epoch, **options)


def everything(batches: EpochBatches) -> tuple[np.ndarray, np.ndarray]:
    images, masks = zip(*(batches[k] for k in range(len(batches))), strict=True)
    return np.concatenate(images), np.concatenate(masks)


def test_regions_move_together(cache):
    """Of three regions, the second half of the first, the third nothing."""
    several = np.stack([cache.masks, np.zeros_like(cache.masks), np.zeros_like(cache.masks)], axis=-1)
    several[:, : SIZE // 2, :, 1] = cache.masks[:, : SIZE // 2]
    regions = dataclasses.replace(cache, masks=several)
    augmentation = Augmentation(elastic=0.02)
    images, masks = everything(epoch_of(cache, augmentation=augmentation))
    same, moved = everything(epoch_of(regions, augmentation=augmentation))
    assert moved.shape == (SLICES, SIZE, SIZE, 3) and moved.dtype == np.float32
    np.testing.assert_array_equal(same, images)
    np.testing.assert_array_equal(moved[..., :1], masks)
    assert (moved[..., 1] <= moved[..., 0]).all() and 0 < moved[..., 1].sum() < moved[..., 0].sum()
    assert not moved[..., 2].any()
    (_, small), (_, one) = (everything(epoch_of(each, size=SIZE // 2)) for each in (regions, cache))
    np.testing.assert_array_equal(small[..., :1], one)
    first = next(iter(epoch_of(regions).prepared_ahead()))
    np.testing.assert_array_equal(first[1], epoch_of(regions)[0][1])


def order_of(batches: EpochBatches) -> list[int]:
    """Which slices came, told by their grey value."""
    return [round((float(image[0, 0, 0]) * 255 - 5) / 10) for image in everything(batches)[0]]


def test_every_row_comes_once_and_with_its_own_mask(cache):
    batches = epoch_of(cache)
    assert len(batches) == 3
    assert [len(batches[k][0]) for k in range(3)] == [4, 4, 3]
    assert sorted(order_of(batches)) == list(range(SLICES))
    masks = everything(batches)[1]
    assert [int(mask.sum()) for mask in masks] == [(n + 2) ** 2 for n in order_of(batches)]


def test_shapes_types_and_values_are_those_of_the_network(cache):
    images, masks = epoch_of(cache)[0]
    assert images.shape == (4, SIZE, SIZE, 3) and images.dtype == np.float32
    assert masks.shape == (4, SIZE, SIZE, 1) and masks.dtype == np.float32
    assert set(np.unique(masks)) == {0, 1}
    row = order_of(epoch_of(cache))[0]
    assert (images[0] == cache.images[row].astype(np.float32) / 255).all()


def test_shrinking_by_hand():
    images = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    masks = np.array([[[0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]]], bool)
    small, small_masks = resized(images, masks, 2)
    assert small.dtype == np.float32 and small[0, ..., 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    assert small_masks.tolist() == [[[False, False], [True, True]]]  # a quarter, none, half, all
    assert resized(images, masks, 1)[0].tolist() == [[[[7.5]]]]
    same = resized(images, masks, 4)
    assert same[0] is images and same[1] is masks


def test_a_coarse_epoch_is_the_same_epoch_but_smaller(cache):
    whole, coarse = epoch_of(cache), epoch_of(cache, size=SIZE // 2)
    assert order_of(coarse) == order_of(whole)
    images, masks = everything(coarse)
    assert images.shape == (SLICES, SIZE // 2, SIZE // 2, 3) and masks.shape == (
        SLICES,
        SIZE // 2,
        SIZE // 2,
        1,
    )
    # A square of side n + 2 ends within a pixel of 2 × 2 where n is odd: half of it, a quarter at the corner.
    sides = [(n + 2) / 2 for n in order_of(whole)]
    assert [int(mask.sum()) for mask in masks] == [
        round(s * s) if s % 1 == 0 else int((s + 0.5) ** 2) - 1 for s in sides
    ]


@pytest.mark.parametrize("rows", [[2, 5, 7], [4]])
def test_only_the_rows_asked_for_come(cache, rows):
    batches = epoch_of(cache, rows=np.array(rows))
    assert sorted(order_of(batches)) == rows
    assert len(batches) == 1


def test_the_order_differs_by_epoch_and_by_seed(cache):
    orders = [order_of(epoch_of(cache, epoch)) for epoch in range(5)]
    orders.append(order_of(epoch_of(cache, seed=4)))
    assert len({tuple(order) for order in orders}) == 6
    assert list(range(SLICES)) not in orders


def test_seed_and_epoch_are_not_added_up(cache):
    assert order_of(epoch_of(cache, 1, seed=0)) != order_of(epoch_of(cache, 0, seed=1))


@pytest.mark.parametrize("augmentation", [None, Augmentation(noise=0.05, elastic=0.03)])
def test_an_epoch_made_anew_is_the_same(cache, augmentation):
    first = everything(epoch_of(cache, 2, augmentation=augmentation))
    again = everything(epoch_of(cache, 2, augmentation=augmentation))
    other = everything(epoch_of(cache, 3, augmentation=augmentation))
    assert (first[0] == again[0]).all() and (first[1] == again[1]).all()
    assert not (first[0] == other[0]).all()


def test_a_batch_asked_for_twice_or_out_of_order_is_the_same(cache):
    batches = epoch_of(cache, augmentation=Augmentation(noise=0.05))
    last, first = batches[2], batches[0]
    assert (last[0] == batches[2][0]).all() and (
        first[0] == epoch_of(cache, augmentation=Augmentation(noise=0.05))[0][0]
    ).all()


def test_augmentation_does_not_depend_on_the_size_of_a_batch(cache):
    small = everything(epoch_of(cache, augmentation=Augmentation(), batch_size=2))
    large = everything(epoch_of(cache, augmentation=Augmentation(), batch_size=SLICES))
    assert (small[0] == large[0]).all() and (small[1] == large[1]).all()


def test_a_slice_is_augmented_differently_in_every_epoch_and_unlike_its_neighbours(cache):
    moved = Augmentation(gamma=0, brightness=0, shift=0.3)
    same = SliceCache(cache.images, np.repeat(cache.masks[5:6], SLICES, axis=0), cache.slices, "f")
    masks = np.concatenate([everything(epoch_of(same, epoch, augmentation=moved))[1] for epoch in (0, 1)])
    assert len({mask.tobytes() for mask in masks}) > SLICES
    assert set(np.unique(masks)) == {0, 1}


@pytest.fixture
def heads() -> SliceCache:
    """Six heads: rows 0 and 1 have a lesion of grey 200, rows 2 and 3 of 250, rows 4 and 5 none."""
    y, x = np.ogrid[:64, :64]
    images = np.zeros((6, 64, 64, 3), np.uint8)
    images[:, (y - 32) ** 2 + (x - 32) ** 2 < 28**2] = 100
    masks = np.zeros((6, 64, 64), bool)
    masks[:4, 28:36, 28:36] = True
    images[:2][masks[:2]], images[2:4][masks[2:4]] = 200, 250
    table = pd.DataFrame({"case_id": "A", "patient_id": "A", "slice_index": range(6), "lesion_px": 0})
    return SliceCache(images, masks, table.assign(lesion_px=masks.sum(axis=(1, 2))), "f")


STILL = dict.fromkeys(("rotation_deg", "shift", "zoom", "gamma", "brightness"), 0.0) | {"flip": False}


def test_lesions_are_pasted_from_slices_of_the_same_epoch(heads):
    rows, pasting = np.array([0, 1, 4, 5]), Augmentation(copy_paste=1.0, **STILL)
    for epoch in range(5):
        images, masks = everything(epoch_of(heads, epoch, rows=rows, augmentation=pasting))
        assert (masks.sum(axis=(1, 2, 3)) >= 64).all() and images.max() <= np.float32(201 / 255)
    again = everything(epoch_of(heads, 4, rows=rows, augmentation=pasting, batch_size=3))
    assert (again[0] == images).all() and (again[1] == masks).all()
    none = everything(epoch_of(heads, rows=np.array([4, 5]), augmentation=pasting))
    assert not none[1].any()  # nobody to give


def test_a_share_of_the_slices_gets_a_lesion(heads):
    rare = Augmentation(copy_paste=0.3, **STILL)
    masks = [
        everything(epoch_of(heads, epoch, rows=np.arange(6), augmentation=rare))[1] for epoch in range(50)
    ]
    empty = sum(int((each.sum(axis=(1, 2, 3)) == 0).sum()) for each in masks)
    assert 0.6 < empty / 100 < 0.8  # of two slices without a lesion, fifty times


def test_the_cache_is_not_changed(cache):
    before = cache.images.copy(), cache.masks.copy()
    everything(epoch_of(cache, augmentation=Augmentation(noise=0.1)))
    assert (cache.images == before[0]).all() and (cache.masks == before[1]).all()


def rows_of(cache, epoch, **changes):
    learning = Learning(**{"exclude_empty": False, **changes})
    return set(drawn_rows(cache, cache.rows(("P1", "P2")), learning, epoch=epoch).tolist())


def test_an_epoch_takes_all_lesions_and_as_many_empty_slices_drawn_anew():
    lesion_px = [0, 5, 0, 0, 0, 0, 0, 0, 7, 9]  # the last row is of a patient who is not asked for
    slices = pd.DataFrame({"patient_id": ["P1"] * 5 + ["P2"] * 4 + ["P3"], "lesion_px": lesion_px})
    cache = SliceCache(np.zeros((10, 4, 4, 3), np.uint8), np.zeros((10, 4, 4), bool), slices, "")
    epochs = [rows_of(cache, epoch) for epoch in range(20)]
    assert all({1, 8} < rows and len(rows) == 4 and 9 not in rows for rows in epochs)
    assert set.union(*epochs) == set(range(9))  # over some epochs every empty slice has its turn
    assert rows_of(cache, 3) == epochs[3]
    assert rows_of(cache, 0, exclude_empty=True) == {1, 8}
    assert rows_of(cache, 0, balance_empty=False) == set(range(9))


def test_a_set_with_few_or_no_empty_or_lesion_slices_is_taken_whole():
    slices = pd.DataFrame({"patient_id": ["P1", "P1", "P2"], "lesion_px": [3, 4, 0]})
    cache = SliceCache(np.zeros((3, 4, 4, 3), np.uint8), np.zeros((3, 4, 4), bool), slices, "")
    assert rows_of(cache, 0) == {0, 1, 2}
    without = SliceCache(cache.images, cache.masks, slices.assign(lesion_px=0), "")
    assert rows_of(without, 0) == {0, 1, 2}


def memory_of(slices: int, folder: Path) -> np.ndarray:
    """Bytes that stay allocated, and the most there were, from opening a cache to its third batch."""
    file = folder / "any.tif"
    file.touch()
    files = tuple(SliceFiles(z, file, file) for z in range(50))
    cases = [CaseFiles(f"TCGA_CS_{k}_19990101", f"TCGA_CS_{k}", files) for k in range(slices // 50)]
    config = Preprocessing(image_size=SIZE)
    open_cache(cases, config, folder=folder)
    gc.collect()
    tracemalloc.start()
    try:
        cache = open_cache(cases, config, folder=folder)
        learning = Learning(exclude_empty=False, balance_empty=False)
        rows = drawn_rows(cache, cache.rows(tuple(case.patient_id for case in cases)), learning, epoch=0)
        batches = epoch_of(cache, rows=rows, augmentation=Augmentation())
        assert [len(batches[k][0]) for k in range(3)] == [4, 4, 4] and len(rows) == slices
        gc.collect()
        return np.array(tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()


def test_memory_hardly_grows_with_the_data_set(tmp_path, monkeypatch):
    def blank(case: CaseFiles, config: Preprocessing) -> network_slices.NetworkSlices:
        shape = (len(case.slices), config.image_size, config.image_size)
        images, masks = np.zeros((*shape, 3), np.uint8), np.zeros(shape, bool)
        known = np.zeros(shape[0], int), [""] * shape[0], frozenset()
        return network_slices.NetworkSlices(images, masks, *known)

    monkeypatch.setattr(network_slices, "network_slices", blank)
    monkeypatch.setattr(caches, "fingerprint", lambda cases: "none")
    memory_of(100, tmp_path)  # what is made once, such as pandas's own tables
    few, many = memory_of(1_000, tmp_path), memory_of(5_000, tmp_path)
    stay, most = (many - few) / 4_000
    # 20 of the table and some of its text, its row number twice; the 1024 of its pixels stay on the disk.
    assert stay < 64
    assert most < 160  # while the table is read


@pytest.mark.parametrize("neighbours", [0, 1])
def test_prepared_ahead_they_are_the_same(cache, neighbours):
    batches = epoch_of(dataclasses.replace(cache, neighbours=neighbours))
    prepared = batches.prepared_ahead()
    assert len(prepared) == len(batches)
    for made, k in zip(prepared, range(len(batches)), strict=True):
        for a, b in zip(made, batches[k], strict=True):
            np.testing.assert_array_equal(np.asarray(a), b)
    # Tuned by itself, it would hold each epoch up when it is thrown away.
    assert prepared.options().autotune.enabled is False


def places_and_lesions(side: int, patch: int, rows: int) -> SliceCache:
    """Slices whose first two channels tell row and column; a pixel and a square of 20 are lesion."""
    images = np.zeros((rows, side, side, 3), np.uint8)
    images[..., 0], images[..., 1] = np.arange(side)[:, None] + 20, np.arange(side) + 20
    masks = np.zeros((rows, side, side), bool)
    masks[:, 5, 7] = masks[:, 40:60, 40:60] = True
    table = pd.DataFrame({"case_id": "A", "patient_id": "A", "slice_index": range(rows), "lesion_px": 401})
    return SliceCache(images, masks, table, "f")


def test_patches_hold_small_lesions_as_often_as_large_ones():
    side, patch, rows = 64, 16, 400
    cache = places_and_lesions(side, patch, rows)
    batches = epoch_of(cache, rows=np.arange(rows), patch=patch)
    images, masks = everything(batches)
    assert images.shape == (rows, patch, patch, 3) and masks.shape == (rows, patch, patch, 1)
    y, x = (np.rint(images[:, 0, 0, k] * 255).astype(int) - 20 for k in (0, 1))
    for image, mask, row, column in zip(images, masks, y, x, strict=True):
        np.testing.assert_array_equal(
            mask[..., 0], cache.masks[0, row : row + patch, column : column + patch]
        )
        assert np.rint(image[-1, -1, 0] * 255) == row + patch - 1 + 20
    small = masks.sum((1, 2, 3)) == 1
    assert 0.2 < small.mean() < 0.4  # a quarter by intention, and some by chance
    np.testing.assert_array_equal(everything(epoch_of(cache, rows=np.arange(rows), patch=patch))[0], images)
    spec, _ = batches.prepared_ahead().element_spec
    assert spec.shape[1:3] == (patch, patch)


def test_what_moves_into_a_patch_comes_from_around_it():
    cache = places_and_lesions(64, 16, 40)
    images, _ = everything(
        epoch_of(cache, rows=np.arange(40), patch=16, augmentation=Augmentation(rotation_deg=45, gamma=0))
    )
    # Far from the slice's edge nothing is empty, which it were if the patch had been cut first.
    middle = images[(images[:, 8, 8, :2] > 40 / 255).all(1) & (images[:, 8, 8, :2] < 60 / 255).all(1)]
    assert len(middle) and (middle[..., :2] > 0).all()


def test_a_slice_without_lesion_gives_a_patch_of_its_head():
    side, rows = 64, 100
    images = np.zeros((rows, side, side, 3), np.uint8)
    images[:, 40:, 40:] = 200
    table = pd.DataFrame({"case_id": "A", "patient_id": "A", "slice_index": range(rows), "lesion_px": 0})
    cache = SliceCache(images, np.zeros((rows, side, side), bool), table, "f")
    seen, _ = everything(epoch_of(cache, rows=np.arange(rows), patch=16))
    assert (seen.max((1, 2, 3)) > 0).mean() > 0.9
