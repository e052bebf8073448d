"""Tables of masks that are known, worked out by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from tiny_scans import write_case

from metseg.base import files
from metseg.base.errors import MetsegError
from metseg.base.files import write_json
from metseg.data.cases import CaseFiles, find_cases
from metseg.data.volume import Volume
from metseg.evaluation import evaluate as evaluate_module
from metseg.evaluation.evaluate import evaluate, unseen_cases
from metseg.masks.postprocess import Postprocessing
from metseg.training.run_folder import RunFolder

WRITTEN = {"per_patient.csv", "per_slice.csv", "examples.npz", "evaluation.json"}


class StubPredictor:
    """Marks the pixels that are bright in the image's second channel."""

    name, postprocessing, tta_flip = "stub", Postprocessing(threshold=0.4, min_lesion_px=3), True
    min_volume_share = 0.3
    description, sha256 = {"parameters": 7}, "1234abcd"
    library, precision = "abacus", "fp32"

    def __init__(self, model_dir):
        pass

    def doing_without(self, missing: tuple[str, ...]) -> "StubPredictor":
        assert missing == ()
        return self

    def prob_maps(self, volume: Volume) -> dict[str, np.ndarray]:
        return {"lesion": volume.array[1] / 255}

    def masks_of(self, maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: prob_map > 200 / 255 for name, prob_map in maps.items()}


@pytest.fixture
def cases(tmp_path, monkeypatch) -> list[CaseFiles]:
    """Two scans of 8×8 px; what the stub will say is drawn into the second channel.

    TEST_0001: slice 1 without lesion and left empty; slice 2 a 2×2 lesion of which 2 px are found and 1
    beside it is invented; slice 3 a lesion of 1 px, missed. TEST_0002: healthy, 1 px invented in slice 1.
    """
    image, mask = np.zeros((3, 8, 8, 3), np.uint8), np.zeros((3, 8, 8), bool)
    mask[1, 2:4, 2:4] = True
    mask[2, 6, 6] = True
    image[1, 2, 2:5, 1] = 255
    image[..., 0] = np.arange(3)[:, None, None]  # to tell the slices apart
    write_case(tmp_path / "scans", "TEST_0001_20000101", image, mask)
    image, mask = np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 8, 8), bool)
    image[0, 5, 5, 1] = 255
    write_case(tmp_path / "scans", "TEST_0002_20000101", image, mask)
    monkeypatch.setattr(evaluate_module, "Predictor", StubPredictor)
    return find_cases(tmp_path / "scans")


def test_tables_by_hand(cases, tmp_path):
    returned = evaluate("nowhere", cases, tmp_path / "m" / "evaluation")
    per_patient, per_slice = RunFolder(tmp_path / "m").read_tables()
    pd.testing.assert_frame_equal(per_patient, returned)

    first, second = per_patient.to_dict("records")
    assert (first["patient_id"], first["case_id"]) == ("TEST_0001", "TEST_0001_20000101")
    assert (first["n_slices"], first["n_tumour_slices"]) == (3, 2)
    assert (first["ref_voxels"], first["pred_voxels"], first["tp_voxels"]) == (5, 3, 2)
    assert first["dice"] == pytest.approx(2 * 2 / (5 + 3))
    assert first["tumour_slice_dice"] == pytest.approx((2 * 2 / (4 + 3) + 0) / 2)
    assert first["slice_dice_empty1"] == pytest.approx((1 + 4 / 7 + 0) / 3)
    assert first["precision"] == pytest.approx(2 / 3) and first["recall"] == pytest.approx(2 / 5)
    assert (first["lesions_ref"], first["lesions_detected"], first["lesions_false_positive"]) == (2, 1, 0)
    assert first["hd95_unit"] == "px" and np.isnan(first["ref_volume_ml"])  # the files tell no spacing
    assert second["patient_id"] == "TEST_0002"
    assert second["dice"] == 0 and np.isnan(second["recall"]) and np.isinf(second["hd95"])
    assert second["slice_dice_empty1"] == pytest.approx((0 + 1) / 2)

    expected = pd.DataFrame(
        {
            "patient_id": ["TEST_0001"] * 3 + ["TEST_0002"] * 2,
            "slice_index": [1, 2, 3, 1, 2],  # as in the files' names
            "ref_px": [0, 4, 1, 0, 0],
            "pred_px": [0, 3, 0, 1, 0],
            "tp_px": [0, 2, 0, 0, 0],
            "dice": [np.nan, 4 / 7, 0, 0, np.nan],
        }
    )
    pd.testing.assert_frame_equal(per_slice[list(expected)], expected, check_dtype=False)


def test_scores_carry_a_hash_of_the_reference(cases, tmp_path):
    hashes = [evaluate("nowhere", cases, tmp_path / "m" / "evaluation").ref_sha256.tolist()]
    path = cases[0].slices[1].mask
    mask = tifffile.imread(path)
    tifffile.imwrite(path, np.roll(mask, 1, axis=0))  # as many pixels
    hashes.append(evaluate("nowhere", cases, tmp_path / "m" / "evaluation").ref_sha256.tolist())
    assert hashes[0][0] != hashes[1][0] and hashes[0][1] == hashes[1][1]
    assert RunFolder(tmp_path / "m").read_tables()[0].ref_sha256.tolist() == hashes[1]


def test_summary_and_examples(cases, tmp_path):
    evaluate("nowhere", cases, tmp_path / "evaluation")
    summary = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert summary["model"] == "stub" and summary["parameters"] == 7
    assert summary["sha256"] == "1234abcd"  # by it the scores are known to be this file's
    assert summary["postprocessing"] == {"threshold": 0.4, "min_lesion_px": 3, "fill_holes": False}
    assert summary["tta_flip"] is True and summary["min_volume_share"] == 0.3
    assert (summary["cases"], summary["slices"]) == (2, 5) and summary["seconds_per_slice"] > 0
    assert summary["data"] == "own scans"
    assert "voxel size" in summary["lesionwise"]  # why there are none
    with np.load(tmp_path / "evaluation" / "examples.npz") as examples:
        names = {f"{case.case_id}/{part}" for case in cases for part in ("image", "mask_ref", "mask_pred")}
        assert set(examples.files) == names
        image, mask_ref, mask_pred = (
            examples[f"TEST_0001_20000101/{part}"] for part in ("image", "mask_ref", "mask_pred")
        )
    # The second slice has the largest reference.
    assert image.shape == (8, 8, 3) and (image[..., 0] == 1).all()
    assert np.argwhere(mask_ref).tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]
    assert np.argwhere(mask_pred).tolist() == [[2, 2], [2, 3], [2, 4]]
    assert {path.name for path in (tmp_path / "evaluation").iterdir()} == WRITTEN


def test_progress(cases, tmp_path):
    seen = []
    evaluate("nowhere", iter(cases), tmp_path / "evaluation", on_case=lambda *done: seen.append(done))
    assert seen == [(1, 2), (2, 2)]


def test_nothing_is_written_when_a_scan_cannot_be_read(cases, tmp_path):
    (cases[1].slices[1].image).write_bytes(b"torn")
    with pytest.raises(MetsegError, match="TEST_0002_20000101_2.tif"):
        evaluate("nowhere", cases, tmp_path / "evaluation")
    assert list((tmp_path / "evaluation").iterdir()) == []


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_an_interrupted_evaluation_is_not_taken_for_a_whole_one(cases, tmp_path, monkeypatch, name):
    """`evaluation.json` is written last and says that the tables beside it belong together."""
    output = tmp_path / "evaluation"
    evaluate("nowhere", cases[:1], output)
    replace = files.os.replace

    def die(source, target):
        if Path(target).name == name:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        evaluate("nowhere", cases, output)
    monkeypatch.undo()
    assert not (output / "evaluation.json").exists()
    assert {path.name for path in output.iterdir()} <= WRITTEN  # no partial file


# whom a model has seen


@pytest.fixture
def model_dir(tmp_path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    write_json(folder / "model.json", {"seen": ["TEST_0001", "TEST_0002", "TEST_0003"]})
    return folder


def case(case_id: str, patient_id: str) -> CaseFiles:
    return CaseFiles(case_id, patient_id, ())


def test_training_and_validation_patients_are_left_out(model_dir):
    cases = [case(f"TEST_{k:04d}_20000101", f"TEST_{k:04d}") for k in range(1, 6)]
    # A later scan of a patient that was learned from is as seen as the first.
    cases.append(case("TEST_0001_20050505", "TEST_0001"))
    unseen = unseen_cases(iter(cases), model_dir)
    assert [each.patient_id for each in unseen] == ["TEST_0004", "TEST_0005"]


def test_a_model_that_has_seen_all_of_them(model_dir):
    with pytest.raises(MetsegError, match="trained or chosen on all of these patients"):
        unseen_cases([case("TEST_0003_20000101", "TEST_0003")], model_dir)


def test_a_model_that_does_not_tell_whom_it_has_seen_is_not_scored(tmp_path):
    write_json(tmp_path / "model.json", {})
    with pytest.raises(MetsegError, match="does not say which patients the model has seen"):
        unseen_cases([case("TEST_0001_20000101", "TEST_0001")], tmp_path)
