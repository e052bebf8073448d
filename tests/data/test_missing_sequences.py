"""Scans that lack a sequence are left out, or FLAIR stands in as it does in serving."""

import numpy as np
import pytest
from volume_set import write_volumes

from metseg.base.errors import MetsegError, MetsegWarning
from metseg.base.files import write_json
from metseg.data.cases import find_cases, how_read, list_cases, load_case, read_scan_of
from metseg.data.check import check_data
from metseg.data.missing_sequences import keep_usable
from metseg.data.scan_inputs import open_scan, scan_input_of, scan_inputs
from metseg.training.config import train_config
from metseg.training.dataset import prepare_data
from metseg.training.find import find_cases_for

NO_T1, NO_FLAIR = "BraTS-MET-00001-001", "BraTS-MET-00002-000"


@pytest.fixture
def folder(tmp_path):
    """Nine scans of six patients; one lacks t1, one FLAIR."""
    folder = write_volumes(tmp_path / "scans")
    (folder / NO_T1 / f"{NO_T1}-t1n.nii.gz").unlink()
    (folder / NO_FLAIR / f"{NO_FLAIR}-t2f.nii.gz").unlink()
    return folder


def test_left_out_and_said(folder):
    with pytest.warns(MetsegWarning) as told:
        cases = find_cases(folder)
    assert len(cases) == 7 and not {NO_T1, NO_FLAIR} & {case.case_id for case in cases}
    (text,) = {str(each.message) for each in told}
    assert "2 of 9" in text and f"{NO_T1} (t1)" in text and f"{NO_FLAIR} (flair)" in text


def test_flair_stands_in_as_in_serving(folder):
    with pytest.warns(MetsegWarning, match=rf"1 of 9.*{NO_T1}") as told:
        cases = {case.case_id: case for case in find_cases(folder, allow_missing=True)}
    assert len(cases) == 8 and any(f"{NO_FLAIR} (flair)" in str(each.message) for each in told)
    case = cases[NO_T1]
    t1, flair, _ = load_case(case).volume.array
    assert np.array_equal(t1, flair)
    (given,) = scan_inputs(folder / NO_T1)
    served = open_scan(given, allow_missing=True).scan.volume
    for volume in (load_case(case).volume, read_scan_of(case), open_scan(scan_input_of(case)).scan.volume):
        assert np.array_equal(volume.array, served.array)
    assert not any(each.allow_missing for name, each in cases.items() if name != NO_T1)


def test_post_contrast_stands_in_where_a_training_needs_no_flair(folder):
    no_t1c = "BraTS-MET-00003-000"
    (folder / no_t1c / f"{no_t1c}-t1c.nii.gz").unlink()
    for needed, kept, left in ((("flair",), 8, NO_FLAIR), (("t1c",), 8, no_t1c), (("t1c", "flair"), 7, "")):
        with pytest.warns(MetsegWarning):
            cases = find_cases(folder, allow_missing=True, never_missing=needed)
        assert len(cases) == kept and left not in {case.case_id for case in cases}
    cases, notes = keep_usable(list_cases(folder), allow_missing=True, never_missing=("t1c",))
    assert f"{NO_T1} (t1), {NO_FLAIR} (flair)" in notes[0] and f"{no_t1c} (t1c)" in notes[1]
    (case,) = (each for each in cases if each.case_id == NO_FLAIR)
    t1, flair, t1c = load_case(case).volume.array
    assert np.array_equal(flair, t1c) and not np.array_equal(t1, t1c)
    with pytest.warns(MetsegWarning, match="never_missing=t1c"):
        find_cases(folder, allow_missing=True)


def test_who_lacks_it_in_all_scans(folder):
    for path in folder.glob("*/*-t1n.nii.gz"):
        path.unlink()
    with pytest.raises(MetsegError, match="each of the 9 scans lacks"):
        find_cases(folder)
    assert len(keep_usable(list_cases(folder), allow_missing=True)[0]) == 8


def test_check_data_takes_what_some_training_takes(folder):
    for path in [*folder.rglob("*t1n.nii.gz"), *folder.rglob("*t2f.nii.gz")]:
        path.unlink()
    assert len(check_data(folder).errors) == 1
    report = check_data(folder, allow_missing=True)
    assert not report.errors and any("never_missing=t1c" in note for note in report.notes)


def test_nothing_but_a_sequence_that_no_network_takes(folder):
    for kind in ("t1n", "t1c"):
        (folder / NO_FLAIR / f"{NO_FLAIR}-{kind}.nii.gz").rename(folder / NO_FLAIR / f"{NO_FLAIR}-t2w.nii.gz")
    cases = list_cases(folder)
    assert "9 scans" in how_read(cases)
    assert NO_FLAIR not in {case.case_id for case in keep_usable(cases, allow_missing=True)[0]}


@pytest.mark.filterwarnings("ignore::metseg.base.errors.MetsegWarning")
def test_a_training_and_its_scores_take_the_same_scans(folder, tmp_path):
    values = {"model": "unet", "data_dir": str(folder), "image_size": 32, "filters": (4, 8), "folds": 2}
    numbers = {}
    for allow_missing in (False, True):
        config = train_config(**values, allow_missing=allow_missing)
        data = prepare_data(config, cache_dir=tmp_path / "cache")
        run = tmp_path / f"run-{allow_missing}"
        write_json(run / "config.json", config.flat())
        scored = {case.case_id for case in find_cases_for([run], folder)}
        assert scored == set(data.cache.slices.case_id)
        numbers[allow_missing] = len(scored)
    assert numbers == {False: 7, True: 8}
    assert {*data.split.train} & {*data.split.test} == set()
