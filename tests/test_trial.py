"""One trial on volumes, from their files to scores, with the lesion that it was told to find."""

import pytest
from tiny_scans import tiny_config
from volume_set import SPACING_MM, write_volumes

from metseg.base.errors import MetsegError
from metseg.base.files import read_json
from metseg.data.cases import load_mask
from metseg.data.patients import identify
from metseg.evaluation.error_analysis import analyse_errors, by_lesion_size
from metseg.evaluation.evaluate import refuse_other_scans
from metseg.evaluation.origin import network_line
from metseg.training.find import find_cases_for
from metseg.training.run_folder import RunFolder
from metseg.trial import run_trial


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """The run, and the folder of its scans."""
    home = tmp_path_factory.mktemp("trial")
    config = tiny_config(write_volumes(home / "scans"), target="ET", epochs=1, test_fraction=0.3)
    run = RunFolder(home / "unet")
    score = run_trial(config, run, cache_dir=home / "cache")
    assert score.test_patients == len(run.read_split().test) > 0
    return run, home / "scans"


def test_the_target_travels_with_the_network(trial):
    run, scans = trial
    description = read_json(run.description)
    assert (description["target"], description["data"]["lesion"]) == ("ET", "BraTS: ET (3)")
    assert read_json(run.scored)["lesion"] == "BraTS: ET (3)"
    assert "ET (3)" in network_line(run.path, "unet")
    own, other = find_cases_for([run.path], scans), find_cases_for([run.path], scans, target="1,3")
    assert (load_mask(own[0]) < load_mask(other[0])).any()
    assert not (load_mask(own[0]) > load_mask(other[0])).any()
    refuse_other_scans([run.path], own, scans)


def test_scores_are_in_mm(trial):
    run, scans = trial
    table, _ = run.read_tables()
    assert set(table.hd95_unit) == {"mm"}
    depth, height, width = SPACING_MM
    ml = table.ref_voxels * depth * height * width / 1000
    assert table.ref_volume_ml.tolist() == pytest.approx(ml.tolist())
    found = analyse_errors([run.path], find_cases_for([run.path], scans))
    assert found.lesions.mm3.tolist() == pytest.approx((found.lesions.voxels * 6).tolist())
    assert by_lesion_size(found.lesions).index.name == "mm³"


def test_visits_of_one_patient_are_on_one_side(trial):
    run, scans = trial
    split = run.read_split()
    assert sorted((*split.train, *split.validation, *split.test)) == [
        f"BraTS-MET-{patient:05d}" for patient in range(1, 7)
    ]
    visits = {path.name for path in scans.iterdir() if identify(path.name).patient_id in split.test}
    assert set(run.read_tables()[0].case_id) == visits


def test_networks_of_two_targets_need_to_be_told_one(trial, tmp_path):
    run, scans = trial
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"target": "WT"}')
    with pytest.raises(MetsegError, match="ET.*WT.*--target"):
        find_cases_for([run.path, other], scans)
    assert find_cases_for([run.path, other], scans, target="WT")[0].volumes.target == {"WT": {1, 2, 3}}


def test_a_network_of_volumes_scores_slices(trial, tmp_path, write_set):
    run, _ = trial
    assert len(find_cases_for([run.path], write_set(tmp_path))) == 2
