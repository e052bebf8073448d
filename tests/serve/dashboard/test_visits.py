"""Two visits in the dashboard, without a browser: one kept or uploaded, both compared."""

import functools
import io
import zipfile

import numpy as np
from dashboard_models import CountingPredictor
from phantom_upload import dicom_zip, nifti_of, reference_file, visit
from tiny_runs import change_description, pointed_without

from metseg.serve.dashboard.view import Dashboard


@functools.cache
def scan(patient: str, date: str, *, gone: bool = False) -> dict[str, bytes]:
    """NIfTI files with two bright lesions in FLAIR, or one if the other is gone."""
    volume, files = visit().volume, {}
    for name, ending in (("t1", "t1"), ("t1c", "t1ce"), ("flair", "flair")):
        array = volume.array[volume.channels.index(name)].astype(np.float32)
        if name == "flair":
            array *= 0.2 * 1000 / array.max()
            array[1:4, 20:26, 10:16] = 1000
            array[1:4, 20:26, 34:40] = 200 if gone else 1000
        files[f"{patient}_{date}_{ending}.nii.gz"] = nifti_of(array, volume.affine)
    return files


@functools.cache
def dicom(date: str) -> dict[str, bytes]:
    return {f"{date}.zip": dicom_zip(StudyDate=date, PatientID="PAT")}


def tell(dashboard: Dashboard, kind: str, **what) -> None:
    dashboard._handle_custom_msg({"kind": kind, **what}, [])


def open_(dashboard: Dashboard, files: dict[str, bytes], role: str = "slice") -> None:
    with dashboard._telling():
        dashboard._open(list(files.items()), role)


def test_a_visit_is_kept_and_compared_with_the_one_opened_next(dashboard, sent):
    tell(dashboard, "keep visit")
    assert dashboard.visits == {}  # nothing is open yet
    open_(dashboard, scan("P7", "2023-01-10"))
    tell(dashboard, "keep visit")
    assert dashboard.visits["name"] == "2023-01-10" and dashboard.visits["changes"] is None
    open_(dashboard, scan("P7", "2024-02-20", gone=True))
    told = dashboard.visits["changes"]
    assert dashboard.message == "" and (told["earlier"], told["later"]) == ("2023-01-10", "2024-02-20")
    assert told["open_is_later"] and not told["is_dated"] and told["doubt"] == "" and told["category"]
    kinds = [row["kind"] for row in told["rows"]]
    assert "gone" in kinds
    row = next(row for row in told["rows"] if row["kind"] == "gone")
    tell(dashboard, "go to change", row=told["rows"].index(row))
    lesion = dashboard._kept.found.visit.lesions[row["former"][0] - 1]
    assert np.allclose(dashboard.viewer.cursor, lesion.centroid, atol=0.5) and dashboard.viewer.selected == 0

    tell(dashboard, "visits", choices={"is_former": False})
    told = dashboard.visits["changes"]
    assert (told["earlier"], told["later"]) == ("2024-02-20", "2023-01-10") and not told["open_is_later"]
    assert "new" in [row["kind"] for row in told["rows"]] and "say otherwise" in told["order"]
    sent.clear()
    tell(dashboard, "download")
    (content,) = [buffers[0] for message, buffers in sent if message["method"] == "custom" and buffers]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert "follow_up/P7_2023-01-10_report/report.html" in archive.namelist()
    tell(dashboard, "drop visit")
    assert dashboard.visits == {} and dashboard.volume["details"]


def test_visits_that_lack_other_sequences_have_thresholds_of_their_own(dashboard, tmp_path):
    known = pointed_without("t1", 0.3, 2.0) | {"never_missing": "flair"}
    change_description(tmp_path / "released" / "nested_unet", **known)
    some = {name: file for name, file in scan("P7", "2023-01-10").items() if not name.endswith("_t1.nii.gz")}
    open_(dashboard, some)
    tell(dashboard, "sequences", told={}, missing=True)
    assert dashboard.viewer.threshold == 0.3
    tell(dashboard, "keep visit")
    open_(dashboard, scan("P7", "2024-02-20", gone=True))
    told = dashboard.visits["changes"]
    assert dashboard.viewer.threshold == 0.9
    assert any("2023-01-10 lacks t1, 2024-02-20 lacks no sequence" in each for each in told["cautions"])
    before = sorted(row["former_mm3"] for row in told["rows"] if row["former"])
    dashboard.viewer.set_state({"threshold": 0.5})
    again = dashboard.visits["changes"]["rows"]
    assert before and before == sorted(row["former_mm3"] for row in again if row["former"])


def test_visits_of_two_people_are_compared_only_if_the_visitor_says_so(dashboard):
    open_(dashboard, scan("P7", "2023-01-10"))
    tell(dashboard, "keep visit")
    open_(dashboard, scan("Q8", "2024-02-20", gone=True))
    told = dashboard.visits["changes"]
    assert "P7" in told["doubt"] and "Q8" in told["doubt"] and "rows" not in told
    tell(dashboard, "visits", choices={"same_patient": True})
    told = dashboard.visits["changes"]
    assert told["rows"] and any("Q8" in each and "as you say" in each for each in told["cautions"])


def test_another_visit_is_uploaded_as_scan_or_mask(dashboard):
    open_(dashboard, {"P7_2022-01-01_mask.nii.gz": reference_file()}, "visit")
    assert dashboard.visits["is_mask"] and dashboard.visits["changes"] is None
    open_(dashboard, scan("P7", "2023-01-10"))
    told = dashboard.visits["changes"]
    assert told["earlier"] == "2022-01-01" and any("marked by" in each for each in told["cautions"])
    open_(dashboard, {"broken.zip": b"PK\3\4"}, "visit")
    assert "broken.zip" in dashboard.message and dashboard.visits["changes"] == told
    open_(dashboard, scan("P7", "2024-02-20", gone=True), "visit")
    assert dashboard.message == "" and not dashboard.visits["is_mask"]
    dashboard.set_state({"network": "attention_unet"})
    assert CountingPredictor.runs[-2:] == ["attention_unet"] * 2  # both visits by one network


def test_dates_of_dicom_tell_the_order_and_the_same_scan_is_no_visit(dashboard):
    open_(dashboard, dicom("20250301"))
    tell(dashboard, "keep visit")
    open_(dashboard, dicom("20240115"))
    assert "same scan" in dashboard.visits["problem"] and dashboard.visits["changes"] is None
    open_(dashboard, {"P7_mask.nii.gz": reference_file()}, "visit")
    assert (
        "nothing" not in dashboard.visits["changes"]["doubt"]
        and "PAT" in dashboard.visits["changes"]["doubt"]
    )
