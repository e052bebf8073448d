"""Answers worked out by hand; the working stands beside each."""

import math

import numpy as np
import pytest
from scipy import ndimage

from metseg.metrics.overlap import (
    LesionCounts,
    detect_lesions,
    dice,
    evaluate_case,
    false_alarm_worth,
    hd95,
    lesion_dice,
    match_lesions,
    precision,
    recall,
)

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


# overlap


def test_overlap_two_by_two():
    # reference 2 px, prediction 3 px, both 1 px
    mask_ref, mask_pred = mask("##", ".."), mask("#.", "##")
    assert dice(mask_ref, mask_pred, empty=NAN) == pytest.approx(2 * 1 / (2 + 3))
    assert precision(mask_ref, mask_pred, empty=NAN) == pytest.approx(1 / 3)
    assert recall(mask_ref, mask_pred, empty=NAN) == pytest.approx(1 / 2)


def test_overlap_one_pixel_shift():
    # a 3x3 square moved by one pixel keeps 6 of its 9
    mask_ref = mask(".....", ".###.", ".###.", ".###.", ".....")
    mask_pred = np.roll(mask_ref, 1, axis=1)
    assert dice(mask_ref, mask_pred, empty=NAN) == pytest.approx(12 / 18)
    assert (
        precision(mask_ref, mask_pred, empty=NAN)
        == recall(mask_ref, mask_pred, empty=NAN)
        == pytest.approx(6 / 9)
    )


@pytest.mark.parametrize("empty", [1.0, 0.0, NAN])
def test_both_empty_follows_the_policy(empty):
    for score in (dice, precision, recall):
        assert score(EMPTY, EMPTY, empty=empty) == pytest.approx(empty, nan_ok=True)


def test_one_empty():
    assert dice(CORNER, EMPTY, empty=1.0) == dice(EMPTY, CORNER, empty=1.0) == 0.0
    assert precision(EMPTY, CORNER, empty=1.0) == 0.0  # everything predicted is wrong
    assert recall(CORNER, EMPTY, empty=1.0) == 0.0  # everything there was missed
    assert precision(CORNER, EMPTY, empty=0.5) == 0.5  # undefined: the policy speaks
    assert recall(EMPTY, CORNER, empty=0.5) == 0.5


@pytest.mark.parametrize("score", [dice, precision, recall])
def test_the_policy_is_required(score):
    with pytest.raises(TypeError, match="empty"):
        score(CORNER, CORNER)


def score_calls():
    return [
        lambda a, b: dice(a, b, empty=0.0),
        lambda a, b: precision(a, b, empty=0.0),
        lambda a, b: recall(a, b, empty=0.0),
        lambda a, b: hd95(a, b, spacing=(1, 1)),
        lambda a, b: detect_lesions(a, b),
        lambda a, b: evaluate_case(a, b, spacing_mm=None),
    ]


@pytest.mark.parametrize("call", score_calls())
def test_refuses_other_shapes_and_dtypes(call):
    with pytest.raises(ValueError, match=r"mask_ref is \(2, 2\) but mask_pred is \(2, 3\)"):
        call(np.zeros((2, 2), bool), np.zeros((2, 3), bool))
    with pytest.raises(TypeError, match="mask_pred is uint8"):
        call(EMPTY, EMPTY.astype(np.uint8))


@pytest.mark.parametrize("empty", [1.0, 0.0])
def test_policy_moves_only_the_empty_case(empty):
    assert dice(CORNER, CORNER, empty=empty) == 1.0
    assert dice(CORNER, ~CORNER, empty=empty) == 0.0


# surface distance


def test_hd95_empty():
    assert hd95(EMPTY, EMPTY, spacing=(1, 1)) == 0.0
    assert hd95(CORNER, EMPTY, spacing=(1, 1)) == math.inf
    assert hd95(EMPTY, CORNER, spacing=(1, 1)) == math.inf


def test_hd95_follows_the_spacing():
    # three voxels apart along z, 5 mm each; then the diagonal of a 3 mm by 4 mm step
    one, three_up = points((5, 4, 4), (1, 2, 2)), points((5, 4, 4), (4, 2, 2))
    assert hd95(one, three_up, spacing=(5.0, 1.0, 1.0)) == pytest.approx(15.0)
    assert hd95(one, points((5, 4, 4), (1, 3, 3)), spacing=(5.0, 3.0, 4.0)) == pytest.approx(5.0)


def test_hd95_identical_and_shifted():
    square = np.zeros((12, 12), bool)
    square[3:8, 3:8] = True
    assert hd95(square, square, spacing=(1, 1)) == 0.0
    # moved by two columns: of 16 rim pixels the 5 on the far side are 2 px away, so the percentile is 2
    assert hd95(square, np.roll(square, 2, axis=1), spacing=(1, 1)) == pytest.approx(2.0)


def test_hd95_percentile_by_hand():
    # reference: one pixel at (1, 1) and a 3x3 block whose rim is 8 pixels; prediction: the block alone.
    # From the reference: eight distances 0 and one 8*sqrt(2); position 0.95 * 8 = 7.6 is 0.6 of the way.
    mask_pred = np.zeros((14, 14), bool)
    mask_pred[9:12, 9:12] = True
    mask_ref = mask_pred | points((14, 14), (1, 1))
    expected = 0.6 * 8 * math.sqrt(2)
    assert hd95(mask_ref, mask_pred, spacing=(1, 1)) == pytest.approx(expected)
    assert hd95(mask_pred, mask_ref, spacing=(1, 1)) == pytest.approx(expected)


def test_hd95_interior_is_no_surface():
    # a hole in the middle of a 5x5 square: its 4 neighbours join the rim of 16 at distance 1 from it;
    # from the holed mask: sixteen 0, four 1, position 0.95 * 19 = 18.05 lies among the ones
    square = np.ones((5, 5), bool)
    holed = square & ~points((5, 5), (2, 2))
    assert hd95(square, holed, spacing=(1, 1)) == pytest.approx(1.0)


def test_hd95_tree_and_map_agree():
    # a dense small array goes through the distance map, the same masks padded by far voxels through the tree
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 6, 8, 8)) < 0.5
    far = points((60, 80, 80), (59, 79, 79))
    pad = [(0, 54), (0, 72), (0, 72)]
    small, large = (
        hd95(*pair, spacing=(5, 1, 1.5)) for pair in ((a, b), (np.pad(a, pad) | far, np.pad(b, pad) | far))
    )
    assert small == pytest.approx(large)


def test_hd95_of_a_whole_volume_with_stray_voxels():
    z, y, x = np.ogrid[:40, :256, :256]
    a = ((z - 20) / 15) ** 2 + ((y - 128) / 60) ** 2 + ((x - 128) / 60) ** 2 <= 1
    b = np.roll(a, 5, axis=2) | points(a.shape, (0, 0, 0), (39, 255, 255))
    assert 0 < hd95(a, b, spacing=(5, 1, 1)) <= 5


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, NAN)])
def test_hd95_refuses_spacing(spacing):
    with pytest.raises(ValueError, match="one positive length per axis"):
        hd95(CORNER, CORNER, spacing=spacing)


# lesions


def test_lesions_found_missed_and_invented():
    mask_ref = mask("##....", "......", "....#.", "......")
    mask_pred = mask(".#....", "......", "......", "..#..#")
    assert detect_lesions(mask_ref, mask_pred) == LesionCounts(reference=2, detected=1, false_positive=2)


def test_lesions_matched_by_hand():
    mask_ref = mask("##....", "......", "###.#.", "......")
    mask_pred = mask(".#....", "......", "#.#.#.", "..#..#")
    # The row of three is touched twice, by one pixel and by two; the last one grows over its border.
    table = match_lesions(mask_ref, mask_pred)
    assert table.false_positive.tolist() == [False] * 3
    assert table.voxels.tolist() == [2, 3, 1] and table.found.all()
    assert table.dice.tolist() == pytest.approx([2 * 1 / (2 + 1), 2 * 2 / (3 + 3), 2 * 1 / (1 + 2)])


def test_lesions_missed_and_invented_are_listed():
    table = match_lesions(mask("##..", "....", "...."), mask("....", "....", ".###"))
    assert table.to_numpy().tolist() == [
        [False, 2, False, 0.0],
        [True, 3, False, pytest.approx(NAN, nan_ok=True)],
    ]
    nothing = match_lesions(EMPTY, EMPTY)
    assert nothing.empty and nothing.dtypes.tolist() == table.dtypes.tolist()


def test_one_prediction_over_two_lesions_counts_for_both():
    table = match_lesions(mask("#.#"), mask("###"))
    assert table.dice.tolist() == pytest.approx([2 / 4, 2 / 4])


def test_lesions_touching_at_corners_are_one():
    assert detect_lesions(mask("#.", ".#"), EMPTY).reference == 1
    assert detect_lesions(points((2, 2, 2), (0, 0, 0), (1, 1, 1)), np.zeros((2, 2, 2), bool)).reference == 1
    assert detect_lesions(mask("#.#"), mask("...")).reference == 2


def test_lesion_neighbour_is_a_false_positive():
    # side by side, but no voxel shared
    assert detect_lesions(mask("##.."), mask("..#.")) == LesionCounts(1, 0, 1)


def test_one_prediction_may_find_two_lesions():
    assert detect_lesions(mask("#.#"), mask("###")) == LesionCounts(2, 2, 0)


def test_lesions_min_overlap():
    mask_ref, mask_pred = mask("###.#"), mask("##..#")
    assert detect_lesions(mask_ref, mask_pred, min_overlap=2) == LesionCounts(2, 1, 0)
    with pytest.raises(ValueError, match="min_overlap is 0"):
        detect_lesions(mask_ref, mask_pred, min_overlap=0)


# a case


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


@pytest.mark.parametrize("seed", range(25))
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


@pytest.mark.parametrize("seed", range(10))
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


def test_missing_a_lesion_never_helps_hd95():
    mask_ref = points((1, 20, 20), (0, 2, 2), (0, 2, 17), (0, 17, 17))
    distances = []
    for kept in (3, 2, 1, 0):
        mask_pred = points(mask_ref.shape, *[tuple(index) for index in np.argwhere(mask_ref)[:kept]])
        distances.append(hd95(mask_ref, mask_pred, spacing=(5.0, 1.0, 1.0)))
    # 0, then one of three 15 away, then 15 and sqrt(15**2 + 15**2), then a complete miss
    assert distances == sorted(distances)
    assert distances[0] == 0.0
    assert distances[1] == pytest.approx(0.9 * 15)  # position 0.95 * 2 = 1.9 among 0, 0, 15
    assert distances[2] == pytest.approx(15 + 0.9 * (15 * math.sqrt(2) - 15))
    assert distances[3] == math.inf


# the Dice that an epoch or a setting is chosen by


@pytest.mark.parametrize(
    ("ref", "pred", "tp", "expected"),
    [
        ([8, 4], [8, 4], [4, 4], 0.75),  # (8/16 + 1) / 2: all have a lesion
        ([8, 4, 0], [8, 4, 0], [4, 4, 0], 0.75),  # one without is rightly left empty
        ([8, 4, 0], [8, 4, 6], [4, 4, 0], 1.5 / 2.5),  # a false alarm of the mean lesion's 6 voxels
        ([8, 4, 0, 0], [8, 4, 2, 18], [4, 4, 0, 0], 1.5 / (2 + 2 / 8 + 18 / 24)),
        ([8, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], 0),  # nothing is predicted
        ([8, 0, 0], [0, 5, 0], [0, 0, 0], 0),
        ([0, 0], [0, 3], [0, 0], math.nan),  # nobody has a lesion: it cannot be known
        ([], [], [], math.nan),
    ],
)
def test_dice_of_patients_with_and_without_a_lesion(ref, pred, tp, expected):
    assert lesion_dice(ref, pred, tp) == pytest.approx(expected, nan_ok=True)


def test_a_larger_false_alarm_only_lowers_the_dice():
    scores = [lesion_dice([10, 0, 0], [10, alarm, 0], [6, 0, 0]) for alarm in (0, 1, 5, 50, 5_000)]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == 5
    assert scores[0] == pytest.approx(0.6) and scores[-1] > 0.3  # the worst is one patient more


def test_the_worth_of_a_false_alarm():
    worth = false_alarm_worth([30, 0, 10, 0, 0], [1, 20, 1, 0, 60])  # the mean lesion has 20
    np.testing.assert_allclose(worth, [1 / 2, 0, 3 / 4])
