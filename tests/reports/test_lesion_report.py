"""A report's files say the same, and what the scan leaves unknown."""

import csv
import gc
import json
import re
import tempfile
from dataclasses import replace

import numpy as np
import pytest
from report_scan import draw

from metseg.base.errors import MetsegError
from metseg.data.volume import Volume
from metseg.inference.operating_points import LesionCalibration
from metseg.reports.follow_up import follow_up
from metseg.reports.lesion_report import LesionReport, report_record, write_report
from metseg.reports.matching import Visit


def without_tags(html: str) -> str:
    return re.sub(r"<[^>]+>", " ", html)


def test_rows_by_hand(report: LesionReport):
    first, second, third = report.rows()
    assert (first["voxels"], first["volume_mm3"]) == (12 * 8 * 3, 12 * 8 * 3 * 2)
    assert (first["first_slice"], first["last_slice"], first["slice_count"]) == (2, 4, 3)
    # 12 columns by 8 rows: from the left side's upper pixel to the right one's lower, 12 across and 7 down.
    assert first["longest_diameter_mm"] == pytest.approx(np.hypot(12, 7), abs=1e-4)
    assert [first[f"centroid_axial_{axis}"] for axis in "zyx"] == [3, 13.5, 17.5]
    assert [first[f"centroid_mm_{axis}"] for axis in "ras"] == [30 - 17.5, 25 - 13.5, -10 + 6]
    assert first["mean_probability"] == first["max_probability"] == 0.75
    assert [row["rano_bm"] for row in (first, second, third)] == ["target", *["not measurable"] * 2]
    assert first["rano_bm_reason"] == "" and "slice" in third["rano_bm_reason"]
    assert (report.targets, report.sum_mm) == ((1,), pytest.approx(np.hypot(12, 7)))


def test_the_files(report: LesionReport, tmp_path):
    paths = write_report(report, tmp_path / "new" / "folder")
    assert set(paths) == {"html", "pdf", "json", "csv"}
    assert {path.name for path in paths["html"].parent.iterdir()} == {path.name for path in paths.values()}
    with open(paths["csv"], newline="") as file:
        rows = list(csv.DictReader(file))
    record = json.loads(paths["json"].read_text(encoding="utf-8"))
    for written, row, own in zip(rows, record["lesions"], report.rows(), strict=True):
        assert float(written["volume_mm3"]) == row["volume_mm3"] == own["volume_mm3"]
        assert written["case_id"] == "case-7"
    assert record["rano_bm"]["targets"] == [1]
    assert record["origin"]["network"] == "nested_unet"
    html = paths["html"].read_text(encoding="utf-8")
    for text in ("patient-3", "case-7", "nested_unet", "glioma", "Series 4 is taken as t1c.", "2024-06-02"):
        assert text in html
    assert html.count("data:image/jpeg;base64,") == 3
    assert not re.search(r"(?:src|href)=[\"'](?!data:)", html)  # it needs no other file
    assert paths["pdf"].read_bytes().startswith(b"%PDF")


def test_a_calibrated_probability_and_the_operating_point(report: LesionReport, tmp_path):
    """All voxels have 0.75, whose odds of 3 become 3 by a slope of 1: 75 %, and 9 by one of 2: 90 %."""
    assert "lesion_probability" not in report.rows()[0]
    about = {"least": 0.3, "candidates": 41, "lesions": 20}
    origin = replace(report.origin, operating_point="Expected: 0.5 false positives a scan.")
    known = replace(report, origin=origin, calibration=LesionCalibration(slope=2, intercept=0, **about))
    assert known.rows()[0]["lesion_probability"] == pytest.approx(0.9)
    paths = write_report(known, tmp_path)
    html = without_tags(paths["html"].read_text(encoding="utf-8"))
    for text in ("90 %", "n = 41", "Expected: 0.5 false positives"):
        assert text in html
    assert "lesion_probability" in paths["csv"].read_text().splitlines()[0]
    record = json.loads(paths["json"].read_text(encoding="utf-8"))
    assert "n = 41" in record["lesion_probability"] and "0.5" in record["origin"]["operating_point"]

    raw = replace(report, calibration=LesionCalibration(**about))
    html = without_tags(write_report(raw, tmp_path)["html"].read_text(encoding="utf-8"))
    assert "not calibrated" in html and "75 %" not in html and "lesion_probability" not in raw.rows()[0]


def test_slices_that_are_not_axial_are_said(report: LesionReport):
    """Sagittal slices of 5 mm, seen axially: what is two columns wide may be 6 mm or 9."""
    volume, mask = draw(np.diag([-5.0, -1, 1, 1]))
    sagittal = replace(report, visit=Visit.of_mask("", volume, mask))
    assert "5 × 1 mm" in sagittal.reading_notes[-1]
    assert len(sagittal.reading_notes) == len(report.reading_notes) + 1


def test_where_right_is_is_said_as_it_is(report: LesionReport, tmp_path):
    """A head turned so far that its nose points along the rows."""
    volume, mask = draw(np.array([[0.0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]))
    turned = replace(report, visit=Visit.of_mask("", volume, mask))
    claim = "right is on the left"
    assert claim not in write_report(turned, tmp_path / "turned")["html"].read_text(encoding="utf-8")
    assert claim in write_report(report, tmp_path / "straight")["html"].read_text(encoding="utf-8")


def test_names_cannot_add_to_the_page(report: LesionReport, tmp_path):
    hostile = replace(report, patient_id="<img src='file:///etc/passwd'>", notes=("<script>x</script>",))
    html = write_report(hostile, tmp_path)["html"].read_text(encoding="utf-8")
    assert "<script>" not in html and "<img src='" not in html


@pytest.mark.parametrize("patient_id", ["Иванова", "≥ 5", "x" * 300, ""])
def test_any_name_can_be_laid_out(report: LesionReport, tmp_path, patient_id: str):
    assert write_report(replace(report, patient_id=patient_id), tmp_path)["pdf"].stat().st_size > 5000


def test_nothing_stays_in_the_temporary_folder(report: LesionReport, tmp_path, monkeypatch):
    """Not even till the garbage is collected: a page is of a patient, and may be large."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    origin = replace(report.origin, caution="word " * 30_000)
    gc.disable()
    try:
        paths = write_report(replace(report, origin=origin), tmp_path)
        assert paths["html"].stat().st_size > 150_000 and [*temporary.iterdir()] == []
    finally:
        gc.enable()


def test_what_the_scan_leaves_unknown(report: LesionReport, tmp_path):
    volume, mask = draw(None)
    unknown = replace(report, visit=Visit.of_mask("", volume, mask))
    assert len(unknown.reading_notes) == len(report.reading_notes) + 2
    row = unknown.rows()[0]
    assert row["volume_mm3"] is row["longest_diameter_mm"] is row["centroid_mm_r"] is None
    assert row["longest_diameter_px"] == pytest.approx(np.hypot(12, 7), abs=1e-4)
    text = without_tags(write_report(unknown, tmp_path)["html"].read_text(encoding="utf-8"))
    assert " mm³" not in text and "px" in text
    spacing_alone = replace(
        report, visit=Visit.of_mask("", Volume(volume.array, volume.channels, None, (2, 1, 1)), mask)
    )
    assert spacing_alone.rows()[0]["volume_mm3"] == 576 and spacing_alone.targets == (1,)


def test_nothing_found(report: LesionReport, tmp_path):
    volume, mask = draw()
    empty = replace(report, visit=Visit.of_mask("", volume, np.zeros_like(mask)))
    paths = write_report(empty, tmp_path)
    assert empty.sum_mm is None
    assert report_record(empty)["lesions"] == [] and paths["pdf"].is_file()
    assert "does not exclude" in paths["html"].read_text(encoding="utf-8")


def test_pictures_are_bounded(report: LesionReport, tmp_path, monkeypatch):
    monkeypatch.setattr("metseg.reports.lesion_report.MAX_PICTURES", 2)
    html = write_report(report, tmp_path)["html"].read_text(encoding="utf-8")
    assert html.count("data:image/jpeg;base64,") == 2 and "2 of 3" in html


def test_a_comparison(report: LesionReport, tmp_path):
    volume, mask = draw()
    mask[5:7] = False
    before = Visit.of_mask("2024-01-15", volume, mask)
    compared = replace(report, follow_up=follow_up([before, report.visit]))
    paths = write_report(compared, tmp_path)
    record = json.loads(paths["json"].read_text(encoding="utf-8"))
    assert record["follow_up"]["response"]["category"] == "PD"
    assert [change["kind"] for change in record["follow_up"]["changes"]] == ["same", "new", "same"]
    text = without_tags(paths["html"].read_text(encoding="utf-8"))
    assert "2024-01-15" in text and "PD" in text and "steroids" in text


def test_a_folder_that_cannot_be_written(report: LesionReport, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MetsegError):
        write_report(report, tmp_path / "file")
