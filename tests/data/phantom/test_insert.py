"""Synthetic metastases: where they lie, what the table says of them, and that nothing else is changed."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from metseg.base.errors import MetsegError
from metseg.data.phantom.insert import insert_metastases
from metseg.data.phantom.insert_shapes import KINDS, draw_count, draw_shapes
from metseg.data.phantom.insert_sites import find_sites
from metseg.data.phantom.visits import ET, NETC, SNFH, draw_visits
from metseg.data.volume import Labels, Volume
from metseg.masks.components import label_lesions

BRATS_18 = {"ET": frozenset({4}), "TC": frozenset({1, 4}), "WT": frozenset({1, 2, 4})}


@pytest.fixture(scope="module")
def scan():
    """A drawn head of 3.3 × 2 × 2 mm; what was drawn is its own tumour, as BraTS 2018 marks it."""
    drawn = draw_visits(1, slices=30, size=84)[0]
    left = drawn.labels.copy()
    left[left == ET] = 4
    return drawn.volume, Labels(left, BRATS_18)


@pytest.fixture(scope="module")
def sites(scan):
    return find_sites(*scan, margin_mm=6)


@pytest.fixture(scope="module")
def made(scan, sites):
    return insert_metastases(*scan, np.random.default_rng(5), sites=sites, count=8)


def own(labels: Labels) -> np.ndarray:
    return labels.array > 0


def test_same_seed_same_voxels(scan, sites, made):
    again = insert_metastases(*scan, np.random.default_rng(5), sites=find_sites(*scan, margin_mm=6), count=8)
    other = insert_metastases(*scan, np.random.default_rng(6), sites=sites, count=8)
    assert np.array_equal(again.volume.array, made.volume.array)
    assert np.array_equal(again.labels.array, made.labels.array) and again.lesions == made.lesions
    assert not np.array_equal(other.volume.array, made.volume.array)


def test_table_is_what_the_mask_shows(scan, made):
    new = np.isin(made.labels.array, (ET, NETC)) & ~own(scan[1])
    assert np.array_equal(new, made.inserted > 0)
    components = label_lesions(np.isin(made.labels.array, (ET, NETC)))
    voxel_mm3 = np.prod(made.volume.spacing_mm)
    assert len(made.lesions) >= 6 and {lesion.kind for lesion in made.lesions} <= set(KINDS)
    for lesion in made.lesions:
        voxels = made.inserted == lesion.number
        number = components[voxels][0]
        assert np.array_equal(components == number, voxels)  # whole, and touches no other
        assert lesion.voxels == voxels.sum()
        assert lesion.volume_mm3 == pytest.approx(voxels.sum() * voxel_mm3)
        assert lesion.core_mm3 == pytest.approx((voxels & (made.labels.array == NETC)).sum() * voxel_mm3)
        z, y, x = np.argwhere(voxels).mean(axis=0)
        assert lesion.centroid_voxel == pytest.approx((z, y, x))
        assert lesion.centroid_mm == pytest.approx((made.volume.affine @ (x, y, z, 1))[:3])
    oedema = (made.labels.array == SNFH) & ~own(scan[1])
    assert sum(lesion.oedema_mm3 for lesion in made.lesions) == pytest.approx(oedema.sum() * voxel_mm3)


def test_away_from_the_own_tumour_and_within_the_brain(scan, made):
    volume, labels = scan
    distance = ndimage.distance_transform_edt(~own(labels), volume.spacing_mm)
    assert distance[made.inserted > 0].min() >= 5
    assert (volume.array[:, made.inserted > 0] != 0).any(axis=0).all()
    kept = own(labels)
    assert np.array_equal(made.labels.array[kept], np.where(labels.array == 4, ET, labels.array)[kept])
    assert np.array_equal(made.volume.array[:, kept], volume.array[:, kept])


def test_nothing_else_is_changed(scan, made):
    changed = (made.volume.array != scan[0].array).any(axis=0)
    marked = (made.labels.array > 0) & ~own(scan[1])
    distance = ndimage.distance_transform_edt(~marked, scan[0].spacing_mm)
    assert changed[made.inserted > 0].mean() > 0.95
    assert distance[changed].max() < 15 and changed.mean() < 0.1
    assert made.volume.array.dtype == scan[0].array.dtype and made.volume.channels == scan[0].channels
    assert scan[0].array is not made.volume.array


def test_targets(made):
    labels = made.labels
    assert set(labels.regions) >= {"ET", "TC", "WT"}
    assert np.array_equal(labels.region("ET"), labels.array == ET)
    assert np.array_equal(labels.region("TC"), np.isin(labels.array, (ET, NETC)))
    assert np.array_equal(labels.region("WT"), labels.array > 0)
    tumour = (made.inserted > 0) & (labels.array == ET)
    t1c = made.volume.array[made.volume.channels.index("t1c")]
    assert np.median(t1c[tumour]) > 1.1 * np.median(t1c[(t1c > 0) & (labels.array == 0)])


@pytest.mark.parametrize(("spacing_mm", "within"), [((1, 1, 1), 0.04), ((3, 0.8, 0.8), 0.1)])
def test_a_lesion_has_the_volume_of_its_ball(spacing_mm, within):
    volume = brain_of_white_matter(spacing_mm)
    sites = find_sites(volume)
    for seed in range(5):
        made = insert_metastases(
            volume, None, np.random.default_rng(seed), sites=sites, count=1, within_mm=(9, 12)
        )
        for lesion in made.lesions:
            assert lesion.volume_mm3 == pytest.approx(np.pi / 6 * lesion.diameter_mm**3, rel=within)


def test_the_smallest_still_has_a_voxel():
    volume = brain_of_white_matter((5, 1, 1))
    made = insert_metastases(volume, None, np.random.default_rng(0), count=5, within_mm=(1.5, 1.6))
    assert [lesion.voxels for lesion in made.lesions] == [1] * 5


def test_some_sequences_alone_and_no_orientation(scan):
    volume, labels = scan
    pair = Volume(volume.array[[1, 3]], ("t1c", "flair"), spacing_mm=volume.spacing_mm)
    made = insert_metastases(pair, labels, np.random.default_rng(1), count=4)
    assert made.volume.channels == ("t1c", "flair") and len(made.lesions) >= 2
    assert all(lesion.centroid_mm is None for lesion in made.lesions) and made.notes
    for wanted in (
        Volume(volume.array[3:], ("flair",), affine=volume.affine),
        Volume(pair.array, pair.channels),
    ):
        with pytest.raises(MetsegError):
            find_sites(wanted, labels)
    with pytest.raises(MetsegError, match="brain mask"):
        find_sites(dataclasses.replace(volume, array=volume.array + 1), labels)


def test_a_brain_mask_stands_in_for_stripping(scan):
    volume, labels = scan
    brain = (volume.array != 0).any(axis=0)
    whole = dataclasses.replace(volume, array=np.where(brain, volume.array, 150).astype(np.int16))
    made = insert_metastases(
        whole, labels, np.random.default_rng(1), sites=find_sites(whole, labels, brain=brain), count=3
    )
    assert brain[made.inserted > 0].all() and made.lesions


def test_sizes_and_numbers_are_those_of_the_literature():
    rng = np.random.default_rng(0)
    diameters = np.array([shape.diameter_mm for shape in draw_shapes(rng, 2000)])
    assert diameters.min() >= 1.5 and diameters.max() <= 30
    assert np.median(diameters) == pytest.approx(5, abs=0.3)
    assert (diameters < 3).mean() == pytest.approx(0.2, abs=0.03)
    counts = [draw_count(rng) for _ in range(1000)]
    assert min(counts) == 1 and max(counts) <= 30 and np.median(counts) == pytest.approx(5, abs=1)
    shapes = draw_shapes(rng, 1500)
    swollen = [shape.oedema_mm > 0 for shape in shapes if shape.diameter_mm < 4]
    assert np.mean(swollen) < 0.2
    assert np.mean([shape.oedema_mm > 0 for shape in shapes if shape.diameter_mm > 14]) > 0.7


def brain_of_white_matter(spacing_mm) -> Volume:
    """A ball of white matter in a rind of grey matter and CSF, without noise to speak of."""
    half = 28.0
    axes = [np.arange(-half, half + 0.1, step) for step in spacing_mm]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    t1 = np.select([radius < 20, radius < 24, radius < 27], [600.0, 420, 150])
    t1 += (t1 > 0) * np.random.default_rng(0).normal(0, 3, t1.shape)
    affine = np.diag([*spacing_mm[::-1], 1.0])
    affine[:3, 3] = -half
    return Volume(np.stack([t1, 1.05 * t1]).astype(np.float32), ("t1", "t1c"), affine=affine)
