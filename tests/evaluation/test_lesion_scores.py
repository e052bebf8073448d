"""Which lesions networks find, from scans whose masks are known by hand."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from drawn_networks import DrawnPredictor, write_boxes
from tiny_runs import write_bright_model

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, write_json
from metseg.data.cases import CaseFiles, find_cases
from metseg.data.content import fingerprint
from metseg.data.split import Split, write_split
from metseg.evaluation import evaluate as evaluate_module
from metseg.evaluation.evaluate import evaluate, score_volumes
from metseg.evaluation.lesion_scores import (
    RULES,
    THRESHOLDS,
    compare_patients,
    found_by_size,
    read_lesion_scores,
)
from metseg.training.run_folder import RunFolder


@pytest.fixture
def cases(tmp_path) -> list[CaseFiles]:
    return write_boxes(tmp_path / "scans")


@pytest.fixture
def scored(cases, tmp_path, monkeypatch) -> dict[str, list[Path]]:
    """Evaluations of a network that finds all that is bright and one that finds what is brightest."""
    folders = {}
    for name, threshold in (("nested_unet", 0.5), ("attention_unet", 0.9)):
        monkeypatch.setattr(evaluate_module, "Predictor", lambda folder, t=threshold: DrawnPredictor(t))
        folders[name] = [tmp_path / name]
        evaluate(name, cases, tmp_path / name / "evaluation")
    return folders


def test_the_table_of_lesions_by_hand(scored):
    """Of a 2³ and a 5³ in patient 1 the first is faint; patient 2 has a 3³, and a false alarm."""
    rows = pd.read_csv(RunFolder(scored["nested_unet"][0]).lesions)
    assert set(rows.rule) == set(RULES) and sorted(rows.threshold.unique()) == sorted(THRESHOLDS)
    at = rows[(rows.threshold == 0.5) & (rows.rule == "voxel")]
    assert at[["patient_id", "lesion", "voxels", "found", "false_positive"]].to_numpy().tolist() == [
        ["BraTS-MET-00001", 1, 8, True, False],
        ["BraTS-MET-00001", 2, 125, True, False],
        ["BraTS-MET-00002", 1, 27, True, False],
        ["BraTS-MET-00002", 0, 8, False, True],
    ]
    assert at.diameter_mm.tolist() == pytest.approx([2.4814, 6.2035, 3.7221, 2.4814], abs=1e-4)
    # above the probability of its brightest voxel a lesion is gone whole
    higher = rows[(rows.threshold == 0.7) & (rows.rule == "voxel")]
    assert higher.found.tolist() == [False, True, True] and higher.dice.tolist() == [0, 1, 1]


def test_tables_and_curves(scored):
    found = read_lesion_scores(scored)
    assert found.scans.to_dict() == {"BraTS-MET-00001": 1, "BraTS-MET-00002": 1}
    sizes = found.by_size("voxel").set_index(["network", "diameter_mm"])
    assert sizes.loc["nested_unet"].found.tolist() == [1, 1, 1, 0, 2, 3]
    assert sizes.loc["attention_unet"].found.tolist() == [0, 1, 0, 0, 1, 1]  # at its own 0.9
    assert found.false_positives("voxel").false_positives_per_scan.to_dict() == {
        "nested_unet": 0.5,
        "attention_unet": 0,
    }
    curves = found.curves("voxel")
    assert curves["nested_unet"].set_index("threshold").found[[0.9, 0.7, 0.5]].tolist() == [1, 2, 3]
    pair = found.pairs("voxel").iloc[0]
    assert (pair.network_a, pair.network_b) == ("nested_unet", "attention_unet")
    assert (pair.both, pair.only_a, pair.only_b, pair.neither) == (1, 2, 0, 0)
    assert pair.p_value == pair.p_holm == 1  # they differ in one patient alone


def test_a_scan_without_a_sequence_counts_as_it_is_served(cases, tmp_path, monkeypatch):
    """By 0.9 the first patient's lesions of 0.6 and 0.8 are missed; by the 0.7 of such scans one is found."""
    monkeypatch.setattr(evaluate_module, "Predictor", lambda folder: DrawnPredictor(0.9, incomplete=0.7))
    (tmp_path / "scans" / cases[0].case_id / f"{cases[0].case_id}-t1n.nii.gz").unlink()
    with pytest.warns(match="stands in"):
        some = find_cases(tmp_path / "scans", allow_missing=True)
    evaluate("unet", some, tmp_path / "unet" / "evaluation")
    found = read_lesion_scores({"unet": [tmp_path / "unet"]})
    assert found.served("unet", "voxel").found.tolist() == [False, True, True]
    curve = found.rows["unet"].query("rule == 'voxel' and lesion == 2 and patient_id == 'BraTS-MET-00001'")
    shown = curve[curve.threshold.isin([0.6, 0.7, 0.75, 0.85])].sort_values("threshold").found
    assert shown.tolist() == [True, True, True, False]


def test_what_a_network_finds_by_size(scored):
    found = found_by_size(scored["nested_unet"])
    assert (found["scans"], found["patients"], found["false_positives_per_scan"]) == (2, 2, 0.5)
    assert [(each["diameter_mm"], each["found"]) for each in found["sizes"][-2:]] == [("≥ 3", 2), ("all", 3)]


def test_own_tumours_do_not_count_beside_what_was_drawn(cases, tmp_path, monkeypatch):
    """In patient 1 the 5³ was drawn, the 2³ is its own; into patient 2 nothing was drawn."""
    place = {"centroid_mm": None, "centroid_voxel": (4, 4, 22)}
    drawn = {
        "number": 1,
        "kind": "solid",
        "diameter_mm": 6.2,
        "volume_mm3": 125,
        "voxels": 125,
        "core_mm3": 0,
    }
    lesions = {cases[0].case_id: [drawn | place | {"oedema_mm3": 0}], cases[1].case_id: []}
    record = {"cases": {name: {"lesions": each} for name, each in lesions.items()}}
    write_json(tmp_path / "scans" / "insertions.json", record)
    monkeypatch.setattr(evaluate_module, "Predictor", lambda folder: DrawnPredictor(0.5))
    evaluate("unet", cases, tmp_path / "unet" / "evaluation")
    found = found_by_size([tmp_path / "unet"])
    assert [each["lesions"] for each in found["sizes"]] == [0, 0, 1, 0, 1, 1] and found["set_aside"] == 2
    assert found["false_positives_per_scan"] == 0.5  # what was invented in patient 2 still is


def test_of_slices_no_lesion_is_told(scored):
    run = RunFolder(scored["nested_unet"][0])
    write_json(run.scored, {**read_json(run.scored), "lesion_rows": "slices without a voxel size"})
    assert found_by_size([run.path]) is None


def test_some_lesions_alone(scored):
    lesions = pd.DataFrame({"case_id": ["BraTS-MET-00001-000"], "lesion": [2]})
    found = read_lesion_scores(scored).only(lesions)
    assert found.by_size("voxel").lesions.tolist()[:5] == [0, 0, 1, 0, 1]
    assert found.false_positives("voxel").false_positives_per_scan["nested_unet"] == 0.5
    assert found.pairs("mets2026").lesions.item() == 1


def test_folds_of_a_network_are_one(scored, tmp_path, cases, monkeypatch):
    monkeypatch.setattr(evaluate_module, "Predictor", lambda folder: DrawnPredictor(0.5))
    for k, case in enumerate(cases):
        evaluate("unet", [case], tmp_path / f"fold-{k}" / "evaluation")
    folds = {"unet": [tmp_path / "fold-0", tmp_path / "fold-1"]}
    together = read_lesion_scores({**scored, **folds})
    sizes = together.by_size("voxel").set_index("network")
    columns = ["found", "low", "high"]
    pd.testing.assert_frame_equal(
        sizes.loc["unet", columns].reset_index(drop=True),
        sizes.loc["nested_unet", columns].reset_index(drop=True),
    )
    with pytest.raises(MetsegError, match="twice"):
        read_lesion_scores({"unet": [*folds["unet"], folds["unet"][0]]})
    with pytest.raises(MetsegError, match="other scans"):
        read_lesion_scores({**scored, "unet": folds["unet"][:1]})


def test_patients_side_by_side(scored):
    """Volume Dice of the first patient is 1 and 0, for at 0.9 all is missed; of the second 27 / 35 and 1."""
    summary, pairs = compare_patients(scored)
    assert set(summary.model) == {"nested_unet", "attention_unet"}
    dice = pairs[pairs.score == "dice"].iloc[0]
    assert dice.n == 2 and dice.mean_difference == pytest.approx((1 + 2 * 27 / (27 + 35) - 1) / 2)
    by_lesion = pairs[pairs.score == "mets2023_dice"].iloc[0]
    assert by_lesion.mean_difference == pytest.approx((1 + 1 / 2 - 1) / 2)  # the false alarm counts 0


def test_written_tables(scored, tmp_path):
    paths = read_lesion_scores(scored).write(tmp_path / "out")
    assert {path.name for path in paths} == {
        f"{name}_{rule}.csv" for rule in RULES for name in ("by_size", "pairs", "false_positives", "froc")
    }
    assert len(pd.read_csv(tmp_path / "out" / "pairs_voxel.csv")) == 1


def test_a_network_that_marks_nothing(cases, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate_module, "Predictor", lambda folder: DrawnPredictor(0.5, gain=0))
    evaluate("unet", cases, tmp_path / "e" / "evaluation")
    found = read_lesion_scores({"unet": [tmp_path / "e"]})
    assert found.by_size("mets2026").found.tolist() == [0] * 6
    assert (found.curves("voxel")["unet"].sensitivity == 0).all() and found.pairs("voxel").empty


@pytest.mark.parametrize("damage", ["rows", "gone"])
def test_damaged_tables(scored, damage):
    path = RunFolder(scored["nested_unet"][0]).lesions
    text = path.read_text().splitlines(keepends=True)
    path.unlink() if damage == "gone" else path.write_text("".join(text[:-1]))
    with pytest.raises(MetsegError, match="evaluate again"):
        read_lesion_scores(scored)


def test_without_voxel_size_there_is_no_table(cases, scored, monkeypatch):
    """What stood there of other scans goes, and the scores say why."""
    load = evaluate_module.load_case

    def load_without_size(files):
        case = load(files)
        return replace(case, volume=replace(case.volume, affine=None, spacing_mm=None))

    monkeypatch.setattr(evaluate_module, "load_case", load_without_size)
    output = scored["attention_unet"][0] / "evaluation"
    evaluate("attention_unet", cases, output)
    assert not (output / "lesions.csv").exists()
    assert "voxel size" in read_json(output / "evaluation.json")["lesion_rows"]
    with pytest.raises(MetsegError, match="voxel size"):
        read_lesion_scores(scored)


def test_scores_of_a_training_are_taken_and_others_made(cases, tmp_path, monkeypatch):
    """By what the scans hold and what is served; where one differs, the scans are scored anew."""
    monkeypatch.setattr(evaluate_module, "Predictor", lambda folder: DrawnPredictor(0.5))
    run = RunFolder(write_bright_model(tmp_path / "run" / "unet"))
    settings = DrawnPredictor(0.5).postprocessing.model_dump()
    served = {"sha256": "1234abcd", "postprocessing": settings, "tta_flip": False, "min_volume_share": 0.0}
    write_json(run.description, read_json(run.description) | served)
    write_split(Split((), (), ("BraTS-MET-00001", "BraTS-MET-00002"), 0, fingerprint(cases)), run.split)
    evaluate(run, cases, run.evaluation)
    assert score_volumes(run, cases, tmp_path / "a") == run and not (tmp_path / "a").exists()
    of_other_labels = find_cases(cases[0].volumes.home.parent, target="ET")
    assert score_volumes(run, of_other_labels, tmp_path / "et").path == tmp_path / "et"
    write_json(run.description, read_json(run.description) | {"tta_flip": True})
    made = score_volumes(run, cases, tmp_path / "b")
    assert made.path == tmp_path / "b" and made.lesions.is_file()
    data = {"name": "metseg phantom", "licence": "", "caution": ""}
    write_json(run.description, read_json(run.description) | {"data": data})
    with pytest.raises(MetsegError, match="phantom"):
        score_volumes(run, cases, tmp_path / "c")
