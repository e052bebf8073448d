"""Error analysis: on a network that marks bright pixels, so that every mask is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_runs import write_bright_model
from tiny_scans import finished_training, write_case

from metseg.base.errors import MetsegError
from metseg.data.cases import find_cases
from metseg.data.volume import Case, Labels, Volume
from metseg.evaluation.error_analysis import (
    analyse_errors,
    by_lesion_size,
    case_picture,
    example_pictures,
    missing_channels,
)
from metseg.evaluation.evaluate import unseen_cases

SHAPE = (2, 32, 32)


def image_of(*regions: tuple) -> np.ndarray:
    """Grey 40 in all channels but the post-contrast one, 255 in the regions."""
    image = np.full((*SHAPE, 3), 40, np.uint8)
    image[..., 2] = 41
    for region in regions:
        image[region] = 255
    return image


def mask_of(region: tuple) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[region] = True
    return mask


LEFT, RIGHT = (0, slice(4, 8), slice(4, 8)), (1, slice(10, 12), slice(20, 22))


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """One lesion found and a false positive, one lesion missed, and a patient whom the network has seen."""
    folder = tmp_path_factory.mktemp("scans")
    write_case(folder, "TCGA_CS_0001_20000101", image_of(LEFT, RIGHT), mask_of(LEFT))
    write_case(folder, "TCGA_HT_0002_20000101", image_of(), mask_of(RIGHT))
    write_case(folder, "TCGA_HT_0003_20000101", image_of(LEFT), mask_of(LEFT))
    return folder


def test_scans_lesions_and_counts_by_hand(scans, tmp_path):
    model = write_bright_model(tmp_path, seen=("TCGA_HT_0003",))
    found = analyse_errors([model], find_cases(scans))
    assert found.scans.case_id.tolist() == ["TCGA_CS_0001_20000101", "TCGA_HT_0002_20000101"]
    assert found.scans.dice.tolist() == [pytest.approx(2 * 16 / (16 + 20)), 0]
    assert found.scans.ref_voxels.tolist() == [16, 4]
    assert found.scans.institution.tolist() == ["CS", "HT"]
    assert found.scans.missing.tolist() == ["pre-contrast"] * 2
    lesions = found.lesions[["patient_id", "false_positive", "voxels", "found"]]
    assert lesions.to_numpy().tolist() == [
        ["TCGA_CS_0001", False, 16, True],
        ["TCGA_CS_0001", True, 4, False],
        ["TCGA_HT_0002", False, 4, False],
    ]
    # 16 pixels are rightly found, 4 wrongly; of 4 more that are wrong it is as sure as of all the others.
    assert found.pixels.sum(axis=1).tolist() == pytest.approx([20, 20, 16], abs=1e-3)
    assert found.errors_unseen == 0.5


def test_folds_score_whom_they_held_out(scans, tmp_path):
    patients = ["TCGA_CS_0001", "TCGA_HT_0002", "TCGA_HT_0003"]
    folders = [
        write_bright_model(tmp_path / str(k), seen=tuple(p for p in patients if p != held_out))
        for k, held_out in enumerate(patients)
    ]
    found = analyse_errors(folders, find_cases(scans))
    assert found.scans.patient_id.tolist() == patients
    assert found.scans.dice.tolist()[2] == 1 and found.scans.fold.tolist() == [0, 1, 2]
    assert found.pixels[0].sum() == 20 + 0 + 16


def test_a_clean_scan_beside_one_with_a_lesion(tmp_path):
    nothing = np.zeros(SHAPE, bool)
    write_case(tmp_path / "scans", "a_1", image_of(), nothing)
    write_case(tmp_path / "scans", "b_1", image_of(LEFT), mask_of(LEFT))
    found = analyse_errors([write_bright_model(tmp_path / "model")], find_cases(tmp_path / "scans"))
    assert by_lesion_size(found.lesions).loc["all"].tolist() == [1, 1, 1, 0, 1]
    assert np.isnan(found.scans.dice[0]) and found.scans.dice[1] == 1
    assert np.isnan(found.errors_unseen)


def test_all_seen_is_refused(scans, tmp_path):
    seen = ("TCGA_CS_0001", "TCGA_HT_0002", "TCGA_HT_0003")
    with pytest.raises(MetsegError, match="was trained or chosen on all of these patients"):
        analyse_errors([write_bright_model(tmp_path, seen=seen)], find_cases(scans))


@pytest.mark.parametrize(
    ("channels", "missing"),
    [((1, 2, 3), []), ((2, 2, 3), ["pre-contrast"]), ((2, 2, 2), ["pre-contrast", "post-contrast"])],
)
def test_a_channel_that_repeats_flair_is_missing(channels, missing):
    image = np.tile(np.uint8(channels), (1, 4, 4, 1))
    case = Case(Volume.of_slices(image), Labels.of_mask(np.zeros((1, 4, 4), bool)), "p_1", "p")
    assert missing_channels(case) == missing


def test_lesion_sizes_by_hand():
    lesions = pd.DataFrame(
        [(False, 9, False, 0.0), (False, 10, True, 0.5), (False, 99, True, 0.9), (True, 3, False, np.nan)],
        columns=["false_positive", "voxels", "found", "dice"],
    )
    table = by_lesion_size(lesions, sizes=(10, 100))
    assert table.index.tolist() == ["< 10", "10 to 100", "≥ 100", "all"]
    assert table.lesions.tolist() == [1, 2, 0, 3]
    assert table.false_positives.tolist() == [1, 0, 0, 1]
    assert table.sensitivity.tolist() == pytest.approx([0, 1, np.nan, 2 / 3], nan_ok=True)
    assert table.dice.tolist() == pytest.approx([0, 0.7, np.nan, 1.4 / 3], nan_ok=True)
    # 2·found / (2·found + missed + false positives)
    assert table.f1.tolist() == pytest.approx([0, 1, np.nan, 4 / (4 + 1 + 1)], nan_ok=True)


def test_worst_median_and_best(scans, tmp_path):
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
    files = unseen_cases(find_cases(model_dir.parents[1] / "scans"), model_dir)[0]
    maps = case_picture(model_dir, files, "x").maps
    assert list(maps) == ["probability", "entropy", "L1", "L2"]
    np.testing.assert_allclose((maps["L1"] + maps["L2"]) / 2, maps["probability"], atol=1e-4)
