"""The scores of one scan, worked out by hand, and that a miss never improves one."""

import math

import numpy as np
import pytest
from scipy import ndimage

from metseg.metrics.case_scores import LESIONWISE, evaluate_case

NAN = float("nan")


def mask(*rows: str) -> np.ndarray:
    """Rows of '#' and '.' as a bool mask (H, W)."""
    return np.array([[letter == "#" for letter in row] for row in rows])


def points(shape: tuple[int, ...], *where: tuple[int, ...]) -> np.ndarray:
    """A mask with single voxels set."""
    result = np.zeros(shape, dtype=bool)
    for index in where:
        result[index] = True
    return result


EMPTY = np.zeros((2, 2), dtype=bool)
CORNER = mask("#.", "..")


def test_evaluate_case_by_hand():
    # slice 0: reference 2, prediction 2, both 1 -> 0.5; slice 1: both empty; slice 2: prediction only -> 0
    mask_ref = np.stack([mask("##", ".."), EMPTY, EMPTY])
    mask_pred = np.stack([mask("#.", "#."), EMPTY, mask("..", ".#")])
    row, per_slice = evaluate_case(mask_ref, mask_pred, spacing_mm=(5.0, 2.0, 2.0))
    assert list(row) == [
        "n_slices",
        "n_tumour_slices",
        "ref_voxels",
        "pred_voxels",
        "tp_voxels",
        "dice",
        "tumour_slice_dice",
        "slice_dice_empty1",
        "precision",
        "recall",
        "hd95",
        "hd95_unit",
        "lesions_ref",
        "lesions_detected",
        "lesions_false_positive",
        "ref_volume_ml",
        "voxel_mm3",
        *LESIONWISE,
    ]
    assert list(per_slice.columns) == ["slice_index", "ref_px", "pred_px", "tp_px", "dice"]
    assert (row["n_slices"], row["n_tumour_slices"]) == (3, 1)
    assert (row["ref_voxels"], row["pred_voxels"], row["tp_voxels"]) == (2, 3, 1)
    assert row["dice"] == pytest.approx(2 / 5)
    assert row["tumour_slice_dice"] == pytest.approx(0.5)
    assert row["slice_dice_empty1"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert row["precision"] == pytest.approx(1 / 3)
    assert row["recall"] == pytest.approx(1 / 2)
    # from the prediction: 0, 2 and, two slices and one row off, sqrt(10**2 + 2**2); position 0.95 * 2 = 1.9
    assert row["hd95"] == pytest.approx(2 + 0.9 * (math.sqrt(104) - 2))
    assert row["hd95_unit"] == "mm"
    assert (row["lesions_ref"], row["lesions_detected"], row["lesions_false_positive"]) == (1, 1, 1)
    assert row["ref_volume_ml"] == pytest.approx(2 * 20 / 1000)
    assert per_slice["slice_index"].tolist() == [0, 1, 2]
    assert per_slice["tp_px"].tolist() == [1, 0, 0]
    assert per_slice["dice"].tolist() == pytest.approx([0.5, NAN, 0.0], nan_ok=True)


def test_evaluate_case_without_spacing_counts_voxels():
    row, _ = evaluate_case(points((5, 2, 2), (0, 0, 0)), points((5, 2, 2), (3, 0, 0)), spacing_mm=None)
    assert (row["hd95"], row["hd95_unit"]) == (3.0, "px")
    assert math.isnan(row["ref_volume_ml"])


def test_lesionwise_scores_need_a_volume_and_its_spacing():
    # A lesion of 2 × 4 × 4 voxels of 1 mm³ is found by half, and another one is invented.
    mask_ref, mask_pred = np.zeros((2, 3, 8, 20), bool)
    mask_ref[:2, 2:6, 2:6] = mask_pred[:2, 2:6, 2:4] = mask_pred[2, 7, 15] = True
    row, _ = evaluate_case(mask_ref, mask_pred, spacing_mm=(1.0, 1.0, 1.0))
    assert row["mets2023_dice"] == row["mets2026_dice"] == pytest.approx(2 * 16 / (32 + 16) / 2)
    assert row["mets2023_hd95"] == pytest.approx((2 + 374) / 2)
    assert row["mets2026_hd95"] == pytest.approx((2 + 373) / 2)
    row, _ = evaluate_case(mask_ref, mask_pred, spacing_mm=(0.5, 1.0, 1.0))  # 16 mm³ are no large lesion
    assert row["mets2023_dice"] == pytest.approx(1 / 3) and math.isnan(row["mets2026_dice"])
    for masks, spacing_mm in (
        ((mask_ref, mask_pred), None),
        ((mask_ref[:1], mask_pred[:1]), (1.0, 1.0, 1.0)),
    ):
        row, _ = evaluate_case(*masks, spacing_mm=spacing_mm)
        assert all(math.isnan(row[name]) for name in LESIONWISE)


def test_evaluate_case_empty_masks():
    nothing, something = np.zeros((2, 2, 2), bool), points((2, 2, 2), (0, 0, 0))
    row, _ = evaluate_case(nothing, nothing, spacing_mm=None)
    assert all(math.isnan(row[key]) for key in ("dice", "tumour_slice_dice", "precision", "recall"))
    assert (row["slice_dice_empty1"], row["hd95"]) == (1.0, 0.0)
    row, _ = evaluate_case(nothing, something, spacing_mm=None)
    assert (row["dice"], row["precision"], row["slice_dice_empty1"], row["hd95"]) == (0.0, 0.0, 0.5, math.inf)
    assert math.isnan(row["recall"])
    row, _ = evaluate_case(something, nothing, spacing_mm=None)
    assert (row["dice"], row["precision"], row["recall"], row["hd95"]) == (0.0, 0.0, 0.0, math.inf)


def test_evaluate_case_wants_a_volume():
    with pytest.raises(ValueError, match=r"masks are \(2, 2\)"):
        evaluate_case(CORNER, CORNER, spacing_mm=None)


# a miss never improves a score

HIGHER_IS_BETTER = [
    "dice",
    "tumour_slice_dice",
    "slice_dice_empty1",
    "precision",
    "recall",
    "lesions_detected",
]


def assert_no_better(worse: dict, better: dict, keys: list[str]) -> None:
    for key in keys:
        assert worse[key] <= better[key] + 1e-12, key  # a nan would fail too, and so it should


@pytest.mark.parametrize("seed", range(8))
def test_losing_true_voxels_never_helps(seed):
    rng = np.random.default_rng(seed)
    mask_ref = rng.random((4, 10, 10)) < 0.1
    mask_pred = (mask_ref & (rng.random(mask_ref.shape) < 0.8)) | (rng.random(mask_ref.shape) < 0.05)
    before, _ = evaluate_case(mask_ref, mask_pred, spacing_mm=None)
    for share in (0.1, 0.5, 1.0):
        lost = mask_ref & mask_pred & (rng.random(mask_ref.shape) < share)
        after, _ = evaluate_case(mask_ref, mask_pred & ~lost, spacing_mm=None)
        assert_no_better(after, before, HIGHER_IS_BETTER)
        assert after["lesions_false_positive"] >= before["lesions_false_positive"]


@pytest.mark.parametrize("seed", range(4))
def test_losing_a_detected_lesion_never_helps(seed):
    # blobs, predicted in part and with one false alarm; then the predictions are lost lesion by lesion
    rng = np.random.default_rng(seed)
    mask_ref = ndimage.binary_dilation(rng.random((6, 24, 24)) < 0.003)
    mask_ref[:, :3, :3] = False
    mask_pred = mask_ref & (rng.random(mask_ref.shape) < 0.9)
    mask_pred[0, 0, 0] = True
    labels, n_lesions = ndimage.label(mask_ref, structure=np.ones((3, 3, 3)))
    assert n_lesions >= 2
    before, _ = evaluate_case(mask_ref, mask_pred, spacing_mm=(5.0, 1.0, 1.0))
    for lesion in range(1, n_lesions + 1):
        mask_pred = mask_pred & (labels != lesion)
        after, _ = evaluate_case(mask_ref, mask_pred, spacing_mm=(5.0, 1.0, 1.0))
        assert_no_better(after, before, HIGHER_IS_BETTER)
        before = after
    assert (before["dice"], before["recall"], before["lesions_detected"]) == (0.0, 0.0, 0)
