"""Two visits of one patient: whose they are, which is earlier, and what changed."""

import functools
import io
import json
import zipfile

import numpy as np
import pytest
from dashboard_models import CountingPredictor, write_released
from phantom_upload import dicom_zip, nifti_files, nifti_of

from metseg.base.errors import MetsegError
from metseg.masks.encode import archive
from metseg.reports.results import segment
from metseg.serve.upload import Refused
from metseg.serve.visits import KeptVisit, compare, doubt_of, in_order, read_visit, rows_of
from metseg.serve.volume_results import write_archive
from metseg.serve.volume_upload import VolumeUpload

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])


def boxes(*sides: int) -> np.ndarray:
    """Cubes of so many voxels a side, one after the other along x; 0 leaves a place empty."""
    mask = np.zeros((16, 16, 60), np.uint8)
    for k, side in enumerate(sides):
        mask[2 : 2 + side, 2 : 2 + side, 20 * k + 2 : 20 * k + 2 + side] = 1
    return mask


def mask_visit(name: str, *sides: int) -> KeptVisit:
    return read_visit([(name, nifti_of(boxes(*sides), AFFINE))], None)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return CountingPredictor(write_released(tmp_path_factory.mktemp("released")) / "nested_unet")


@functools.cache
def visit_zip(date: str, patient: str) -> bytes:
    return dicom_zip(StudyDate=date, PatientID=patient)


def dicom_visit(predictor, date: str = "20240115", patient: str = "PAT") -> KeptVisit:
    return read_visit([("a.zip", visit_zip(date, patient))], predictor)


def test_masks_are_compared_lesion_by_lesion():
    pair = mask_visit("P7_2023-01-15_mask.nii.gz", 6, 0, 4), mask_visit("P7_2024-02-20_mask.nii.gz", 12, 5, 0)
    assert doubt_of(*pair) == ""
    found, changes, cautions, notes = compare(pair)
    assert [each.visit.name for each in found] == ["2023-01-15", "2024-02-20"]
    grown, new, gone = rows_of(changes)
    assert (grown["kind"], new["kind"], gone["kind"]) == ("same", "new", "gone")
    assert grown["former_mm3"] == 6**3 * 2 and grown["now_mm3"] == 12**3 * 2
    assert grown["volume_percent"] == pytest.approx(700) and new["former_mm"] is None is gone["now_mm"]
    assert any("marked by" in caution for caution in cautions) and any(
        "taken as the mask" in note for note in notes
    )


def test_a_scan_is_no_mask_and_a_report_has_no_outlines():
    with pytest.raises(MetsegError, match="t1c"):
        read_visit([("P7-t1c.nii.gz", nifti_files()["P7-t1c.nii.gz"])], None)
    with pytest.raises(Refused, match="ZIP"):
        read_visit([("report.json", b"{}")], None)


def test_study_dates_tell_the_order_and_else_the_visitor(predictor):
    early, late = dicom_visit(predictor), dicom_visit(predictor, "20250301")
    for kept, now in ((early, late), (late, early)):
        for is_former in (True, False):
            pair, told = in_order(kept, now, is_former=is_former)
            assert pair == (early, late) and "study dates" in told
    assert early.name == "2024-01-15" and doubt_of(early, late) == ""
    one, other = mask_visit("P7_2024-02-20_mask.nii.gz", 4), mask_visit("P7_2023-01-15_mask.nii.gz", 4)
    pair, told = in_order(one, other, is_former=True)
    assert pair == (one, other) and "as you say" in told and "say otherwise" in told
    assert in_order(one, other, is_former=False)[0] == (other, one)


def test_two_people_and_people_unknown_are_doubted(predictor):
    one, other, nobody = (dicom_visit(predictor, patient=each) for each in ("PAT", "OTHER", ""))
    assert "PAT" in doubt_of(one, other) and "OTHER" in doubt_of(one, other)
    assert "nothing tells" in doubt_of(one, nobody) and doubt_of(nobody, nobody)
    assert doubt_of(mask_visit("mask.nii.gz", 4), mask_visit("seg.nii.gz", 4))


def test_the_same_scan_twice_is_no_follow_up(predictor):
    with pytest.raises(MetsegError, match="same scan"):
        compare((dicom_visit(predictor), dicom_visit(predictor)))


def test_a_zip_of_results_is_a_visit_with_patient_and_date(predictor, tmp_path):
    with VolumeUpload([("a.zip", visit_zip("20240115", "PAT"))]) as upload:
        found = segment(upload.open(), predictor)
        name, content = write_archive(found, ["report"])
    visit = read_visit([(name, content)], None)
    assert (visit.patient, visit.date, visit.is_mask) == ("PAT", "20240115", True)
    assert len(visit.found.visit.lesions) == len(found.visit.lesions) > 0
    later = dicom_visit(predictor, "20250301")
    pair, _ = in_order(visit, later, is_former=False)
    assert pair == (visit, later)
    compared = compare(pair)
    assert {each["kind"] for each in rows_of(compared.changes)} == {"same"}
    _, both = write_archive(later.found, [], compared=compared)
    assert b"follow_up/" in both


def test_a_zip_with_a_strange_report_is_a_mask(predictor):
    mask = nifti_of(boxes(4), AFFINE)
    for record in (b"{", b"[]", json.dumps({"metseg": "1", "patient_id": 7, "origin": []}).encode()):
        content = archive({"P7_mask.nii.gz": mask, "P7_report/report.json": record})
        visit = read_visit([("r.zip", content)], None)
        assert visit.patient == "P7" and visit.date == ""


def test_a_report_from_elsewhere_names_no_file(predictor):
    record = {"metseg": "1", "patient_id": "PAT", "case_id": "../../out", "visit": "20260101"}
    files = {
        "P7_mask.nii.gz": nifti_of(boxes(4), AFFINE),
        "P7_report/report.json": json.dumps(record).encode(),
    }
    visit = read_visit([("r.zip", archive(files))], None)
    assert (visit.patient, visit.name, visit.found.scan.case_id) == ("PAT", "2026-01-01", "P7")
    earlier = dicom_visit(predictor)
    name, content = write_archive(
        earlier.found, [], compared=compare((earlier, visit))
    )  # the later one is a mask
    with zipfile.ZipFile(io.BytesIO(content)) as written:
        assert "follow_up/P7_report/report.html" in written.namelist()
