"""What the check says of volumes, each fault by its name."""

import numpy as np
import pytest

from metseg.data.check import check_data
from metseg.data.volume import Volume
from metseg.data.writers.nifti import write_image, write_mask

GRID = 4, 8, 8
KINDS = {"t1": "t1n", "t1c": "t1c", "flair": "t2f"}


def write_case(folder, case_id, *, seed=0, marks=1, left_out=(), affine=None, mask_affine=None):
    """A scan in the layout of BraTS-METS, with `marks` voxels of enhancing tumour."""
    rng = np.random.default_rng(seed)
    place = np.diag([-1.0, -1, 3, 1]) if affine is None else affine
    for sequence, kind in KINDS.items():
        volume = Volume(rng.integers(1, 900, (1, *GRID), dtype=np.int16), (sequence,), affine=place)
        if kind not in left_out:
            write_image(volume, folder / case_id / f"{case_id}-{kind}.nii.gz", durable=False)
    mask = np.zeros(GRID, np.uint8)
    mask[1, 2, 1 : 1 + marks] = 3
    grid = Volume.of_grid(GRID, affine=place if mask_affine is None else mask_affine)
    if "seg" not in left_out:
        write_mask(mask, grid, folder / case_id / f"{case_id}-seg.nii.gz")


@pytest.fixture
def folder(tmp_path):
    """Two sound scans."""
    write_case(tmp_path, "BraTS-MET-00001-000", seed=1, marks=2)
    write_case(tmp_path, "BraTS-MET-00002-000", seed=2, marks=3)
    return tmp_path


def test_sound_scans(folder):
    report = check_data(folder)
    assert (report.errors, report.notes) == ([], [])
    assert report.cases.lesion_px.tolist() == [2, 3] and report.cases.tumour_slices.tolist() == [1, 1]
    assert report.cases.slices.tolist() == [4, 4] and report.cases.missing.tolist() == ["", ""]
    assert report.cases.spacing_mm.tolist() == [(3, 1, 1)] * 2


@pytest.mark.parametrize(
    ("faulty", "words"),
    [
        ({"left_out": ["seg"]}, ["BraTS-MET-00003-000", "no reference"]),
        ({"mask_affine": np.diag([-1.0, -1, 4, 1])}, ["BraTS-MET-00003-000-seg", "another grid"]),
    ],
    ids=lambda faulty: "-".join(map(str, faulty)) if isinstance(faulty, dict) else "",
)
def test_a_faulty_scan_is_named(folder, faulty, words):
    write_case(folder, "BraTS-MET-00003-000", seed=3, **faulty)
    report = check_data(folder)
    (error,) = report.errors
    assert [word for word in words if word not in error] == []
    assert len(report.cases) == 3


@pytest.mark.parametrize(("kind", "sequence"), [("t1n", "t1"), ("t2f", "flair"), ("t1c", "t1c")])
def test_a_missing_sequence_is_a_note(folder, kind, sequence):
    write_case(folder, "BraTS-MET-00003-000", seed=3, left_out=[kind])
    for allow_missing in (False, True):
        report = check_data(folder, allow_missing=allow_missing)
        (note,) = report.notes
        assert report.errors == [] and f"BraTS-MET-00003-000 ({sequence})" in note
        assert ("left out" in note) == (not allow_missing or sequence == "flair")
        assert report.cases.missing.tolist() == ["", "", sequence] and report.cases.lesion_px[2] == 1


def test_an_empty_mask_is_a_note(folder):
    write_case(folder, "BraTS-MET-00002-001", seed=3, marks=0)  # somebody's second visit
    report = check_data(folder)
    assert report.errors == []
    assert any("BraTS-MET-00002-001" in note and "no TC" in note for note in report.notes)
    assert report.cases.lesion_px.tolist() == [2, 3, 0]


def test_sequences_on_two_grids_are_said(folder):
    case = "BraTS-MET-00001-000"
    other = Volume(np.ones((1, 2, 8, 8), np.int16), ("flair",), affine=np.diag([-1.0, -1, 6, 1]))
    write_image(other, folder / case / f"{case}-t2f.nii.gz", durable=False)
    report = check_data(folder)
    assert report.errors == []
    assert any("flair" in note and "resampled to that of t1c" in note for note in report.notes)


def test_one_scan_under_two_names(folder):
    write_case(folder, "BraTS-MET-00003-000", seed=1, marks=2)
    errors = check_data(folder).errors
    assert errors and all("BraTS-MET-00001" in text and "BraTS-MET-00003" in text for text in errors)


def test_a_label_that_the_data_set_does_not_know(folder):
    case = "BraTS-MET-00001-000"
    grid = Volume.of_grid(GRID, affine=np.diag([-1.0, -1, 3, 1]))
    write_mask(np.full(GRID, 7, np.uint8), grid, folder / case / f"{case}-seg.nii.gz")
    (error,) = check_data(folder).errors
    assert f"{case}-seg.nii.gz" in error and "7" in error


def test_the_target_decides_what_is_a_lesion(folder):
    assert check_data(folder, target="ET").cases.lesion_px.tolist() == [2, 3]
    report = check_data(folder, target="2")
    assert report.cases.lesion_px.tolist() == [0, 0]
    assert "labels (2)" in report.how_read and len(report.notes) == 2


def test_a_truncated_file_is_named(folder):
    path = folder / "BraTS-MET-00001-000" / "BraTS-MET-00001-000-t1c.nii.gz"
    path.write_bytes(path.read_bytes()[:-40])
    (error,) = check_data(folder).errors
    assert path.name in error and "truncated" in error
