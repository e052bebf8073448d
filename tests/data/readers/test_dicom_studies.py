"""Folders of many studies: what is skipped is said with its reason."""

from dicom_files import a_scan, a_series

from metseg.data.readers import dicom_series
from metseg.data.readers.dicom_studies import list_studies


def test_a_study_of_too_many_images_is_skipped_for_that(tmp_path, monkeypatch):
    few, many = (
        a_series(tmp_path / name, a_scan(shape=(count, 6, 7)), patient_id=name)
        for name, count in (("few", 4), ("many", 5))
    )
    monkeypatch.setattr(dicom_series, "MOST_FRAMES", 4)
    (study,), (note,) = list_studies([*few, *many], tmp_path)
    assert study.patient_id == "few" and "more than 4" in note and many[0].name in note
