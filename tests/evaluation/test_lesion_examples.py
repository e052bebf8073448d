"""Lesions of references by hand, and the pictures of what a network finds, misses and invents."""

import numpy as np
import pytest
from drawn_networks import DrawnPredictor, write_boxes

from metseg.data.phantom.insert import InsertedLesion
from metseg.evaluation import evaluate as evaluate_module
from metseg.evaluation import lesion_examples
from metseg.evaluation.evaluate import evaluate
from metseg.evaluation.lesion_examples import lesion_pictures, reference_lesions
from metseg.evaluation.lesion_scores import read_lesion_scores


def test_lesions_of_references(tmp_path):
    cases = write_boxes(tmp_path / "scans")
    table = reference_lesions(cases)
    assert table.case_id.tolist() == ["BraTS-MET-00001-000"] * 2 + ["BraTS-MET-00002-000"]
    assert table.lesion.tolist() == [1, 2, 1] and set(table.origin) == {"reference"}
    assert table.diameter_mm.tolist() == pytest.approx([2.4814, 6.2035, 3.7221], abs=1e-4)
    # the cube of 5 mm around voxel (4, 4, 22) was inserted: x and y of the patient run against the voxels'
    lesion = InsertedLesion(1, "solid", 6.2, 125.0, 125, 0.0, (-22.0, -4.0, 4.0), (4.0, 4.0, 22.0), 0.0)
    table = reference_lesions(cases, {"BraTS-MET-00001-000": [lesion]})
    assert table.origin.tolist() == ["own tumour", "synthetic", "own tumour"]


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """At 0.7 the faint cube is missed and the alarm silent; a cube beside the reference is invented."""
    cases = write_boxes(tmp_path / "scans")
    monkeypatch.setattr(lesion_examples, "_WINDOW_MM", 10.0)
    for module in (evaluate_module, lesion_examples):
        monkeypatch.setattr(module, "Predictor", lambda folder: Shifted(0.7))
    evaluate("nested_unet", cases, tmp_path / "n" / "evaluation")
    rows = read_lesion_scores({"n": [tmp_path / "n"]}).served("n", "voxel")
    return lesion_pictures(tmp_path / "n", cases, rows)


class Shifted(DrawnPredictor):
    """Marks a cube of 2 mm more in slices 5 and 6."""

    def prob_maps(self, volume):
        maps = super().prob_maps(volume)
        maps["TC"][5:7, 9:11, 8:10] = 1
        return maps


def test_found_missed_and_invented(pictures):
    diameters = {kind: [round(each.diameter_mm, 2) for each in shown] for kind, shown in pictures.items()}
    assert diameters == {"found": [3.72, 6.2], "missed": [2.48], "invented": [2.48, 2.48]}
    missed = pictures["missed"][0]
    assert missed.case_id == "BraTS-MET-00001-000" and missed.image.shape == (10, 10) and missed.aspect == 1
    assert missed.mask_ref.sum() == 4 and not missed.mask_pred.any()
    assert np.array_equal(missed.image > missed.image.min(), missed.mask_ref)


def test_no_more_than_told(pictures, tmp_path):
    assert all(len(shown) <= 2 for shown in pictures.values())
