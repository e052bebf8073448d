"""Scores by hand, and those that the challenges' own programs gave.

`mets_scenes.npz` holds drawn scenes at 1 mm, labels 0 to 3: lesions from one voxel on, found, missed,
shifted, torn, joined and invented ones, empty references and predictions. `mets_scores.json` holds what was
returned of them by the script of BraTS-2023-Metrics with its parameters for BraTS-MET, and by
BraTS_evaluation 0.0.8 (panoptica 2.1.7, configuration `mets`, volume threshold 27, overlap threshold 0.2);
null is its nan.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from metseg.metrics.lesionwise import mets2023, mets2026

HERE, NAN = Path(__file__).parent, float("nan")
REGIONS = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
SCORES = json.loads((HERE / "mets_scores.json").read_text(encoding="utf-8"))
MM = (1.0, 1.0, 1.0)

# The programs' names of our figures.
OF_2023 = {
    "Num_TP": "found",
    "Num_FP": "false_positives",
    "Num_FN": "missed",
    "Legacy_Dice": "volume_dice",
    "Legacy_HD95": "volume_hd95_mm",
    "LesionWise_Score_Dice": "dice",
    "LesionWise_Score_HD95": "hd95_mm",
}
OF_2026 = {
    "lesionwise_dsc_mean": "dice",
    "lesionwise_dsc_std": "dice_std",
    "lesionwise_nsd_mean": "nsd",
    "lesionwise_nsd_std": "nsd_std",
    "lesionwise_hd95_mean": "hd95_mm",
    "lesionwise_hd95_std": "hd95_std_mm",
}
KINDS = {"all": "any_overlap", "large": "large", "small": "small"}
COUNTS = {"tp": "found", "fp": "false_positives", "fn": "missed", "f1": "f1"}


def volume(*boxes: tuple[slice, ...], shape: tuple = (12, 16, 40)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for box in boxes:
        mask[box] = True
    return mask


def cube(x: int, side: int = 3, *, y: int = 4) -> tuple[slice, ...]:
    return slice(4, 4 + side), slice(y, y + side), slice(x, x + side)


NOTHING = volume()


# the challenges' programs


@pytest.fixture(scope="module")
def scenes() -> dict[str, np.ndarray]:
    with np.load(HERE / "mets_scenes.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("region", REGIONS)
def test_equal_to_the_program_of_2023(scenes, region):
    for scene, expected in SCORES["scenes"].items():
        masks = [
            np.isin(scenes[f"{whose}_{scene}"], REGIONS[region]) for whose in ("reference", "prediction")
        ]
        _, summary = mets2023(*masks, spacing_mm=MM)
        found = [getattr(summary, OF_2023[name]) for name in SCORES["figures"]["mets2023"]]
        assert found == pytest.approx(expected["mets2023"][region], abs=1e-6), scene


@pytest.mark.parametrize("region", REGIONS)
def test_equal_to_the_program_of_2026(scenes, region):
    for scene, expected in SCORES["scenes"].items():
        masks = [
            np.isin(scenes[f"{whose}_{scene}"], REGIONS[region]) for whose in ("reference", "prediction")
        ]
        _, summary = mets2026(*masks, spacing_mm=MM)
        found = {name: getattr(summary, ours) for name, ours in OF_2026.items()}
        for kind, ours in KINDS.items():
            counts = getattr(summary, ours) or (NAN,) * 4
            found |= {f"{kind}_instance_{name}": getattr(counts, of, NAN) for name, of in COUNTS.items()}
        theirs = [NAN if value is None else value for value in expected["mets2026"][region]]
        ours = [found[name] for name in SCORES["figures"]["mets2026"]]
        assert ours == pytest.approx(theirs, abs=1e-6, nan_ok=True), scene


# by hand


def test_nothing_at_all():
    lesions, summary = mets2023(NOTHING, NOTHING, spacing_mm=MM)
    assert lesions.empty and summary == (1.0, 0.0, 0, 0, 0, 1.0, 0.0)
    lesions, summary = mets2026(NOTHING, NOTHING, spacing_mm=MM)
    assert lesions.empty and summary[:6] == pytest.approx([NAN] * 6, nan_ok=True)
    assert summary.any_overlap == pytest.approx((0, 0, 0, NAN), nan_ok=True)
    assert summary.large == (0, 0, 0, 0.0) and summary.small is None


def test_2023_by_hand():
    # One lesion is whole, one missed, one of 2 voxels missed, which does not count, and one is invented.
    speck = (slice(4, 5), slice(4, 5), slice(20, 22))
    lesions, summary = mets2023(
        volume(cube(2), cube(12), speck), volume(cube(2), cube(30)), spacing_mm=(1, 1, 1)
    )
    assert lesions.to_dict("list") == {
        "false_positive": [False, False, False, True],
        "volume_mm3": [27.0, 27.0, 2.0, 27.0],
        "counts": [True, True, False, True],
        "found": [True, False, False, False],
        "dice": [1.0, 0.0, 0.0, 0.0],
        "hd95_mm": [0.0, 374.0, 374.0, 374.0],
    }
    assert (summary.dice, summary.hd95_mm) == pytest.approx((1 / 3, 2 * 374 / 3))
    assert (summary.found, summary.missed, summary.false_positives) == (1, 1, 1)
    assert summary.volume_dice == pytest.approx(2 * 27 / (27 + 27 + 2 + 27 + 27))


def test_2023_counts_mm_not_voxels():
    speck = volume((slice(4, 5), slice(4, 5), slice(20, 22)))
    assert mets2023(speck, NOTHING, spacing_mm=(1, 1, 1))[1].missed == 0
    assert mets2023(speck, NOTHING, spacing_mm=(1, 1, 1.01))[1].missed == 1


def test_2026_by_hand():
    # A large lesion is found by the half of it that is nearer, the other half is invented; a small one is
    # found; a large one has a partner of Dice 2 / 28, which is neither found nor invented.
    torn = volume((slice(4, 7), slice(4, 7), slice(2, 9)))
    mask_ref = torn | volume(cube(15, 2)) | volume(cube(25))
    mask_pred = volume(cube(2), cube(6), cube(15, 2), cube(25, 1))
    lesions, summary = mets2026(mask_ref, mask_pred, spacing_mm=MM)
    dice = [2 * 27 / (63 + 27), 1.0, 2 / 28]
    assert lesions.volume_mm3.tolist() == [63, 8, 27, 27]
    assert lesions.false_positive.tolist() == [False, False, False, True]
    assert lesions.large.tolist() == [True, False, True, False]
    assert lesions.found.tolist() == [True, True, False, False]
    assert lesions.dice.tolist() == pytest.approx([*dice, 0])
    assert summary.dice == pytest.approx((dice[0] + dice[2]) / 3)
    assert summary.dice_std == pytest.approx(np.std([dice[0], dice[2], 0]))
    assert summary.any_overlap == (3, 0, 1, pytest.approx(6 / 7))
    assert summary.large == (1, 1, 1, 0.5) and summary.small == (1, 0, 1, pytest.approx(2 / 3))


def test_2026_distances_by_hand():
    # Rods of 27 and 29 voxels along x, all surface: two of the longer stick out by 1 and 2 voxels of 2 mm.
    mask_ref, mask_pred = (volume((slice(4, 5), slice(4, 5), slice(2, end))) for end in (29, 31))
    lesions, _ = mets2026(mask_ref, mask_pred, spacing_mm=(1, 1, 2))
    # Within the smallest side, 1 mm: 27 of 27 and 27 of 29. Of 56 distances 54 are 0, then 2 and 4: position
    # 0.95 · 55 = 52.25 lies among the zeros.
    assert lesions.nsd[0] == pytest.approx((1 + 27 / 29) / 2) and lesions.hd95_mm[0] == 0
    lesions, _ = mets2026(mask_ref, mask_pred, spacing_mm=(2, 2, 2))
    assert lesions.nsd[0] == pytest.approx((1 + 28 / 29) / 2)  # one voxel off is within the side


def test_a_false_positive_without_large_lesions_costs_nothing_in_2026():
    speck, false = volume(cube(4, 2)), volume(cube(20))
    right, wrong = (mets2026(speck, pred, spacing_mm=MM)[1] for pred in (speck, speck | false))
    assert np.isnan([right.dice, wrong.dice]).all()
    assert (right.small.f1, wrong.small.f1) == (1.0, pytest.approx(2 / 3))  # only detection tells
    assert mets2023(speck, speck | false, spacing_mm=MM)[1].dice == 0.5


@pytest.mark.parametrize("score", [mets2023, mets2026])
def test_refusals(score):
    with pytest.raises(ValueError, match=r"masks are \(3, 3\)"):
        score(np.zeros((3, 3), bool), np.zeros((3, 3), bool), spacing_mm=MM)
    for spacing in (None, (1, 1), (1, 1, 0), (1, NAN, 1)):
        with pytest.raises(ValueError, match="spacing"):
            score(NOTHING, NOTHING, spacing_mm=spacing)
    with pytest.raises(TypeError, match="uint8"):
        score(NOTHING, NOTHING.view(np.uint8), spacing_mm=MM)
