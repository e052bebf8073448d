"""From the scans that a user names to the report of one patient."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from complaints import complaint
from drawn_volumes import FIRST, OTHER, SECOND, phantom_volumes

from metseg.base.errors import MetsegError
from metseg.data.scan_inputs import scan_inputs
from metseg.data.volume_files import reference_alone
from metseg.reports.patient import (
    compare_visits,
    open_visits,
    reading_notes,
    unlike,
    visit_inputs,
    write_visits,
)
from metseg.reports.results import drawn


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return phantom_volumes(tmp_path_factory)


def marked(folder, *cases, of=""):
    scans, _ = open_visits(visit_inputs([folder / of / case for case in cases]))
    masks = [folder / case / f"{case}-seg.nii.gz" for case in cases]
    return [drawn(scan, reference_alone(mask)) for scan, mask in zip(scans, masks, strict=True)]


@pytest.mark.parametrize("of", ["", "dicom"])
def test_the_last_visit_is_reported_with_what_became_of_the_first(tmp_path, folder, of):
    found = marked(folder, FIRST, SECOND, of=of)
    compared = compare_visits(found)
    # As it was drawn: the largest grew by a quarter, the smallest went, a new one came, the others stayed.
    kinds = sorted(change.kind for change in compared.changes)
    assert kinds == sorted(["new", "gone"] + ["same"] * (len(found[0].visit.lesions) - 1))
    written = write_visits(found, tmp_path, compared=compared, notes=reading_notes(found))
    record = json.loads(written["json"].read_text())
    assert written["json"].parent.name == f"{found[1].scan.case_id}_report"
    assert record["origin"]["network"] == "reference"
    assert record["follow_up"]["visits"] == [each.visit.name for each in found]
    assert sum(found[0].scan.case_id in note for note in record["notes"]) >= 1  # how its labels were taken


def test_one_visit_has_nothing_to_be_compared_with(tmp_path, folder):
    found = marked(folder, FIRST)
    assert compare_visits(found) is None
    assert json.loads(write_visits(found, tmp_path)["json"].read_text())["follow_up"] is None


def test_a_large_region_that_one_mask_lacks_puts_the_change_in_doubt(folder):
    first, second = (each._replace(prob_map=np.zeros(1)) for each in marked(folder, FIRST, SECOND))
    assert unlike([first, second]) == []
    lacking = second._replace(dropped=("A region of 9 ml is not in the mask.",))
    (told,) = unlike([first, lacking])
    assert second.visit.name in told
    assert unlike([lacking]) == [] and lacking.dropped[0] in reading_notes([lacking])


def test_two_patients_are_refused_unless_told(folder):
    inputs = visit_inputs([folder / FIRST, folder / OTHER])
    line = complaint(open_visits, inputs)
    assert "PHANTOM-MET-00001" in line and "PHANTOM-MET-00002" in line and "--same-patient" in line
    scans, notes = open_visits(inputs, same_patient=True)
    assert len(scans) == 2 and "PHANTOM-MET-00002" in notes[0]


def test_scans_of_one_name_do_not_overwrite_each_other(folder, tmp_path):
    homes = []
    for when, case in (("before", FIRST), ("after", SECOND)):
        homes.append(tmp_path / when / "head")
        homes[-1].mkdir(parents=True)
        for name in ("t1n", "t1c", "t2f"):
            shutil.copy(folder / case / f"{case}-{name}.nii.gz", homes[-1] / f"head-{name}.nii.gz")
    scans, notes = open_visits(visit_inputs(homes))
    assert [scan.case_id for scan in scans] == ["head_1", "head_2"] and "head" in notes[0]


def test_visits_of_one_name_are_told_apart(folder):
    first, second = marked(folder, FIRST, SECOND)
    second = second._replace(visit=replace(second.visit, name=first.visit.name))
    assert compare_visits([first, second]).names == (FIRST, SECOND)


@pytest.mark.parametrize(
    ("former", "now", "refused"),
    [
        ("001", "000", True),
        ("20240415", "20240115", True),
        ("visit2", "visit1", True),
        ("15.01.2024", "01.02.2024", False),
        ("visit10", "visit9", False),  # written otherwise, so not compared
        ("baseline", "2024", False),
    ],
)
def test_time_runs_forward(folder, monkeypatch, former, now, refused):
    inputs = scan_inputs(folder / FIRST) * 2
    visits = iter([former, now])
    opened = open_visits(inputs[:1])[0][0]
    monkeypatch.setattr(
        "metseg.reports.patient.open_scan", lambda *_, **__: replace(opened, visit=next(visits))
    )
    if refused:
        with pytest.raises(MetsegError, match="in time order"):
            open_visits(inputs)
    else:
        assert len(open_visits(inputs)[0]) == 2


def test_each_source_is_one_scan_of_its_own(tmp_path, folder):
    assert "3 scans" in complaint(visit_inputs, [folder])
    twice = [folder / FIRST, folder / FIRST / f"{FIRST}-t1c.nii.gz"]
    assert "two visits" in complaint(visit_inputs, twice)
    assert "two visits" in complaint(visit_inputs, [folder / "dicom" / FIRST] * 2)
    assert "no volume" in complaint(visit_inputs, [tmp_path])
