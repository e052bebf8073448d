"""The phantom's volumes: what is said of each lesion is what lies in the voxels."""

import numpy as np
import pytest
from scipy.ndimage import center_of_mass, label

from metseg.data.grid import mm_to_voxel, obliqueness, to_axial, voxel_to_mm
from metseg.data.phantom.visits import ET, NETC, SEQUENCES, SMALLEST_MM, SNFH, draw_visits

SMALL = {"slices": 16, "size": 84}  # 6.25 × 2 × 2 mm


@pytest.fixture(scope="module")
def patients():
    return [draw_visits(index, visits=2, **SMALL) for index in (1, 2)]


@pytest.fixture(scope="module")
def scans(patients):
    return [scan for visits in patients for scan in visits]


def test_a_scan_has_four_sequences_on_one_oblique_grid(scans):
    for scan in scans:
        assert scan.volume.array.shape == (4, 16, 84, 84) and scan.volume.array.dtype == np.int16
        assert scan.volume.channels == SEQUENCES and scan.labels.shape == (16, 84, 84)
        assert scan.volume.spacing_mm == pytest.approx((6.25, 2, 2))
        assert obliqueness(scan.volume) > 1
        assert (to_axial(scan.volume).array == scan.volume.array).all()
        assert set(np.unique(scan.labels)) == {0, NETC, SNFH, ET}
    level = draw_visits(1, slices=10, size=56, tilt_degrees=0)[0].volume
    assert obliqueness(level) < 1e-5 and level.affine[0, 0] < 0


def test_each_lesion_lies_where_it_is_said_to(scans):
    for scan in scans:
        tumour = np.isin(scan.labels, (ET, NETC))
        components, count = label(tumour, np.ones((3, 3, 3)))
        assert count == len(scan.lesions) >= 2
        for lesion in scan.lesions:
            at = tuple(np.rint(mm_to_voxel(lesion.centre_mm, scan.volume)).astype(int))
            own = components == components[at]
            assert tumour[at]
            centroid = voxel_to_mm(np.array(center_of_mass(own)), scan.volume)
            assert np.linalg.norm(centroid - lesion.centre_mm) < 1e-6
            # In the slice through its middle it is as wide as it is said to be.
            wide_mm = 2 * np.ptp(np.argwhere(own[at[0]]), axis=0).max()
            assert lesion.diameter_mm - 4 < wide_mm <= lesion.diameter_mm


def test_lesions_look_as_they_should(scans):
    t1, t1c, t2, flair = range(4)
    for scan in scans:
        images, brain = scan.volume.array, scan.volume.array[0] > 0
        usual = [np.median(image[brain & (scan.labels == 0)]) for image in images]
        assert (images[:, 0, :3] == 0).all()  # no skull, no air
        assert np.median(images[t1c][scan.labels == ET]) > 1.3 * usual[t1c]
        core = tuple(np.rint(mm_to_voxel(scan.lesions[0].centre_mm, scan.volume)).astype(int))
        assert images[t1c][core] < 0.85 * usual[t1c]
        taken_up = np.median(images[t1c][scan.labels == ET]) / np.median(images[t1][scan.labels == ET])
        assert taken_up > 1.3 * usual[t1c] / usual[t1]  # contrast agent
        assert np.median(images[flair][scan.labels == SNFH]) > 1.3 * usual[flair]
        assert np.median(images[t2][scan.labels == SNFH]) > 1.3 * usual[t2]


def test_the_smallest_is_a_voxel_and_the_largest_a_ring(patients):
    for first, _ in patients:
        smallest = first.lesions[-1]
        assert smallest.diameter_mm == SMALLEST_MM and first.lesions[0].is_ring
        at = tuple(np.rint(mm_to_voxel(smallest.centre_mm, first.volume)).astype(int))
        assert first.labels[at] == ET
        assert (
            first.labels[tuple(np.rint(mm_to_voxel(first.lesions[0].centre_mm, first.volume)).astype(int))]
            == NETC
        )


def test_a_second_visit(patients):
    for first, second in patients:
        before, after = ({lesion.number: lesion for lesion in scan.lesions} for scan in (first, second))
        largest, smallest = first.lesions[0], first.lesions[-1]
        assert after[largest.number].diameter_mm == pytest.approx(1.25 * largest.diameter_mm)
        assert after[largest.number].centre_mm == largest.centre_mm
        assert before.keys() - after.keys() == {smallest.number}
        assert len(after.keys() - before.keys()) == 1
        assert all(
            after[number] == before[number] for number in before.keys() & after.keys() - {largest.number}
        )
        assert (first.volume.affine == second.volume.affine).all()
        assert not np.array_equal(first.volume.array, second.volume.array)


def test_same_seed_same_voxels():
    tiny = {"slices": 10, "size": 56}
    one, again, other = (draw_visits(2, seed=seed, **tiny)[0] for seed in (0, 0, 1))
    assert np.array_equal(one.volume.array, again.volume.array) and one.lesions == again.lesions
    assert not np.array_equal(one.labels, other.labels)
