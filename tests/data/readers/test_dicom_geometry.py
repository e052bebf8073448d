"""Slices lie where their headers say, whatever the order of axes and files; what is no volume is refused."""

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
from complaints import complaint
from dicom_files import a_scan, a_series, edit
from scipy.spatial.transform import Rotation

from metseg.data.readers.dicom import list_series, read_series
from metseg.data.volume import Volume

AXES = [
    np.eye(3)[:, list(order)] * signs
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3))
]
LESION_MM = np.array([12.5, -30.25, 7.75])


def scan_with_a_lesion(directions: np.ndarray) -> Volume:
    """One bright voxel at `LESION_MM`, on a grid of 0.7 × 1.1 × 3 mm along the (3, 3) directions."""
    affine, voxel = np.eye(4), (2, 3, 0)
    affine[:3, :3] = directions * (0.7, 1.1, 3.0)
    affine[:3, 3] = LESION_MM - affine[:3, :3] @ voxel
    array = np.random.default_rng(1).integers(0, 100, (1, 3, 5, 6), dtype=np.uint16)
    array[(0, *voxel[::-1])] = 4000
    return Volume(array, ("t1c",), affine=affine)


def lesion_mm(volume: Volume) -> np.ndarray:
    z, y, x = np.argwhere(volume.array[0] == 4000)[0]
    return (volume.affine @ (x, y, z, 1))[:3]


def with_misleading_names(paths, rng) -> None:
    """Names and instance numbers go as chance will have it."""
    for path, k in zip(paths, rng.permutation(len(paths)), strict=True):
        edit(path, InstanceNumber=int(k))
        path.rename(path.with_name(f"IM{k}"))


def by_itk(folder) -> tuple[np.ndarray, np.ndarray]:
    """Array and RAS affine as SimpleITK has them."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), np.diag([-1, -1, 1, 1]) @ affine


TURN = Rotation.from_euler("xyz", [12, -25, 40], degrees=True).as_matrix()


def test_a_lesion_stays_where_it_is_in_all_48_axis_orders(tmp_path):
    """As SimpleITK has it, too; half of the orders are oblique."""
    assert len(AXES) == 48
    for k, axes in enumerate(AXES):
        volume, folder = scan_with_a_lesion(TURN @ axes if k // 2 % 2 else axes), tmp_path / str(k)
        a_series(folder, volume)
        (series,) = list_series(folder)
        read, notes = read_series(series)
        np.testing.assert_allclose(lesion_mm(read), LESION_MM, atol=1e-6)
        assert notes == []
        assert np.linalg.det(read.affine) > 0
        # DICOM orders along row × column: a left-handed array comes back with its slices reversed.
        same = volume.array if np.linalg.det(volume.affine) > 0 else volume.array[:, ::-1]
        assert (read.array == same).all()
        array, affine = by_itk(folder)
        assert (array == read.array[0]).all()
        np.testing.assert_allclose(affine, read.affine, atol=1e-4)


def test_the_affine_by_hand(tmp_path):
    """Two slices, rows to the left, columns to the back, 3 mm apart towards the feet in the files' order."""
    affine = np.array([[-0.5, 0, 0, 10], [0, -2, 0, 20], [0, 0, -3, 30], [0, 0, 0, 1.0]])
    paths = a_series(tmp_path, Volume(np.zeros((1, 2, 4, 5), np.int16), ("t1",), affine=affine))
    (series,) = list_series(tmp_path)
    assert series.files == (paths[1], paths[0])  # the lower one first
    expected = [[-0.5, 0, 0, 10], [0, -2, 0, 20], [0, 0, 3, 27], [0, 0, 0, 1]]
    np.testing.assert_allclose(series.affine, expected, atol=1e-9)
    assert series.grid == (2, 4, 5)


def test_slice_k_comes_from_file_k(tmp_path):
    volume = a_scan()
    paths = a_series(tmp_path, volume)
    with_misleading_names(paths, np.random.default_rng(3))
    (series,) = list_series(tmp_path)
    volume, _ = read_series(series)
    for k, path in enumerate(series.files):
        assert (sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0] == volume.array[0, k]).all()


def refusal(folder) -> str:
    (series,) = list_series(folder)
    assert series.affine is None
    text = complaint(read_series, series)
    assert series.uid in text
    return text


def test_a_gap_is_refused_between_its_neighbours(tmp_path):
    paths = a_series(tmp_path)
    paths[2].unlink()
    text = refusal(tmp_path)
    assert "lacks 1 slice:" in text and paths[1].name in text and paths[3].name in text


def test_uneven_slices_are_refused(tmp_path):
    paths = a_series(tmp_path)
    edit(paths[2], ImagePositionPatient=[0, 0, 5.6])
    assert "uneven" in refusal(tmp_path)


def test_slices_of_several_orientations_are_refused(tmp_path):
    paths = a_series(tmp_path)
    edit(paths[0], ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    assert "2 orientations" in refusal(tmp_path)


def test_gantry_tilt_is_refused_with_its_angle(tmp_path):
    for k, path in enumerate(a_series(tmp_path)):
        edit(path, ImagePositionPatient=[0, k * 2.5 * np.tan(np.deg2rad(15)), k * 2.5])
    assert "tilt of 15.0°" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PixelSpacing", None),
        ("PixelSpacing", [0, 1]),
        ("ImageOrientationPatient", None),
        ("ImagePositionPatient", None),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
    ],
)
def test_slices_that_lie_nowhere_are_refused(tmp_path, keyword, value):
    for path in a_series(tmp_path):
        edit(path, **{keyword: value})
    assert keyword in refusal(tmp_path)


def test_slices_of_several_sizes_are_refused(tmp_path):
    others = a_series(tmp_path, a_scan(shape=(6, 6, 8)))
    others[5].rename(tmp_path / "wider.dcm")
    a_series(tmp_path)
    assert "6 × 7, 6 × 8" in refusal(tmp_path)


def test_the_distance_of_slices_is_told_by_position(tmp_path):
    for path in a_series(tmp_path):
        edit(path, SliceThickness=4, SpacingBetweenSlices=5)
    (series,) = list_series(tmp_path)
    volume, (note,) = read_series(series)
    assert volume.spacing_mm[0] == pytest.approx(2.5)
    assert "2.5 mm" in note and "5 mm" in note


def test_one_slice_takes_its_thickness_and_says_so(tmp_path):
    (path,) = a_series(tmp_path, a_scan(shape=(1, 6, 7)))
    (series,) = list_series(tmp_path)
    volume, (note,) = read_series(series)
    assert volume.grid == (1, 6, 7) and volume.spacing_mm == pytest.approx((2.5, 1.2, 0.8))
    assert "one slice" in note
    edit(path, SpacingBetweenSlices=20)  # to a slice that is not there
    assert read_series(list_series(tmp_path)[0])[0].spacing_mm[0] == pytest.approx(2.5)
    edit(path, SliceThickness=None, SpacingBetweenSlices=None)
    assert "one slice" in refusal(tmp_path)
