"""Sensitivity by size and the free-response curve, by hand, and that a miss never improves them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from metseg.metrics.detection import (
    froc,
    lesion_probabilities,
    lesions_at,
    operating_point,
    paired_lesions,
    sensitivity_by_diameter,
)
from metseg.metrics.lesion_matching import MATCHINGS

NAN, MM = float("nan"), (1.0, 1.0, 1.0)


def drawn(*boxes: tuple[int, int, int, float], shape: tuple = (8, 8, 40)) -> np.ndarray:
    """A map with (y, x, side, probability) cubes from slice 1 on."""
    prob_map = np.zeros(shape)
    for y, x, side, probability in boxes:
        prob_map[1 : 1 + side, y : y + side, x : x + side] = probability
    return prob_map


# patient A: lesions of 1, 27 and 125 voxels, of which the first is missed; an invented one at 0.4
REF_A = drawn((1, 1, 1, 1), (1, 8, 3, 1), (1, 20, 5, 1)) > 0
MAP_A = drawn((1, 8, 3, 0.9), (1, 20, 5, 0.6), (1, 32, 2, 0.4))
# patient B: no lesion, an invented one at 0.7, in one of two scans
REF_B = np.zeros(REF_A.shape, bool)
MAP_B = drawn((3, 3, 2, 0.7))
SCANS = pd.Series({"A": 1, "B": 2})


@pytest.fixture(params=MATCHINGS)
def lesions(request) -> pd.DataFrame:
    pairs = {"A": (REF_A, MAP_A), "B": (REF_B, MAP_B)}
    known = {"spacing_mm": MM, "rule": request.param}
    tables = [lesions_at(*pairs[who], (0.3, 0.5, 0.8), **known).assign(patient_id=who) for who in pairs]
    return pd.concat(tables, ignore_index=True)


def test_the_diameter_is_that_of_a_ball_of_its_volume():
    table = lesions_at(REF_A, MAP_A, [0.5], spacing_mm=(2, 1, 0.5), rule="voxel")
    assert table.diameter_mm.tolist() == pytest.approx(
        [1.2407, 3.7221, 6.2035], abs=1e-4
    )  # (6 · 1 mm³ / π)^(1/3), thrice and five times as much
    assert lesions_at(REF_A, MAP_A, [0.5], spacing_mm=(8, 1, 1), rule="voxel").diameter_mm[
        0
    ] == pytest.approx(2 * 1.2407, abs=1e-4)


def test_sensitivity_by_diameter(lesions):
    table = sensitivity_by_diameter(lesions[lesions.threshold == 0.5], SCANS)
    assert table.diameter_mm.tolist() == ["< 3", "3–6", "6–10", "≥ 10", "≥ 3", "all"]
    assert table.lesions.tolist() == [1, 1, 1, 0, 2, 3] and table.found.tolist() == [0, 1, 1, 0, 2, 2]
    assert table.sensitivity.tolist() == pytest.approx([0, 1, 1, NAN, 1, 2 / 3], nan_ok=True)
    assert table.low.isna().all()  # one patient with lesions tells no spread
    with pytest.raises(ValueError, match="3 thresholds"):
        sensitivity_by_diameter(lesions, SCANS)


def test_sizes_at_the_ends_of_a_class():
    sizes = pd.DataFrame({"diameter_mm": [2.99, 3.0, 5.99, 6.0, 9.99, 10.0, 40.0]})
    sizes = sizes.assign(patient_id=list("AAABBBB"), false_positive=False, found=[True] + [False] * 6)
    table = sensitivity_by_diameter(sizes.assign(threshold=0.5), pd.Series({"A": 1, "B": 1}))
    assert table.lesions.tolist() == [1, 2, 2, 2, 6, 7]
    # of two patients, with one of three and none of four found
    assert (table.low.iloc[-1], table.high.iloc[-1]) == (0, pytest.approx(1 / 3))


def test_who_has_no_lesion_is_drawn_in_the_bootstrap_too():
    """As in the curve: the share is of as many lesions as the drawn patients have."""
    rows = [(who, found, 8.0, False, 0.5) for who, found in zip("AABBC", (1, 1, 1, 0, 0), strict=True)]
    table = pd.DataFrame(rows, columns=["patient_id", "found", "diameter_mm", "false_positive", "threshold"])
    table["found"] = table.found.astype(bool)
    scans = pd.Series(1, index=list("ABCDEFGH"))
    by_size = sensitivity_by_diameter(table, scans).set_index("diameter_mm")
    curve = froc(table, scans).iloc[0]
    assert by_size.sensitivity["all"] == curve.sensitivity == 0.6
    assert (by_size.low["all"], by_size.high["all"]) == (curve.sensitivity_low, curve.sensitivity_high)


def test_froc_by_hand(lesions):
    curve = froc(lesions, SCANS)
    assert curve.threshold.tolist() == [0.8, 0.5, 0.3] and curve.lesions.tolist() == [3, 3, 3]
    assert curve.found.tolist() == [1, 2, 2]
    assert curve.sensitivity.tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert curve.false_positives_per_scan.tolist() == pytest.approx([0, 1 / 3, 2 / 3])
    # of two patients: A alone has none at 0.5, B alone one in two scans
    assert curve.false_positives_low.tolist() == [0, 0, 0.5]
    assert curve.false_positives_high.tolist() == [0, 0.5, 1]
    with pytest.raises(ValueError, match="lacks B"):
        froc(lesions, SCANS[["A"]])


def test_operating_point(lesions):
    curve = froc(lesions, SCANS)
    assert operating_point(curve, false_positives_per_scan=1).threshold == 0.5  # 0.3 finds no more
    assert operating_point(curve, false_positives_per_scan=0.2).threshold == 0.8
    assert operating_point(curve.iloc[1:], false_positives_per_scan=0.2) is None


def test_thresholds_over_lesions():
    # The rim of a lesion is faint; by voxels it shrinks as the threshold rises, by lesions it stays whole.
    prob_map = drawn((1, 8, 5, 0.5), (1, 20, 2, 0.6))
    prob_map[3, 3, 10] = 0.9
    by_lesion = lesion_probabilities(prob_map, threshold=0.5)
    assert np.unique(by_lesion).tolist() == pytest.approx([0, 1 / (1 + 9 ** (-1 / 125)), 0.6])
    assert (by_lesion[1:6, 1:6, 8:13] == by_lesion[3, 3, 10]).all()
    assert ((by_lesion > 0) == (prob_map >= 0.5)).all()
    assert not lesion_probabilities(prob_map, threshold=0.95).any()


def test_refusals():
    with pytest.raises(ValueError, match="spacing"):
        lesions_at(REF_A, MAP_A, [0.5], spacing_mm=None, rule="voxel")
    for thresholds in ([], [0.0, 0.5]):  # at 0 all is lesion
        with pytest.raises(ValueError, match="thresholds"):
            lesions_at(REF_A, MAP_A, thresholds, spacing_mm=MM, rule="voxel")


# more misses never improve a score


def scored(mask_ref: np.ndarray, prob_map: np.ndarray, rule: str) -> tuple[list[float], float]:
    """Sensitivities of all sizes, and false positives, of one scan at a threshold of 0.5."""
    table = lesions_at(mask_ref, prob_map, [0.5], spacing_mm=MM, rule=rule).assign(patient_id="A")
    point = froc(table, pd.Series({"A": 1})).iloc[0]
    return sensitivity_by_diameter(
        table, pd.Series({"A": 1})
    ).sensitivity.dropna().tolist(), point.false_positives_per_scan


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(MATCHINGS)))
def test_missing_lesions_never_helps(seed, rule):
    """Lesions that lie apart, predicted in part and with false alarms; then some are missed."""
    rng = np.random.default_rng(seed)
    centres = np.zeros((3, 32, 32), bool)
    centres[1, 4::8, 4::8] = rng.random((4, 4)) < 0.7
    centres[1, 4, 4] = True
    mask_ref = ndimage.binary_dilation(centres, iterations=2)
    prob_map = np.where(mask_ref, rng.random(mask_ref.shape), 0)
    prob_map[0, ::8, ::8] = rng.random((4, 4))  # between the lesions: false alarms
    numbers, n = ndimage.label(mask_ref, np.ones((3, 3, 3)))
    missed = np.isin(numbers, 1 + np.flatnonzero(rng.random(n) < 0.5))
    before, after = (scored(mask_ref, each, rule)[0] for each in (prob_map, np.where(missed, 0, prob_map)))
    assert all(worse <= better for worse, better in zip(after, before, strict=True))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_losing_true_voxels_never_helps(seed):
    """By the matching of this project: whatever is lost of the lesions, nothing gets better."""
    rng = np.random.default_rng(seed)
    mask_ref = rng.random((3, 12, 12)) < 0.1
    prob_map = np.where(mask_ref, 0.9, 0) * (rng.random(mask_ref.shape) < 0.8)
    prob_map[rng.random(mask_ref.shape) < 0.04] = 0.9
    lost = np.where(mask_ref & (rng.random(mask_ref.shape) < rng.random()), 0, prob_map)
    (better, few), (worse, more) = (scored(mask_ref, each, "voxel") for each in (prob_map, lost))
    assert all(after <= before for after, before in zip(worse, better, strict=True)) and more >= few


# two networks on the same lesions


def found_by(**patients: str) -> pd.Series:
    """Lesions by patient, + for found: found_by(A="+-") are two of A's."""
    lesions = [(who, k, each == "+") for who, text in patients.items() for k, each in enumerate(text)]
    table = pd.DataFrame(lesions, columns=["patient_id", "lesion", "found"])
    return table.set_index(["patient_id", "lesion"]).found


def test_paired_lesions_by_hand():
    # A finds one more in P and Q, two more in R; in S each finds one that the other misses
    a = found_by(P="++", Q="+-", R="+++", S="+-")
    b = found_by(P="+-", Q="--", R="+--", S="-+")
    found = paired_lesions(a, b.sample(frac=1, random_state=0))
    counts = {"patients": 4, "lesions": 9, "both": 2, "only_a": 5, "only_b": 1, "neither": 1}
    assert {name: found[name] for name in counts} == counts
    assert found["difference"] == pytest.approx(4 / 9)
    # of the 8 ways to turn P, Q and R round, two give a difference of 4 or more: none turned, or all
    assert found["p_value"] == pytest.approx(2 / 8)
    assert found["low"] <= found["difference"] <= found["high"]
    turned = paired_lesions(b, a)
    assert turned["difference"] == -found["difference"] and turned["p_value"] == found["p_value"]


def test_lesions_of_one_patient_are_one_observation():
    """As single lesions ten to none would be significant: McNemar's exact p is 0.002."""
    one = paired_lesions(found_by(P="+" * 10), found_by(P="-" * 10))
    assert one["p_value"] == 1 and np.isnan(one["low"])
    five = paired_lesions(found_by(**dict.fromkeys("PQRST", "++")), found_by(**dict.fromkeys("PQRST", "--")))
    assert five["p_value"] == pytest.approx(2 / 2**5)
    alike = paired_lesions(found_by(P="+-", Q="+"), found_by(P="+-", Q="+"))
    assert alike["p_value"] == 1 and (alike["low"], alike["high"]) == (0, 0)


def test_many_patients_are_turned_in_drawn_ways():
    names = [f"P{k:02d}" for k in range(20)]
    better = paired_lesions(found_by(**dict.fromkeys(names, "+")), found_by(**dict.fromkeys(names, "-")))
    assert better["p_value"] < 0.001
    assert better == paired_lesions(
        found_by(**dict.fromkeys(names, "+")), found_by(**dict.fromkeys(names, "-"))
    )


def test_paired_lesions_refuses_other_lesions():
    with pytest.raises(ValueError, match="lacks"):
        paired_lesions(found_by(P="++"), found_by(P="+"))
    assert np.isnan(paired_lesions(found_by(), found_by())["p_value"])
