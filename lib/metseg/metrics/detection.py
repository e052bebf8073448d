"""Which lesions a network finds: by size, and at what price in false positives.

Everything starts from one table, the rows of `lesions_at` of all scans: a row a lesion and threshold. What
is found is told by a matching with a name (`lesion_matching.MATCHINGS`), so that every figure can be had by
any of them. The diameter of a lesion is that of the ball of its volume: it needs no orientation, and stays
defined where a matching counts several components as one lesion. Calipers, as in the lesion report, measure
more wherever a lesion is not round. Intervals resample patients, whose lesions are not independent.
"""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import stats

from metseg.masks.components import lesion_probabilities as lesion_probabilities  # its home is a room below
from metseg.metrics.lesion_matching import match_lesions
from metseg.metrics.statistics import ratio_interval, refuse_different
from metseg.metrics.surface import checked_spacing

DIAMETERS_MM = (3.0, 6.0, 10.0)  # ends of the classes of size: < 3, 3–6, 6–10, ≥ 10


def lesions_at(
    mask_ref: np.ndarray,
    prob_map: np.ndarray,
    thresholds: Iterable[float],
    *,
    spacing_mm: tuple[float, float, float],
    rule: str,
) -> pd.DataFrame:
    """Matches the lesions of one scan at several thresholds: a voxel is lesion from the threshold on.

    Args:
        mask_ref: bool, (Z, H, W).
        prob_map: float in [0, 1], of the same shape; `lesion_probabilities` of one gives thresholds over
            lesions instead of voxels. A mask as float and one threshold gives the mask's own figures.
        thresholds: Each > 0.
        spacing_mm: Voxel size (z, y, x).
        rule: One of `MATCHINGS`.

    Returns:
        The rows of `match_lesions` with threshold and diameter_mm; add patient_id before they are gathered.

    Raises:
        ValueError: Another shape or rule, spacing that does not fit, or a threshold that is not above 0.
    """
    voxel_mm3 = np.prod(checked_spacing(spacing_mm, 3))
    thresholds = [float(each) for each in thresholds]
    if not thresholds or not min(thresholds) > 0:
        raise ValueError(f"thresholds are {thresholds}; give probabilities above 0")
    tables = [
        match_lesions(mask_ref, prob_map >= each, rule=rule).assign(threshold=each) for each in thresholds
    ]
    table = pd.concat(tables, ignore_index=True)
    return table.assign(diameter_mm=ball_diameter(voxel_mm3 * table.voxels))


def ball_diameter(volume: float | np.ndarray | pd.Series) -> float | np.ndarray | pd.Series:
    """Returns the diameter of the ball of a volume: of mm³ in mm."""
    return np.cbrt(6 / np.pi * volume)


SCORED = f"≥ {DIAMETERS_MM[0]:g}"  # of all but the smallest, in tables


def size_classes(diameter_mm: pd.Series) -> pd.Series:
    """Returns the class of size of each diameter, ordered categories: "< 3", "3–6", "6–10", "≥ 10"."""
    names = [f"< {DIAMETERS_MM[0]:g}", *(f"{a:g}–{b:g}" for a, b in pairwise(DIAMETERS_MM))]
    names.append(f"≥ {DIAMETERS_MM[-1]:g}")
    codes = np.searchsorted(DIAMETERS_MM, diameter_mm.round(9), side="right")
    classes = pd.Categorical.from_codes(codes, names, ordered=True)
    return pd.Series(classes, diameter_mm.index, name="diameter_mm")


def sensitivity_by_diameter(lesions: pd.DataFrame, scans: pd.Series) -> pd.DataFrame:
    """Returns how many of the lesions of each size were found, at one threshold.

    Args:
        lesions: Rows of `lesions_at`, of one threshold and all patients, with patient_id.
        scans: As for `froc`; who has no lesion of a class is drawn in its bootstrap too.

    Returns:
        A row a class of size, the smallest first, then one of all but the smallest, which most studies score,
        and one of all: diameter_mm (text), lesions, found, sensitivity (nan without a lesion), low and high
        (95 % bootstrap interval over patients).

    Raises:
        ValueError: The rows are of several thresholds.
    """
    if len(found_at := lesions.threshold.unique()) > 1:
        raise ValueError(f"lesions are of {len(found_at)} thresholds; choose the rows of one")
    real = lesions[~lesions.false_positive]
    classes, rows = size_classes(real.diameter_mm), []
    names = classes.cat.categories
    groups = {name: classes == name for name in names}
    groups |= {SCORED: classes > names[0], "all": classes >= names[0]}
    for name, chosen in groups.items():
        by_patient = real[chosen].groupby("patient_id").found
        found, of = (
            each.reindex(scans.index, fill_value=0) for each in (by_patient.sum(), by_patient.size())
        )
        low, high = ratio_interval(found, of)
        row = {"diameter_mm": name, "lesions": int(of.sum()), "found": int(found.sum())}
        rows.append({**row, "sensitivity": found.sum() / (of.sum() or np.nan), "low": low, "high": high})
    return pd.DataFrame(rows)


def froc(lesions: pd.DataFrame, scans: pd.Series) -> pd.DataFrame:
    """Returns the free-response curve: sensitivity over all lesions against false positives a scan.

    Args:
        lesions: Rows of `lesions_at`, of all thresholds and patients, with patient_id.
        scans: How many scans each patient has, indexed by patient_id; of all, those without a lesion too.

    Returns:
        A row a threshold that has any lesion, real or predicted, the highest first: threshold, lesions,
        found, sensitivity, false_positives_per_scan, and the ends of both's 95 % bootstrap intervals over
        patients: sensitivity_low, sensitivity_high, false_positives_low, false_positives_high.

    Raises:
        ValueError: A patient of the lesions has no scans, or there is no lesion, real or predicted.

    Reference:
        Chakraborty & Winter (1990), Free-response methodology: alternate analysis and a new
        observer-performance experiment, Radiology 174:873-881.
    """
    if lacking := sorted({*lesions.patient_id} - {*scans.index}):
        raise ValueError(f"scans lacks {', '.join(map(str, lacking))}; count the scans of every patient")
    if lesions.empty:
        raise ValueError("there is no lesion, neither real nor predicted; give other scans or thresholds")
    rows = []
    for threshold, table in sorted(lesions.groupby("threshold"), reverse=True):
        kinds = {"of": ~table.false_positive, "found": table.found, "false": table.false_positive}
        counts = pd.DataFrame(kinds).groupby(table.patient_id).sum()
        of, hits, invented = (counts[name].reindex(scans.index, fill_value=0) for name in counts)
        sensitivity, per_scan = ratio_interval(hits, of), ratio_interval(invented, scans)
        rows.append(
            {
                "threshold": threshold,
                "lesions": int(of.sum()),
                "found": int(hits.sum()),
                "sensitivity": hits.sum() / (of.sum() or np.nan),
                "sensitivity_low": sensitivity[0],
                "sensitivity_high": sensitivity[1],
                "false_positives_per_scan": invented.sum() / scans.sum(),
                "false_positives_low": per_scan[0],
                "false_positives_high": per_scan[1],
            }
        )
    return pd.DataFrame(rows)


def operating_point(curve: pd.DataFrame, *, false_positives_per_scan: float) -> pd.Series | None:
    """Returns the row of `froc` with the highest sensitivity at no more false positives a scan; None if none.

    Of equal sensitivities the one with the fewest false positives.
    """
    within = curve[curve.false_positives_per_scan <= false_positives_per_scan]
    best = within.sort_values(["sensitivity", "false_positives_per_scan"], ascending=[False, True])
    return None if within.empty else best.iloc[0]


def paired_lesions(found_a: pd.Series, found_b: pd.Series) -> dict:
    """Compares which of the same lesions two networks find, patient by patient.

    Lesions of a patient are not independent, so the patient is the unit: under the hypothesis that the
    networks are alike, a patient's lesions that one finds alone might as well be the other's, all at once.
    The test turns these round in each patient, in all ways where there are few patients, else in 9,999 drawn
    ways, and counts how often the difference is as large.

    Args:
        found_a, found_b: bool, of the same lesions in any order, indexed by patient_id and whatever else
            tells lesions apart.

    Returns:
        patients (with a lesion), lesions, both, only_a, only_b, neither; difference (of the sensitivities, a
        minus b), low, high (95 % bootstrap interval over patients), p_value (two-sided; nan without a
        lesion). With n patients in whom the networks differ no p-value is below 2 / 2^n.

    Raises:
        ValueError: The lesions differ, or one is there twice.

    Reference:
        Fisher (1935), The Design of Experiments, section 21, for the test; Winkler et al. (2014), Permutation
        inference for the general linear model, NeuroImage 92:381-397, for whole blocks; Obuchowski (1998), On
        the comparison of correlated proportions for clustered data, Stat. Med. 17:1495-1507, for the problem.
    """
    refuse_different(found_a.index, found_b.index, "found_a", "found_b")
    a, b = found_a.astype(bool), found_b.reindex(found_a.index).astype(bool)
    by_patient = (a.astype(int) - b.astype(int)).groupby("patient_id")
    more, lesions = by_patient.sum(), by_patient.size()
    low, high = ratio_interval(more, lesions)
    p_value = np.nan
    if len(more):
        zero = np.zeros(len(more))
        p_value = stats.permutation_test(
            (more.to_numpy(float), zero) if len(more) > 1 else ([*more, 0.0], [0.0, 0.0]),
            lambda x, y, axis: (x - y).sum(axis=axis),
            permutation_type="samples",
            n_resamples=9_999,
            rng=np.random.default_rng(0),
        ).pvalue
    return {
        "patients": len(lesions),
        "lesions": int(lesions.sum()),
        "both": int((a & b).sum()),
        "only_a": int((a & ~b).sum()),
        "only_b": int((b & ~a).sum()),
        "neither": int((~a & ~b).sum()),
        "difference": more.sum() / (lesions.sum() or np.nan),
        "low": low,
        "high": high,
        "p_value": float(p_value),
    }
