"""What a user points at becomes scans: NIfTI by known names or as told, DICOM, or nothing."""

from pathlib import Path

import numpy as np
import pytest
from complaints import complaint
from dicom_files import a_scan, a_series
from drawn_volumes import FIRST, OTHER, SECOND, phantom_volumes

from metseg.data.cases import find_cases
from metseg.data.patients import TABLE
from metseg.data.scan_inputs import open_scan, scan_input_of, scan_inputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return phantom_volumes(tmp_path_factory)


@pytest.fixture
def strangers(tmp_path, folder) -> Path:
    """The sequences of one scan by names of no data set."""
    for name, other in (("t1n", "before"), ("t1c", "after"), ("t2f", "dark")):
        source = folder / FIRST / f"{FIRST}-{name}.nii.gz"
        (tmp_path / "scan").mkdir(exist_ok=True)
        (tmp_path / "scan" / f"{other}.nii.gz").write_bytes(source.read_bytes())
    return tmp_path / "scan"


TOLD = {"t1": "before.nii.gz", "t1c": "after.nii.gz", "flair": "dark.nii.gz"}


def test_a_file_a_case_and_a_folder_of_cases(folder):
    (by_file,) = scan_inputs(folder / FIRST / f"{FIRST}-t2f.nii.gz")
    (by_case,) = scan_inputs(folder / FIRST)
    assert by_file.case_id == by_case.case_id == FIRST
    assert by_file.sequences == by_case.sequences
    assert set(by_case.sequences) == {"t1", "t1c", "t2", "flair"}
    assert [each.case_id for each in scan_inputs(folder)] == [FIRST, SECOND, OTHER]
    scan = open_scan(by_case)
    assert (scan.case_id, scan.patient_id, scan.visit) == (FIRST, "PHANTOM-MET-00001", "000")
    assert scan.file.name == f"{FIRST}-t1c.nii.gz" and scan.series is None


def test_names_of_no_data_set_are_refused_unless_told(strangers):
    line = complaint(scan_inputs, strangers)
    assert "after.nii.gz" in line and "--sequence" in line and "layout.yml" in line
    for source in (strangers, strangers / "after.nii.gz"):
        (given,) = scan_inputs(source, TOLD)
        assert set(given.sequences) == set(TOLD)
        assert open_scan(given).file == strangers / "after.nii.gz"
    assert scan_inputs(strangers, TOLD)[0].case_id == "scan"
    assert "no such.nii.gz" in complaint(scan_inputs, strangers, TOLD | {"t1": "no such.nii.gz"})
    assert "adc" in complaint(scan_inputs, strangers, {"adc": "after.nii.gz"})


def test_a_layout_tells_files_and_people(strangers):
    strangers.rename(strangers.with_name("P7"))
    own, common = strangers.with_name("layout.yml"), '{t1: "{patient}/before.*", t1c: "{patient}/after.*", '
    own.write_text(f'sequences: {common} flair: "{{case}}/*.nii.gz"}}')
    assert "fits t1c and flair" in complaint(scan_inputs, strangers.parent)
    own.write_text(f'sequences: {common} flair: "{{patient}}/d*.nii.gz"}}')
    (given,) = scan_inputs(strangers.parent)
    assert (given.case_id, given.identity.patient_id) == ("P7", "P7")
    assert open_scan(given).patient_id == "P7"


@pytest.mark.parametrize("point_at", ["", FIRST])
def test_a_table_of_patients_goes_before_names(tmp_path, folder, point_at):
    (tmp_path / TABLE).write_text(f"case_id,patient_id,visit\n{FIRST},Ada,before\n")
    (tmp_path / FIRST).mkdir()
    for path in (folder / FIRST).iterdir():
        (tmp_path / FIRST / path.name).write_bytes(path.read_bytes())
    scan = open_scan(scan_inputs(tmp_path / point_at)[0])
    assert (scan.patient_id, scan.visit) == ("Ada", "before")
    (case,) = find_cases(tmp_path)
    assert scan_input_of(case).identity == scan_inputs(tmp_path)[0].identity


def test_dicom_is_the_same_scan(folder):
    (given,) = scan_inputs(folder / "dicom" / FIRST)
    assert given.dicom == folder / "dicom" / FIRST
    scan, stored = open_scan(given), open_scan(scan_inputs(folder / FIRST)[0])
    assert (scan.patient_id, scan.visit) == ("PHANTOM-MET-00001", "20240115")
    assert scan.file is None and len(scan.series.files) == scan.scan.stored.grid[0]
    np.testing.assert_array_equal(scan.scan.volume.array, stored.scan.volume.array)
    np.testing.assert_allclose(scan.scan.volume.affine, stored.scan.volume.affine, atol=1e-3)


def test_what_is_told_goes_before_what_headers_say(tmp_path):
    for n, name in enumerate(("t1", "t1c", "flair")):
        a_series(tmp_path / name, a_scan((name,), seed=n), header={"SeriesDescription": f"series {n}"})
    (given,) = scan_inputs(tmp_path, {"t1": "series 1", "t1c": "series 0", "flair": "series 2"})
    scan = open_scan(given)
    assert scan.series.description == "series 0"
    assert [note[:3] for note in scan.scan.notes if "as you say" in note][:2] == ["t1 ", "t1c"]
    assert "series 9" in complaint(open_scan, scan_inputs(tmp_path, {"t1": "series 9"})[0])


def test_dicom_among_what_else_a_disc_holds(tmp_path):
    a_series(tmp_path / "viewer" / "z")
    for n in range(30):
        (tmp_path / "viewer" / f"library{n:02}.dll").write_bytes(bytes(200))
    (given,) = scan_inputs(tmp_path)
    assert given.dicom == tmp_path


def test_slices_and_nothing(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    assert scan_inputs(tmp_path) == [] == scan_inputs(tmp_path / "a.png")
    assert "neither NIfTI nor DICOM" in complaint(scan_inputs, tmp_path, {"t1c": "a description"})
    assert "absent" in complaint(scan_inputs, tmp_path / "absent")
