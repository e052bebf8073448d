"""Example pictures: the right scans, with all that a network shows of itself."""

import numpy as np
import pytest
from test_error_analysis import LEFT, scans  # noqa: F401, a fixture
from tiny_runs import write_bright_model
from tiny_scans import finished_training

from metseg.data.cases import find_cases, load_case
from metseg.evaluation.error_analysis import analyse_errors
from metseg.evaluation.error_pictures import case_picture, example_pictures, head_maps
from metseg.evaluation.evaluate import unseen_cases
from metseg.inference.predictor import Predictor


def test_worst_median_and_best(scans, tmp_path):  # noqa: F811
    folders, cases = [write_bright_model(tmp_path, gates=(16, 8))], find_cases(scans)
    pictures = example_pictures(analyse_errors(folders, cases), folders, cases)
    assert [each.title for each in pictures] == [
        "worst: TCGA_HT_0002_20000101\nvolume Dice 0.00",
        "median: TCGA_CS_0001_20000101\nvolume Dice 0.89",
        "best: TCGA_HT_0003_20000101\nvolume Dice 1.00",
    ]
    best = pictures[-1]
    assert list(best.maps) == ["probability", "entropy", "gate 1", "gate 2"]
    assert best.mask_ref.sum() == 16 and (best.mask_pred == best.mask_ref).all()
    assert best.image[LEFT[1:]].min() == 255  # of two slices the one with the lesion
    assert {each.shape for each in best.maps.values()} == {(32, 32)}


@pytest.mark.slow
def test_heads_are_averaged_to_what_is_served(tmp_path_factory):
    model_dir = finished_training(tmp_path_factory)
    case = load_case(unseen_cases(find_cases(model_dir.parents[1] / "scans"), model_dir)[0])
    heads = head_maps(model_dir, case.image, 1)
    assert list(heads) == ["L1", "L2"]
    served = Predictor(model_dir).prob_map(case.image)[1]
    np.testing.assert_allclose(np.mean(list(heads.values()), axis=0), served, atol=1e-4)
    files = unseen_cases(find_cases(model_dir.parents[1] / "scans"), model_dir)[0]
    assert list(case_picture(model_dir, files, "x").maps) == ["probability", "entropy", "L1", "L2"]
