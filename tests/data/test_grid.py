"""Geometry: a lesion at a known place in mm is found there, whatever the grid, there and back."""

from itertools import permutations, product

import numpy as np
import pytest

from metseg.base.errors import MetsegError
from metseg.data import grid
from metseg.data.volume import Volume

SPACING = (0.8, 1.1, 3.0)  # x, y, z
SHAPE = (5, 7, 9)  # z, y, x
TURN = {"straight": 0.0, "oblique": 25.0}


def turned(degrees: float) -> np.ndarray:
    """A rotation about an axis that is none of the patient's (Rodrigues' formula)."""
    axis, angle = np.array([2.0, -1.0, 3.0]) / np.sqrt(14), np.radians(degrees)
    cross = np.cross(np.eye(3), axis)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def axis_orders() -> list[np.ndarray]:
    signed = product(permutations(range(3)), product((1, -1), repeat=3))
    return [np.eye(3)[:, list(axes)] * signs for axes, signs in signed]


def placed(directions: np.ndarray, degrees=0.0, shear=0.0) -> Volume:
    """A volume whose voxel axes point along `directions` (columns), tilted and sheared."""
    affine = np.eye(4)
    sheared = np.eye(3)
    sheared[0, 2] = shear
    affine[:3, :3] = turned(degrees) @ directions @ sheared @ np.diag(SPACING)
    affine[:3, 3] = (-31.5, 12.25, 7.0)
    array = np.arange(2 * np.prod(SHAPE), dtype=np.int16).reshape(2, *SHAPE)
    return Volume(array, ("t1", "flair"), affine=affine)


def test_there_are_48_axis_orders():
    assert len({order.tobytes() for order in axis_orders()}) == 48


@pytest.mark.parametrize(("degrees", "shear"), list(product((0.0, 25.0), (0.0, 0.2))))
def test_axial_display_of_every_grid_and_back(degrees, shear):
    for directions in axis_orders():
        check_axial_display(placed(directions, degrees, shear), straight=shear == 0)


def check_axial_display(volume: Volume, *, straight: bool):
    axial = grid.to_axial(volume)
    # Each voxel keeps its value and its place.
    indices = np.argwhere(np.ones(SHAPE, bool))
    places = grid.mm_to_voxel(grid.voxel_to_mm(indices, volume), axial)
    assert np.abs(places - np.rint(places)).max() < 1e-9
    moved = tuple(np.rint(places).astype(int).T)
    assert (axial.array[:, *moved] == volume.array[:, *indices.T]).all()
    # Rows run from right to left, from front to back, slices from below to the head.
    if straight:
        steps = axial.affine[:3, :3]
        assert steps[0, 0] < 0 and steps[1, 1] < 0 and steps[2, 2] > 0
        assert (np.abs(steps).argmax(axis=0) == (0, 1, 2)).all()
    assert (grid.from_axial(axial.array, volume) == volume.array).all()
    assert grid.from_axial(axial.array[0], volume).shape == volume.grid
    assert grid.same_grid(grid.to_axial(axial), axial)


def test_hand_computed_axial_display():
    # x to the right, y to the front, z to the head: rows and columns are turned round, slices stay.
    volume = Volume(np.arange(8).reshape(1, 2, 2, 2), ("t1",), affine=np.diag([2.0, 3, 4, 1]))
    axial = grid.to_axial(volume)
    assert axial.array.tolist() == [[[[3, 2], [1, 0]], [[7, 6], [5, 4]]]]
    assert axial.affine.tolist() == [[-2, 0, 0, 2], [0, -3, 0, 3], [0, 0, 4, 0], [0, 0, 0, 1]]
    assert grid.voxel_to_mm([[1, 0, 1]], volume).tolist() == [[2, 0, 4]]
    assert grid.mm_to_voxel([[2, 0, 4]], axial).tolist() == [[1, 1, 0]]


def test_two_files_of_one_scan_in_any_order_are_one_grid():
    volumes = [placed(directions, 25) for directions in axis_orders()]
    target = grid.to_axial(volumes[0])
    for source in [grid.to_axial(volumes[0]), volumes[0]]:
        order = grid.order_between(source, target)
        assert (grid.reorder(source.array, order) == target.array).all()
    others = [grid.order_between(other, target) for other in volumes[1:]]
    assert others == [None] * 47  # turned about their first voxel, they lie elsewhere


def test_grids_are_told_apart_by_where_their_voxels_lie():
    volume = placed(np.eye(3))

    def moved(voxels, grid=SHAPE):
        affine = volume.affine.copy()
        affine[:3, 3] += affine[:3, 0] * voxels
        return Volume(np.zeros((1, *grid)), ("t1",), affine=affine)

    assert grid.same_grid(volume, moved(0.05)) and not grid.same_grid(volume, moved(0.2))
    assert grid.same_grid(volume, moved(0.2), tolerance=0.5)
    assert not grid.same_grid(volume, moved(1)) and not grid.same_grid(volume, moved(0, (5, 7, 8)))
    # Without an orientation, only the size is known, of the grid and of a voxel.
    unknown, finer = (Volume(np.zeros((1, *SHAPE)), ("t1",), spacing_mm=(3, y, 1)) for y in (1, 0.9))
    assert grid.same_grid(unknown, unknown) and not grid.same_grid(unknown, volume)
    assert not grid.same_grid(unknown, finer)
    assert grid.to_axial(unknown) is unknown


@pytest.mark.parametrize("name", TURN)
def test_resampled_values_are_those_of_the_place(name):
    # A ramp in mm is linear, so that linear interpolation must give it back exactly, wherever the grid lies.
    def ramp_on(affine, shape):
        volume = Volume(np.zeros((1, *shape), np.float32), ("t1",), affine=affine)
        places = grid.voxel_to_mm(np.argwhere(np.ones(shape, bool)), volume)
        return Volume((places @ (1.0, 2.0, -3.0)).reshape(1, *shape), ("t1",), affine=affine)

    directions = turned(TURN[name])
    big, small = np.eye(4), np.eye(4)
    big[:3, :3], big[:3, 3] = directions * SPACING, directions @ (-10, -10, -10)
    small[:3, :3], small[:3, 3] = turned(11) @ np.diag((-1.0, 1.3, 0.7)), (3, -2, 1)
    volume, reference = ramp_on(big, (9, 21, 27)), ramp_on(small, (4, 5, 6))
    found = grid.resample_like(volume, reference)
    assert found.array.dtype == np.float32 and grid.same_grid(found, reference)
    assert np.abs(found.array - reference.array).max() < 1e-3


def test_outside_is_as_dark_as_the_darkest():
    """Where values were z-scored, 0 would be as bright as the mean."""
    pixels = np.array([[[[-2.0, 1, 3, np.nan]]]])
    volume = Volume(pixels, ("t1",), affine=np.eye(4))
    reference = Volume.of_grid((1, 1, 6), affine=np.eye(4))
    assert grid.resample_like(volume, reference).array[0, 0, 0, [0, 1, 5]].tolist() == [-2, 1, -2]


def test_resampling_keeps_the_outermost_slices_and_says_the_lowest_outside():
    pixels = np.ones((1, 3, 3, 3), np.uint8)
    pixels[0, :, 0, 0] = 0
    volume = Volume(pixels, ("t1",), affine=np.diag([1.0, 1, 1, 1]))
    affine = np.diag([1.0, 1, 0.5, 1])
    affine[2, 3] = -1e-13
    reference = Volume(np.zeros((1, 9, 3, 3)), ("t1",), affine=affine)
    assert grid.resample_like(volume, reference).array[0, :, 1, 1] == pytest.approx([1] * 5 + [0.5] + [0] * 3)
    labels = grid.resample_like(volume, reference, labels=True)
    assert labels.array.dtype == np.uint8 and labels.array[0, :5, 1:].all() and not labels.array[0, 6:].any()


def test_resampling_agrees_with_simpleitk():
    sitk = pytest.importorskip("SimpleITK")
    rng = np.random.default_rng(0)
    volume, reference = placed(axis_orders()[17], 25), placed(axis_orders()[5], 12)
    # The same box of space: both centred on one place.
    for each in (volume, reference):
        each.affine[:3, 3] -= grid.voxel_to_mm([[2, 3, 4]], each)[0]
    volume = Volume(rng.normal(size=(1, *SHAPE)), ("t1",), affine=volume.affine)

    def image(volume):
        found = sitk.GetImageFromArray(volume.array[0])
        to_lps = np.diag([-1, -1, 1.0])
        found.SetSpacing(volume.spacing_mm[::-1])
        found.SetDirection((to_lps @ volume.affine[:3, :3] / volume.spacing_mm[::-1]).ravel())
        found.SetOrigin(to_lps @ volume.affine[:3, 3])
        return found

    theirs = sitk.Resample(image(volume), image(reference), sitk.Transform(), sitk.sitkLinear, 0.0)
    theirs = sitk.GetArrayFromImage(theirs)
    ours = grid.resample_like(volume, reference).array[0]
    inside = grid.mm_to_voxel(grid.voxel_to_mm(np.argwhere(np.ones(SHAPE, bool)), reference), volume)
    inside = ((inside >= 0) & (inside <= np.array(SHAPE) - 1)).all(axis=1).reshape(SHAPE)
    assert inside.sum() > 100
    assert np.abs(ours - theirs)[inside].max() < 1e-5


def test_another_axis_order_is_not_interpolated():
    volume = placed(axis_orders()[9], 25)
    found = grid.resample_like(grid.to_axial(volume), volume)
    assert found.array.dtype == np.int16 and (found.array == volume.array).all()


def test_the_share_of_a_grid_within_another():
    reference, moved = placed(np.eye(3)), placed(np.eye(3)).affine.copy()
    moved[0, 3] += 4 * SPACING[0]  # of 9 columns, 4 lie outside
    other = Volume(np.zeros((1, *SHAPE)), ("flair",), affine=moved)
    assert grid.share_within(reference, reference) == 1
    assert grid.share_within(reference, other) == pytest.approx(5 / 9)
    moved[0, 3] += 100
    assert grid.share_within(reference, Volume(np.zeros((1, *SHAPE)), ("flair",), affine=moved)) == 0


def test_obliqueness():
    x, y, z = np.eye(3)
    for axes in ((x, y, z), (x, z, -y), (-y, z, x)):
        assert grid.obliqueness(placed(np.stack(axes, axis=1))) < 1e-5
    nod = np.array([[1, 0, 0], [0, np.cos(0.7), -np.sin(0.7)], [0, np.sin(0.7), np.cos(0.7)]])
    assert grid.obliqueness(placed(nod)) == pytest.approx(np.degrees(0.7))
    assert grid.largest_shear_cosine(placed(np.eye(3), 25).affine) < 1e-12
    assert grid.largest_shear_cosine(placed(np.eye(3), 25, 0.1).affine) == pytest.approx(0.1 / np.sqrt(1.01))


def test_no_place_is_given_where_the_orientation_is_unknown():
    unknown = Volume(np.zeros((1, 2, 2, 2)), ("t1",), spacing_mm=(1, 1, 1))
    known = placed(np.eye(3))
    for asked in (
        lambda: grid.voxel_to_mm([[0, 0, 0]], unknown),
        lambda: grid.resample_like(unknown, known),
        lambda: grid.resample_like(known, unknown),
    ):
        with pytest.raises(MetsegError, match="orientation"):
            asked()
