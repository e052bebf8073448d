"""Networks that learned from more patients, scored on the same."""

from pathlib import Path

import pytest
from drawn_networks import DrawnPredictor, write_boxes
from tiny_scans import tiny_config

from metseg.base.errors import MetsegError
from metseg.base.files import write_json
from metseg.data.split import Split, write_split
from metseg.evaluation import evaluate as evaluate_module
from metseg.evaluation.evaluate import evaluate
from metseg.evaluation.learning_curve import learning_curve
from metseg.evaluation.lesion_scores import read_lesion_scores
from metseg.training.run_folder import RunFolder


@pytest.fixture
def runs(tmp_path, monkeypatch) -> list[Path]:
    """A network that learned from five patients finds all, one that learned from two finds one of three."""
    cases, folders = write_boxes(tmp_path / "scans"), []
    for count, threshold in ((5, 0.5), (2, 0.9)):
        monkeypatch.setattr(evaluate_module, "Predictor", lambda folder, t=threshold: DrawnPredictor(t))
        run = RunFolder(tmp_path / str(count))
        evaluate("unet", cases, run.evaluation)
        names = [f"P{k}" for k in range(5)]
        split = Split((*names[:count],), ("V",), ("T",), 0, "f", (*names[count:],))
        write_split(split, run.split)
        write_json(run.config, tiny_config("x", train_patients=count if count < 5 else 0).flat())
        folders.append(run.path)
    return folders


def test_more_patients_in_a_row_each(runs):
    curve = learning_curve(runs)
    assert curve.patients.tolist() == [2, 5]
    assert curve.sensitivity.tolist() == [1 / 2, 1]  # of the two of 3 mm and more
    assert curve.false_positives_per_scan.tolist() == [0, 0.5]
    assert (curve.sensitivity_low <= curve.sensitivity).all()
    assert (curve.dice_mean_low <= curve.dice_mean).all() and curve.dice_mean[1] > curve.dice_mean[0]


def test_some_lesions_may_count_alone(runs):
    """The 5³ in patient 1, which one of them finds."""
    rows = read_lesion_scores({"a": [runs[0]]}).rows["a"]
    largest = rows[rows.voxels == 125][["case_id", "lesion"]].drop_duplicates()
    assert learning_curve(runs, largest).sensitivity.tolist() == [0, 1]


def test_networks_of_two_recipes_are_no_curve(runs):
    write_json(RunFolder(runs[1]).config, tiny_config("x", train_patients=2, loss="focal").flat())
    with pytest.raises(MetsegError, match="differ in loss"):
        learning_curve(runs)
