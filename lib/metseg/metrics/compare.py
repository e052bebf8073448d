"""What a set of scored scans says about a model, and about two of them.

A model comes as two tables, the rows of `evaluate_case` gathered: `per_patient` (one row a scan, with
patient_id and case_id) and `per_slice` (one row a slice, with both ids). The unit of every interval and test
is the patient: neighbouring slices, and scans of one person, are not independent.
"""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from metseg.metrics.case_scores import LESIONWISE
from metseg.metrics.overlap import dice_from_counts, lesion_f1
from metseg.metrics.patient_sums import patient_sums
from metseg.metrics.statistics import bootstrap_interval, holm, paired_test, refuse_different

# one sentence a column of the summary, shown wherever the number is shown
DEFINITIONS: dict[str, str] = {
    "model": "Name of the model.",
    "n_patients": "Patients evaluated.",
    "n_dice_undefined": "Patients with neither tumour nor prediction: their Dice is undefined and left out.",
    "dice_mean": "Mean over patients of the volume Dice, all voxels of a patient's scans counted together.",
    "dice_mean_low": "Lower end of the 95 % bootstrap interval of dice_mean, patients resampled.",
    "dice_mean_high": "Upper end of the 95 % bootstrap interval of dice_mean, patients resampled.",
    "dice_median": "Median over patients of the volume Dice.",
    "dice_median_low": "Lower end of the 95 % bootstrap interval of dice_median, patients resampled.",
    "dice_median_high": "Upper end of the 95 % bootstrap interval of dice_median, patients resampled.",
    "tumour_slice_dice": "Mean slice Dice over all slices, of all patients, whose reference shows tumour.",
    "pooled_dice": "One Dice over all voxels of all patients together, so large tumours weigh most.",
    "slice_dice_empty1": "Mean slice Dice over all slices, an empty slice left empty counts 1; flattering.",
    "precision": "Mean over patients of the share of predicted voxels that are tumour; a complete miss is 0.",
    "recall": "Mean over patients with tumour of the share of tumour voxels that were predicted.",
    "hd95_median": "Median over patients of the 95th percentile Hausdorff distance, a missed scan infinite.",
    "hd95_unit": "Unit of hd95_median: mm, px (voxels, spacing unknown), or mixed (then it is left out).",
    "n_hd95_infinite": "Patients with a scan in which exactly one of reference and prediction is empty.",
    "lesion_sensitivity": "Share of all reference lesions that the prediction overlaps in a voxel or more.",
    "lesion_f1": "2·found / (2·found + missed + false positives), over all lesions of all patients.",
    "false_positives_per_patient": "Predicted lesions that overlap no reference lesion, per patient.",
    "mets2023_dice": "Lesion-wise Dice of BraTS-METS 2023, mean over patients; nan without voxel size.",
    "mets2023_hd95": "Lesion-wise HD95 of 2023, mm, mean over patients; a lesion missed or invented is 374.",
    "mets2026_dice": "Lesion-wise Dice of BraTS-METS 2026, mean over patients with a lesion of 27 mm³ or "
    "more; a false positive in others costs nothing.",
    "mets2026_nsd": "Lesion-wise NSD of 2026 at the smallest side of a voxel, over the same patients.",
    "mets2026_hd95": "Lesion-wise HD95 of 2026, mm, over the same; one missed or any invented is 373.",
}

_SCAN = ["patient_id", "case_id"]
_VOXELS = ["ref_voxels", "pred_voxels", "tp_voxels"]
_COUNTS = [*_VOXELS, "lesions_ref", "lesions_detected", "lesions_false_positive"]
_PAIR = ["model_a", "model_b", "n", "n_dropped"]
_PAIR += ["mean_difference", "mean_difference_low", "mean_difference_high", "p_value"]
Tables = tuple[pd.DataFrame, pd.DataFrame]  # per_patient, per_slice


def combine_cases(per_patient: pd.DataFrame) -> pd.DataFrame:
    """Returns one row a patient: the counts of a patient's scans added, the ratios taken of the sums.

    Scans whose voxels differ in size are weighed by it in the ratios, see `patient_sums`. `hd95` is the worst
    of the scans, a lesion-wise score the mean of those in which it is defined.

    Returns:
        Table indexed by patient_id, sorted: the six counts, hd95, `LESIONWISE` (nan where the table lacks
        them), dice (nan when both masks are empty), precision (0 for a complete miss, nan when both are
        empty) and recall (nan without tumour).

    Raises:
        ValueError: a column is missing, the table is empty, or a scan is in it twice.
    """
    _require(per_patient, [*_SCAN, *_COUNTS, "hd95", "hd95_unit"], "per_patient")
    if len(twice := per_patient.loc[per_patient.duplicated(_SCAN), _SCAN]):
        raise ValueError(f"per_patient holds a scan twice: {twice.to_numpy().tolist()}; keep one row a scan")
    by_patient = per_patient.reindex(columns=per_patient.columns.union(LESIONWISE)).groupby("patient_id")
    table = by_patient[_COUNTS].sum().join(by_patient["hd95"].max()).join(by_patient[[*LESIONWISE]].mean())
    sums = patient_sums(per_patient, _VOXELS)
    ref, pred, tp = (sums[name] for name in _VOXELS)
    table["dice"] = dice_from_counts(ref, pred, tp, empty=np.nan)
    table["precision"] = (tp / pred).mask((pred == 0) & (ref > 0), 0.0)
    table["recall"] = tp / ref
    return table


def region_dice(per_patient: pd.DataFrame) -> pd.DataFrame:
    """Returns the volume Dice of the regions after the main one, by `patient_sums`.

    Args:
        per_patient: As for `combine_cases`, with `ref_voxels_ET`, `pred_voxels_ET`, `tp_voxels_ET` of a
            region ET.

    Returns:
        Table indexed by patient_id, sorted, a column a region; none where the main one is alone.
    """
    starts = f"{_VOXELS[0]}_"
    names = [column.removeprefix(starts) for column in per_patient if column.startswith(starts)]
    total = patient_sums(per_patient, [f"{each}_{name}" for name in names for each in _VOXELS])
    dice = {
        name: dice_from_counts(*(total[f"{each}_{name}"] for each in _VOXELS), empty=np.nan) for name in names
    }
    return pd.DataFrame(dice, index=total.index)


def summarise(per_patient: pd.DataFrame, per_slice: pd.DataFrame) -> dict:
    """Returns every figure of merit of one model, as `DEFINITIONS` states them.

    An undefined (nan) patient is left out of a mean; no miss can make a patient undefined, so none can raise
    a mean.

    Returns:
        The keys of `DEFINITIONS` without "model", in that order, as plain numbers and one str.

    Raises:
        ValueError: a column is missing, or the two tables hold different scans.
    """
    patients = combine_cases(per_patient)
    _require(per_slice, [*_SCAN, "ref_px", "pred_px", "tp_px"], "per_slice")
    refuse_different(_scans(per_patient), _scans(per_slice), "per_patient", "per_slice")
    dice, units = patients["dice"].dropna(), per_patient["hd95_unit"].unique()
    mean_low, mean_high = bootstrap_interval(dice, np.mean)
    median_low, median_high = bootstrap_interval(dice, np.median)
    ref, pred, tp = (per_slice[column].to_numpy() for column in ("ref_px", "pred_px", "tp_px"))
    slice_dice = pd.Series(dice_from_counts(ref, pred, tp, empty=1.0))
    total = patients[_COUNTS].sum().astype(int)
    found, invented = total.lesions_detected, total.lesions_false_positive
    figures = {
        "n_patients": len(patients),
        "n_dice_undefined": len(patients) - len(dice),
        "dice_mean": dice.mean(),
        "dice_mean_low": mean_low,
        "dice_mean_high": mean_high,
        "dice_median": dice.median(),
        "dice_median_low": median_low,
        "dice_median_high": median_high,
        "tumour_slice_dice": slice_dice[ref > 0].mean(),
        "pooled_dice": dice_from_counts(*total[_VOXELS], empty=np.nan),
        "slice_dice_empty1": slice_dice.mean(),
        "precision": patients["precision"].mean(),
        "recall": patients["recall"].mean(),
        "hd95_median": np.median(patients["hd95"]) if len(units) == 1 else np.nan,
        "hd95_unit": units[0] if len(units) == 1 else "mixed",
        "n_hd95_infinite": int(np.isinf(patients["hd95"]).sum()),
        "lesion_sensitivity": found / (total.lesions_ref or np.nan),
        "lesion_f1": lesion_f1(found=found, missed=total.lesions_ref - found, false_positives=invented),
        "false_positives_per_patient": invented / len(patients),
        **patients[[*LESIONWISE]].mean(),
    }
    return {name: each if isinstance(each, int | str) else float(each) for name, each in figures.items()}


def compare_models(tables: Mapping[str, Tables]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Summarises every model and tests every pair on per-patient Dice.

    Args:
        tables: {model: (per_patient, per_slice)}, all evaluated on the same scans.

    Returns:
        Summary, one row a model, columns as `DEFINITIONS`, best dice_mean first; and the pairs, one row a
        pair: model_a (the better one), model_b, the keys of `paired_test`, p_holm (over all pairs).

    Raises:
        ValueError: no model, or models evaluated on different patients or scans, or on other reference masks
            of them.
    """
    if not tables:
        raise ValueError("no model to compare; evaluate at least one")
    first = next(iter(tables))
    for name, (per_patient, _) in tables.items():
        refuse_different(_scans(tables[first][0]), _scans(per_patient), f"model {first}", f"model {name}")
        _refuse_other_references(tables, first, name)
    rows = [{"model": name, **summarise(*pair)} for name, pair in tables.items()]
    summary = pd.DataFrame(rows, columns=list(DEFINITIONS))
    summary = summary.sort_values("dice_mean", ascending=False, kind="stable", ignore_index=True)
    dice = {name: combine_cases(per_patient)["dice"] for name, (per_patient, _) in tables.items()}
    tests = [
        {"model_a": a, "model_b": b, **paired_test(dice[a], dice[b])}
        for a, b in combinations(summary["model"], 2)
    ]
    pairs = pd.DataFrame(tests, columns=_PAIR)
    return summary, pairs.assign(p_holm=holm(pairs["p_value"]))


def _require(table: pd.DataFrame, columns: list[str], name: str) -> None:
    """Raises unless the table has rows and all the columns."""
    if missing := [column for column in columns if column not in table.columns]:
        raise ValueError(f"{name} lacks the columns {missing}; evaluate the model again")
    if table.empty:
        raise ValueError(f"{name} has no rows; evaluate at least one scan")


def _refuse_other_references(tables: Mapping[str, Tables], first: str, other: str) -> None:
    """Raises where two models' scans of one name have other reference masks; names the scans.

    By their hash; tables older than that tell by the voxels of each scan and of each slice.
    """
    different = set()
    for a, b, place in zip(tables[first], tables[other], ([], ["slice_index"]), strict=True):
        both = a.merge(b, on=[*_SCAN, *place], how="outer", suffixes=("_a", "_b"), indicator="_in")
        differs = both["_in"] != "both"
        for column in {"ref_sha256", "ref_voxels", "ref_px"} & {*a.columns} & {*b.columns}:
            left, right = both[f"{column}_a"], both[f"{column}_b"]
            differs |= (left != right) & left.notna() & right.notna()
        different |= set(both.loc[differs, "case_id"])
    if different:
        raise ValueError(
            f"model {first} and model {other} were scored against different reference masks of "
            f"{', '.join(sorted(map(str, different)))}; evaluate both on the same masks"
        )


def _scans(table: pd.DataFrame) -> pd.Index:
    return pd.MultiIndex.from_frame(table[_SCAN]).unique()
