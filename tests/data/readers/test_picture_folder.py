"""Folders of numbered pictures, as BrainMetShare's PNG release has them, are volumes."""

from functools import partial

import cv2
import numpy as np
import pytest
from complaints import complaint

from metseg.data.cases import find_cases, how_read, load_case
from metseg.data.check import check_data
from metseg.data.readers import picture_folder
from metseg.data.scan_inputs import open_scan, scan_inputs
from metseg.data.volume import Volume

SLICES = 12  # so that sorting by name would put 10.png before 2.png


def write_patient(folder, *, seed=0, first=0):
    """A patient of the release: each folder brightens with its number, each slice with its own."""
    rng = np.random.default_rng(seed)
    for number in range(4):
        for z in range(SLICES):
            picture = rng.integers(0, 3, (8, 9), np.uint8) + 40 * number + 3 * z
            picture[0, 0] = 200 + 10 * number
            write(folder / str(number) / f"{first + z}.png", picture)
    for z in range(SLICES):
        mask = np.zeros((8, 9), np.uint8)
        mask[2:4, 1 : 2 + seed] = 255 * (z == 10)
        write(folder / "seg" / f"{first + z}.png", mask)
    return folder


def write(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


@pytest.fixture
def folder(tmp_path):
    for k in range(1, 4):
        write_patient(tmp_path / "train" / f"Mets_00{k}", seed=k)
    return tmp_path


def test_the_release_is_read_by_its_folders(folder):
    cases = find_cases(folder)
    assert [case.case_id for case in cases] == ["Mets_001", "Mets_002", "Mets_003"]
    told = how_read(cases)
    assert "3 scans of 12 slices; 3 patients" in told and "2 is t1c" in told and "0, gradient" in told
    case = load_case(cases[1])
    assert (case.volume.spacing_mm, case.volume.affine, case.volume.grid) == (None, None, (12, 8, 9))
    assert np.argwhere(case.mask).tolist() == [[10, y, x] for y in (2, 3) for x in (1, 2, 3)]
    for channel in case.volume.array:  # brighter from slice to slice: they are in the order of numbers
        assert (np.diff(channel[:, 4:].mean(axis=(1, 2))) > 0).all()
    report = check_data(folder)
    assert report.errors == [] and any("spacing" in note for note in report.notes)
    assert any("36 image files are ignored" in note and "/0/" in note for note in report.notes)


def test_the_other_sequence_after_contrast_can_be_chosen(folder):
    patient = folder / "train" / "Mets_002"
    (usual,), (told,) = scan_inputs(patient), scan_inputs(patient, {"t1c": "0"})
    assert usual.sequences["t1c"] == patient / "2" and told.sequences["t1c"] == patient / "0"
    opened, other = open_scan(usual), open_scan(told)
    assert opened.file is None and opened.case_id == "Mets_002"
    assert any("2 is t1c" in note for note in opened.scan.notes)
    assert any("as you say" in note for note in other.scan.notes)
    assert np.array_equal(opened.scan.volume.array[:2], other.scan.volume.array[:2])
    assert not np.array_equal(opened.scan.volume.array[2], other.scan.volume.array[2])
    assert str(patient / "9") in complaint(scan_inputs, patient, {"t1c": "9"})
    names = {"t1": "1", "t1c": "0", "flair": "3", "seg": "seg"}
    lines = [f'  {name}: "**/{{patient}}/{number}"' for name, number in names.items() if name != "seg"]
    (folder / "layout.yml").write_text("\n".join(["sequences:", *lines, 'reference: "**/{patient}/seg"']))
    assert find_cases(folder)[1].volumes.sequences["t1c"] == patient / "0"


def test_slices_that_do_not_fit_are_named(folder):
    patient = folder / "train" / "Mets_001"
    case = find_cases(folder)[0]
    (patient / "3" / "4.png").unlink()
    assert f"{patient / '3'} lacks slice 4" in complaint(load_case, case)
    (patient / "3" / "11.png").rename(patient / "3" / "4.png")
    assert f"{patient / '3'} has slices 0 to 10" in complaint(load_case, case)
    write_patient(patient)
    (patient / "seg" / "0.png").rename(patient / "seg" / "12.png")
    assert f"{patient / 'seg'} has slices 1 to 12" in complaint(load_case, case)
    write_patient(patient)
    (patient / "seg" / "12.png").unlink()
    write(patient / "1" / "5.png", np.zeros((8, 10), np.uint8))
    assert str(patient / "1" / "5.png") in complaint(load_case, case)
    write(patient / "1" / "5.png", np.arange(216, dtype=np.uint8).reshape(8, 9, 3))
    assert "in colour" in complaint(load_case, case)
    write(patient / "1" / "005.png", np.zeros((8, 9), np.uint8))
    assert "one number" in complaint(load_case, case)


def test_a_mask_of_grey_values_is_refused(folder):
    path = folder / "train" / "Mets_001" / "seg" / "10.png"
    write(path, np.arange(72, dtype=np.uint8).reshape(8, 9))
    assert str(path) in complaint(load_case, find_cases(folder)[0])


def test_one_folder(tmp_path):
    write(tmp_path / "7.png", np.full((4, 5), 9, np.uint8))
    volume, notes = picture_folder.read(tmp_path, channel="t1")
    assert (volume.channels, volume.grid, notes) == (("t1",), (1, 4, 5), [])
    assert picture_folder.read_grid(tmp_path).grid == (1, 4, 5)
    labels, _ = picture_folder.read_labels(tmp_path, Volume.of_grid((1, 4, 5)))
    assert labels.array.tolist() == [[[9] * 5] * 4] and labels.stored == {9}
    assert "more than 3" in complaint(partial(picture_folder.read, max_voxels=3), tmp_path)
