"""Answers worked out by hand; the working stands beside each."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from metseg.metrics.case_scores import LESIONWISE, evaluate_case
from metseg.metrics.compare import (
    DEFINITIONS,
    combine_cases,
    compare_models,
    region_dice,
    summarise,
)
from metseg.metrics.statistics import holm


def model_tables(*scans: tuple, spacing_mm=None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores scans given as (patient, case, reference, prediction), each slice a row of '#' and '.'."""
    rows, slices = [], []
    for patient_id, case_id, ref, pred in scans:
        volumes = [np.array([[[letter == "#" for letter in row]] for row in mask]) for mask in (ref, pred)]
        row, per_slice = evaluate_case(*volumes, spacing_mm=spacing_mm)
        ids = {"patient_id": patient_id, "case_id": case_id}
        rows.append({**ids, **row})
        slices.append(per_slice.assign(**ids))
        slices[-1]["slice_index"] = range(len(per_slice))
    return pd.DataFrame(rows), pd.concat(slices, ignore_index=True)


# one big tumour found whole (Dice 1), one small one half found (2*1/(2+1) = 2/3) and an empty slice
BIG = ("big", "scan1", ["########"], ["########"])
SMALL = ("small", "scan1", ["##......", "........"], ["#.......", "........"])
SMALL_MISSED = ("small", "scan1", ["##......", "........"], ["........", "........"])


def test_summarise_by_hand():
    summary = summarise(*model_tables(BIG, SMALL))
    assert ["model", *summary] == list(DEFINITIONS)
    assert summary["n_patients"] == 2
    assert summary["dice_mean"] == summary["dice_median"] == pytest.approx((1 + 2 / 3) / 2)
    # both resamples of one patient twice are among those drawn
    assert (summary["dice_mean_low"], summary["dice_mean_high"]) == pytest.approx((2 / 3, 1.0))
    assert (summary["dice_median_low"], summary["dice_median_high"]) == pytest.approx((2 / 3, 1.0))
    assert summary["pooled_dice"] == pytest.approx(
        2 * 9 / (10 + 9)
    )  # not the mean: the big tumour weighs more
    assert summary["tumour_slice_dice"] == pytest.approx((1 + 2 / 3) / 2)
    assert summary["slice_dice_empty1"] == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert summary["precision"] == 1.0
    assert summary["recall"] == pytest.approx((1 + 1 / 2) / 2)
    # small: distances 0 and 1 from the reference, position 0.95; big: 0
    assert (summary["hd95_median"], summary["hd95_unit"]) == (pytest.approx(0.95 / 2), "px")
    assert (summary["n_hd95_infinite"], summary["lesion_sensitivity"], summary["lesion_f1"]) == (0, 1.0, 1.0)
    assert summary["false_positives_per_patient"] == 0.0


def test_summarise_complete_miss_and_false_alarm():
    healthy = ("healthy", "scan1", ["........"], ["#.#....."])
    summary = summarise(*model_tables(BIG, SMALL_MISSED, healthy))
    assert summary["dice_mean"] == pytest.approx(1 / 3)
    assert summary["n_dice_undefined"] == 0
    assert summary["precision"] == pytest.approx((1 + 0 + 0) / 3)
    assert summary["recall"] == pytest.approx((1 + 0) / 2)  # the healthy patient has no recall
    assert (summary["n_hd95_infinite"], summary["hd95_median"]) == (2, math.inf)
    assert summary["lesion_sensitivity"] == 0.5
    assert summary["lesion_f1"] == 2 * 1 / (2 * 1 + 1 + 2)  # one found, one missed, two invented
    assert summary["false_positives_per_patient"] == pytest.approx(2 / 3)


def test_a_miss_improves_no_column():
    found, missed = (summarise(*model_tables(BIG, small)) for small in (SMALL, SMALL_MISSED))
    for key in [
        "dice_mean",
        "dice_median",
        "tumour_slice_dice",
        "pooled_dice",
        "slice_dice_empty1",
        "precision",
        "recall",
        "lesion_sensitivity",
        "lesion_f1",
    ]:
        assert missed[key] < found[key], key
    assert missed["hd95_median"] > found["hd95_median"]


def test_healthy_patient_left_alone_is_dropped_and_counted():
    healthy = ("healthy", "scan1", ["........"], ["........"])
    summary = summarise(*model_tables(BIG, SMALL, healthy))
    assert (summary["n_patients"], summary["n_dice_undefined"]) == (3, 1)
    assert summary["dice_mean"] == pytest.approx((1 + 2 / 3) / 2)


def test_no_lesion_anywhere():
    summary = summarise(*model_tables(("healthy", "scan1", ["........"], ["........"])))
    undefined = ["dice_mean", "pooled_dice", "tumour_slice_dice", "precision", "recall"]
    for key in (*undefined, "lesion_sensitivity", "lesion_f1"):
        assert math.isnan(summary[key]), key
    assert summary["slice_dice_empty1"] == 1.0


def test_one_patient_has_no_interval():
    summary = summarise(*model_tables(BIG))
    assert summary["dice_mean"] == 1.0
    assert math.isnan(summary["dice_mean_low"]) and math.isnan(summary["dice_median_high"])


def test_mixed_units_give_no_distance():
    parts = [model_tables(BIG), model_tables(SMALL, spacing_mm=(1.0, 1.0, 1.0))]
    per_patient, per_slice = (pd.concat(tables) for tables in zip(*parts, strict=True))
    summary = summarise(per_patient, per_slice)
    assert summary["hd95_unit"] == "mixed" and math.isnan(summary["hd95_median"])


def test_lesionwise_scores_of_volumes():
    # Two slices of 1 × 1 × 4 mm: lesions of 64 and 16 mm³ in a row, of which the second is missed.
    masks = ["########....##"] * 2, ["########......"] * 2
    tables = model_tables(("p", "scan1", *masks), ("q", "scan1", masks[0], masks[0]), spacing_mm=(1, 4, 1))
    summary = summarise(*tables)
    assert summary["mets2023_dice"] == pytest.approx((1 / 2 + 1) / 2)
    assert (summary["mets2023_hd95"], summary["mets2026_hd95"]) == (pytest.approx(374 / 4), 0)
    assert summary["mets2026_dice"] == summary["mets2026_nsd"] == 1  # the second is small
    # of tables that lack them, as of slices, they are undefined
    former = summarise(tables[0].drop(columns=[*LESIONWISE]), tables[1])
    assert (
        all(math.isnan(former[name]) for name in LESIONWISE) and former["dice_mean"] == summary["dice_mean"]
    )


def test_cases_of_a_patient_are_combined():
    # scan1: reference 8, prediction 8, both 8; scan2: reference 2, missed; not the mean of 1 and 0
    scans = [("p", "scan1", ["########"], ["########"]), ("p", "scan2", ["##......"], ["........"])]
    per_patient, per_slice = model_tables(*scans)
    row = combine_cases(per_patient).loc["p"]
    assert row["dice"] == pytest.approx(16 / 18)
    assert (row["precision"], row["recall"], row["hd95"]) == (1.0, 0.8, math.inf)
    assert (row["lesions_ref"], row["lesions_detected"]) == (2, 1)
    assert summarise(per_patient, per_slice)["n_patients"] == 1


def test_tables_must_be_whole():
    per_patient, per_slice = model_tables(BIG, SMALL)
    with pytest.raises(ValueError, match="lacks the columns.*tp_voxels"):
        summarise(per_patient.drop(columns="tp_voxels"), per_slice)
    with pytest.raises(ValueError, match="twice.*small"):
        summarise(pd.concat([per_patient, per_patient.tail(1)]), per_slice)
    with pytest.raises(ValueError, match=r"per_slice lacks \[\('small', 'scan1'\)\]"):
        summarise(per_patient, per_slice[per_slice["patient_id"] == "big"])
    with pytest.raises(ValueError, match="no rows"):
        summarise(per_patient.head(0), per_slice.head(0))


def test_predicting_nothing_scores_the_share_of_empty_slices():
    silent = [(patient, case, ref, ["." * 8] * len(ref)) for patient, case, ref, _ in (BIG, SMALL)]
    assert summarise(*model_tables(*silent))["slice_dice_empty1"] == pytest.approx(1 / 3)


def test_compare_models():
    tables = {
        "poor": model_tables(BIG, SMALL_MISSED),
        "good": model_tables(BIG, SMALL),
        "same": model_tables(BIG, SMALL),
    }
    summary, pairs = compare_models(tables)
    assert list(summary.columns) == list(DEFINITIONS)
    assert summary["model"].tolist() == ["good", "same", "poor"]
    assert summary["dice_mean"].tolist() == pytest.approx([5 / 6, 5 / 6, 1 / 2])
    assert pairs[["model_a", "model_b"]].to_numpy().tolist() == [
        ["good", "same"],
        ["good", "poor"],
        ["same", "poor"],
    ]
    assert pairs["mean_difference"].tolist() == pytest.approx([0.0, 1 / 3, 1 / 3])
    assert pairs["p_holm"].tolist() == pytest.approx(holm(pairs["p_value"]).tolist())


def test_compare_one_model():
    summary, pairs = compare_models({"only": model_tables(BIG, SMALL)})
    assert len(summary) == 1 and len(pairs) == 0
    assert {"model_a", "model_b", "mean_difference", "p_value", "p_holm"} < {*pairs.columns}


def test_compare_models_refuses_other_patients():
    with pytest.raises(
        ValueError, match=r"model one and model two.*model two lacks \[\('small', 'scan1'\)\]"
    ):
        compare_models({"one": model_tables(BIG, SMALL), "two": model_tables(BIG)})
    with pytest.raises(ValueError, match="at least one"):
        compare_models({})


def test_compare_models_refuses_other_reference_masks():
    """Half a lesion more or less in one slice, or the same number of voxels elsewhere."""
    tables = {"a": model_tables(BIG, SMALL), "b": model_tables(BIG, SMALL_MISSED)}
    compare_models(tables)
    corrected = ("small", "scan1", ["###.....", "........"], SMALL[3])
    other_slice = ("small", "scan1", ["#.......", "#......."], SMALL[3])
    more_slices = ("small", "scan1", [*SMALL[2], "........"], [*SMALL[3], "........"])
    for scan in (corrected, other_slice, more_slices):
        tables["b"] = model_tables(BIG, scan)
        with pytest.raises(ValueError, match="model a and model b .* different reference masks of scan1"):
            compare_models(tables)
    # As many voxels in each slice, but others: only a hash tells.
    hashed = {name: (tables["a"][0].assign(ref_sha256=[f"{name}1", "2"]), tables["a"][1]) for name in "ab"}
    with pytest.raises(ValueError, match="different reference masks"):
        compare_models(hashed)
    hashed["b"] = tables["a"]  # of before there were hashes
    compare_models(hashed)


def test_tables_survive_csv(tmp_path):
    before = model_tables(BIG, SMALL_MISSED)
    after = []
    for number, table in enumerate(before):
        table.to_csv(tmp_path / f"{number}.csv", index=False)
        after.append(pd.read_csv(tmp_path / f"{number}.csv"))
    assert summarise(*after) == pytest.approx(summarise(*before), nan_ok=True)


def test_summary_is_plain_json():
    summary = summarise(*model_tables(BIG, SMALL))
    row, _ = evaluate_case(*[np.ones((1, 2, 2), bool)] * 2, spacing_mm=None)
    assert json.loads(json.dumps(summary)) == pytest.approx(summary, nan_ok=True)
    assert {type(value) for value in row.values()} == {int, float, str}


def test_the_dice_of_further_regions_is_over_all_scans_of_a_patient():
    scans = {"patient_id": ["P1", "P1", "P2"], "case_id": ["a", "b", "c"]}
    counts = {"ref_voxels_ET": [10, 0, 4], "pred_voxels_ET": [10, 5, 4], "tp_voxels_ET": [5, 0, 4]}
    nothing = {"ref_voxels_WT": [0, 0, 1], "pred_voxels_WT": [0, 0, 0], "tp_voxels_WT": [0, 0, 0]}
    found = region_dice(pd.DataFrame(scans | counts | nothing))
    assert found.ET.to_dict() == {"P1": 10 / 25, "P2": 1.0}
    assert np.isnan(found.WT["P1"]) and found.WT["P2"] == 0
    assert region_dice(pd.DataFrame(scans)).columns.empty
