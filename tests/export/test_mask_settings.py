"""Which postprocessing is chosen, and on whom."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_runs import SIZE, write_bright_model
from tiny_scans import write_case

from metseg.base.errors import MetsegError
from metseg.data.cases import find_cases
from metseg.data.split import Split, write_split
from metseg.data.volume import Volume
from metseg.export.mask_settings import (
    MIN_VOLUME_SHARES,
    VolumeDice,
    _best,
    candidates,
    choose_postprocessing,
    dice_change,
    volume_dice,
)
from metseg.inference.predictor import Predictor
from metseg.masks.postprocess import Postprocessing


def scan(lesion_side: int, speck_side: int) -> tuple[np.ndarray, np.ndarray]:
    """One slice with a bright lesion in the middle and a bright speck, which is none, in a corner."""
    image, mask = np.zeros((1, SIZE, SIZE, 3), np.uint8), np.zeros((1, SIZE, SIZE), bool)
    mask[0, 10 : 10 + lesion_side, 10 : 10 + lesion_side] = True
    image[mask] = 255
    image[0, 26 : 26 + speck_side, 26 : 26 + speck_side] = 255
    return image, mask


@pytest.fixture
def model_dir(tmp_path) -> Path:
    """A model that marks what is bright, whose one validation patient is TEST_0002."""
    return write_model(tmp_path / "model", "TEST_0002")


def write_model(folder: Path, *validation: str) -> Path:
    write_bright_model(folder)
    roles = {"train": ("TEST_0001",), "validation": validation, "test": ("TEST_0003",)}
    write_split(Split(**roles, seed=0, fingerprint=""), folder / "split.json")
    return folder


def cases_of(folder: Path, **scans) -> list:
    for name, (image, mask) in scans.items():
        write_case(folder, f"{name}_20000101", image, mask)
    return find_cases(folder)


def chosen(model_dir: Path) -> dict:
    return json.loads((model_dir / "model.json").read_text())


def test_the_speck_goes(tmp_path):
    """64 px of lesion and 25 px of speck, Dice 128 / 153 with it and 1 without; in one patient no speck."""
    patients = [f"TEST_{k:04}" for k in range(11, 17)]
    model_dir = write_model(tmp_path / "model", *patients)
    scans = dict.fromkeys(patients, scan(8, 5)) | {patients[-1]: scan(8, 0)}
    table = choose_postprocessing(model_dir, cases_of(tmp_path / "scans", **scans))
    assert len(table) == 2 * len(candidates()) * len(MIN_VOLUME_SHARES) and table.chosen.sum() == 1
    plain = ~table.flip_average & (table.threshold == 0.5) & (table.min_lesion_px == 0) & ~table.fill_holes
    (bare,) = table[plain & (table.min_volume_share == 0)].dice
    assert bare == pytest.approx((5 * 128 / 153 + 1) / 6)
    record = chosen(model_dir)
    assert record["postprocessing"] == {"threshold": 0.5, "min_lesion_px": 50, "fill_holes": False}
    assert record["flip_average"] is True and record["min_volume_share"] == 0.3
    assert record["validation_dice"] == 1.0 and record["validation_patients"] == 6
    assert record["validation_dice_single_slices"] == 1.0


def test_of_one_patient_nothing_is_chosen(model_dir, tmp_path):
    """As above: what the speck is worth in one patient may be chance."""
    choose_postprocessing(model_dir, cases_of(tmp_path / "scans", TEST_0002=scan(8, 5)))
    assert chosen(model_dir)["postprocessing"] == Postprocessing().model_dump()
    assert chosen(model_dir)["validation_dice"] == pytest.approx(128 / 153)


def large_and_far() -> tuple[np.ndarray, np.ndarray]:
    """64 px of lesion in each of four slices; 70 px, which are none, lie in a slice behind an empty one."""
    image, mask = (np.concatenate([*4 * [each], 0 * each, 0 * each]) for each in scan(8, 0))
    image[5, 20:30, 20:27] = 255
    return image, mask


def test_a_false_lesion_far_from_the_large_one_goes(model_dir, tmp_path):
    image, mask = large_and_far()
    table = choose_postprocessing(model_dir, cases_of(tmp_path / "scans", TEST_0002=(image, mask)))
    by_share = table[(table.threshold == 0.5) & ~table.flip_average & (table.min_lesion_px == 0)]
    dice = by_share[~by_share.fill_holes].set_index("min_volume_share").dice
    assert dice.to_dict() == pytest.approx({0.0: 512 / 582, 0.1: 512 / 582, 0.3: 1.0})
    assert chosen(model_dir)["min_volume_share"] == 0.3 and chosen(model_dir)["validation_dice"] == 1.0
    assert Predictor(model_dir).mask(Volume.of_slices(image))[5].sum() == 0
    assert (
        Predictor(model_dir).mask(Volume.of_slice(image[5])).sum() == 70
    )  # alone it has nothing to be small beside


def test_a_second_lesion_is_not_given_up_for_dice(tmp_path):
    """As before, but of the 70 px 4 are a lesion; of seven other patients each has one."""
    model_dir = write_model(tmp_path / "model", *(f"TEST_{k}" for k in range(10, 18)))
    image, mask = large_and_far()
    mask[5, 20:22, 20:22] = True
    others = {f"TEST_{k}": scan(8, 0) for k in range(11, 18)}
    table = choose_postprocessing(model_dir, cases_of(tmp_path / "scans", TEST_10=(image, mask), **others))
    found = table.groupby("min_volume_share").lesions_found.max()
    assert found.to_dict() == {0.0: 9, 0.1: 9, 0.3: 8}
    assert chosen(model_dir)["min_volume_share"] == 0.1


@pytest.mark.parametrize(("with_one", "shares"), [(7, {0.0, 0.1, 0.3}), (6, {0.0})])
def test_where_small_lesions_are_usual_none_is_dropped(model_dir, tmp_path, with_one, shares):
    """A share of 0.3 would be as good as can be, but of the patients learned from one has a small lesion."""
    image, mask = large_and_far()
    small = np.zeros_like(mask)
    small[0, :20, :20] = small[5, 20:22, 20:22] = True  # 400 and 4 px
    scans = {"TEST_0002": (image, mask), "TEST_0001": (image, small)}
    one = {f"TEST_0001_2000010{k}": scan(8, 0) for k in range(2, 1 + with_one)}
    for name, each in one.items():
        write_case(tmp_path / "scans", name, *each)
    table = choose_postprocessing(model_dir, cases_of(tmp_path / "scans", **scans))
    assert set(table.min_volume_share) == shares
    assert chosen(model_dir)["min_volume_share"] == max(shares)


def test_slices_by_themselves(model_dir, tmp_path):
    """With its volume's percentiles a dim slice stays dark; by itself all of its tissue lights up.

    Volume: 64 px found of 64. Alone: 64 + 100 px marked, 64 of them right; Dice 128 / 228.
    """
    description = chosen(model_dir)
    description["preprocessing"]["intensity"] = "volume"
    (model_dir / "model.json").write_text(json.dumps(description))
    bright, mask = scan(8, 0)
    bright[0, :2, :2] = 10
    dim = np.zeros_like(bright)
    dim[0, :10, :10] = 60
    dim[0, 20, 20:23] = 10
    volume = np.concatenate([bright, dim]), np.concatenate([mask, np.zeros_like(mask)])
    choose_postprocessing(model_dir, cases_of(tmp_path / "scans", TEST_0002=volume))
    assert chosen(model_dir)["validation_dice"] == 1.0
    assert chosen(model_dir)["validation_dice_single_slices"] == pytest.approx(128 / 228)


def test_a_small_lesion_is_not_given_up_for_dice(model_dir, tmp_path):
    """A second lesion of 4 px beside five specks of 4 px: dropping all of them is the better Dice."""
    image, mask = scan(8, 2)
    mask[0, 2:4, 2:4] = True
    image[0, 2:4, 2:4] = 255
    for k in range(4):
        image[0, 2:4, 8 + 4 * k : 10 + 4 * k] = 255
    table = choose_postprocessing(model_dir, cases_of(tmp_path / "scans", TEST_0002=(image, mask)))
    table = table[table.min_volume_share == 0]
    found = table.set_index("min_lesion_px").lesions_found
    assert set(found[0]) == {2} and set(found[10]) == {1}
    assert table[table.min_lesion_px == 10].dice.max() > table[table.min_lesion_px == 0].dice.max()
    assert chosen(model_dir)["postprocessing"]["min_lesion_px"] == 0


def test_other_patients_have_no_say(model_dir, tmp_path):
    scans = {"TEST_0001": scan(8, 5), "TEST_0002": scan(8, 0), "TEST_0003": scan(8, 5)}
    choose_postprocessing(model_dir, cases_of(tmp_path / "scans", **scans))
    assert chosen(model_dir)["postprocessing"] == Postprocessing().model_dump()
    assert chosen(model_dir)["validation_patients"] == 1


def test_without_validation_patients(model_dir, tmp_path):
    before = chosen(model_dir)
    with pytest.raises(MetsegError, match="no scan of TEST_0002, on whom .* was validated; give the scans"):
        choose_postprocessing(model_dir, cases_of(tmp_path / "scans", TEST_0001=scan(8, 2)))
    assert chosen(model_dir) == before


def test_progress(model_dir, tmp_path):
    told = []
    cases = cases_of(tmp_path / "scans", TEST_0001=scan(8, 2), TEST_0002=scan(8, 2))
    choose_postprocessing(model_dir, cases, on_case=lambda k, n: told.append((k, n)))
    assert told == [(1, 1)]


ALL, USUAL = (True, 0.5, 0, False, 0.0), (True, 0.5, 0, False, 0.3)
SETTINGS = ["flip_average", "threshold", "min_lesion_px", "fill_holes", "min_volume_share"]
DICE = np.array([0.3, 0.5, 0.6, 0.7, 0.8, 0.9])  # of six patients, by the usual setting


def best_of(*rows: tuple) -> int:
    """Of rows (setting, gains of the patients, lesions found in the first), behind all kept and the usual."""
    rows = [(ALL, -0.1, 5), (USUAL, 0, 5), *rows]
    settings = pd.DataFrame([setting for setting, _, _ in rows], columns=SETTINGS)
    dice = np.array([DICE + gains for _, gains, _ in rows])
    settings["dice"] = dice.mean(axis=1)
    return _best(settings, dice, np.array([[found, 1, 1, 1, 1, 1] for _, _, found in rows]))


@pytest.mark.parametrize(
    ("setting", "gains", "found", "taken"),
    [
        ((True, 0.6, 0, False, 0.3), 0.02, 5, True),
        ((True, 0.6, 0, False, 0.3), 0.0029, 5, False),  # as good as alike
        ((True, 0.6, 0, False, 0.3), 0.1, 4, False),  # misses a lesion
        # Three of 64 flips: none, that of the loss, and all, in which the first setting wins.
        ((True, 0.6, 0, False, 0.3), [0.01, 0.02, 0.02, 0.03, 0.03, -0.005], 5, True),
        ((True, 0.6, 0, False, 0.3), [0.5, 0, 0, 0, 0, 0], 5, False),  # one patient alone
        ((False, 0.5, 0, False, 0.3), 0.02, 5, True),  # without the mirrored slice
        ((False, 0.5, 0, False, 0.3), 0.02, 4, False),
    ],
)
def test_the_usual_setting_gives_way_to_a_better_one(setting, gains, found, taken):
    assert best_of((setting, gains, found)) == (2 if taken else 1)


@pytest.mark.parametrize(
    ("near", "far"),
    [
        ((True, 0.5, 10, False, 0.3), (True, 0.5, 10, True, 0.3)),  # one step less
        ((True, 0.6, 0, False, 0.3), (True, 0.3, 0, False, 0.3)),  # nearer to 1/2
        ((True, 0.5, 10, False, 0.3), (True, 0.5, 25, False, 0.3)),
        ((True, 0.5, 0, False, 0.1), (True, 0.5, 0, False, 0.05)),
        ((True, 0.5, 0, False, 0.1), (False, 0.5, 0, False, 0.3)),  # the mirrored slice stays if it can
    ],
)
def test_of_better_ones_the_nearest_is_taken(near, far):
    assert best_of((far, 0.051, 5), (near, 0.05, 5)) == 3


@pytest.mark.parametrize(
    ("found", "usual"),
    [
        ([5, 5, 5, 5], 1),
        ([5, 4, 5, 5], 2),
        ([5, 3, 4, 5], 0),
        ([5, 4, 4, 6], 0),  # of the slice alone it is no matter what is found
    ],
)
def test_the_usual_setting_gives_up_no_lesion(found, usual):
    rows = [ALL, USUAL, (True, 0.5, 0, False, 0.1), (False, 0.5, 0, False, 0.0)]
    by_patient = np.array([found, [2, 2, 2, 2]]).T
    settings = pd.DataFrame(rows, columns=SETTINGS).assign(dice=0.7)
    assert _best(settings, np.full((4, 2), 0.7), by_patient) == usual


def test_a_lesion_found_elsewhere_does_not_make_up_for_one_missed():
    settings = pd.DataFrame([ALL, USUAL, (True, 0.5, 0, False, 0.1)], columns=SETTINGS).assign(dice=0.7)
    assert _best(settings, np.full((3, 2), 0.7), np.array([[2, 2], [1, 3], [2, 3]])) == 2


def known(dice: list[float], patients: str) -> VolumeDice:
    """Of patients who all have a lesion."""
    return VolumeDice(pd.Series(dice, list(patients)), pd.Series(dtype=float))


@pytest.mark.parametrize(
    ("after", "mean", "largest", "negligible"),
    [
        ([0.5, 0.9, 0.7], 0.0, 0.0, True),
        ([0.491, 0.908, 0.7], -0.001 / 3, -0.009, True),
        ([0.503, 0.903, 0.703], 0.003, 0.003, False),  # all a little
        ([0.497, 0.897, 0.697], -0.003, -0.003, False),
        ([0.488, 0.911, 0.7], -0.001 / 3, -0.012, False),  # one for another
        ([0.51, 0.896, 0.7], 0.002, 0.01, True),  # at both bounds, above them as computers count
    ],
)
def test_what_a_mean_hides_counts_as_well(after, mean, largest, negligible):
    # In another order, for patients are compared, not rows.
    change = dice_change(known([0.5, 0.9, 0.7], "abc"), known(after[::-1], "cba"))
    assert (change.mean, change.largest) == pytest.approx((mean, largest))
    assert change.negligible == negligible


def test_other_patients_cannot_be_compared():
    with pytest.raises(ValueError, match="hold different patients"):
        dice_change(known([0.5, 0.9], "ab"), known([0.5], "a"))


def test_a_false_alarm_is_a_change_too():
    """(0.6 + 0.8) / 2 becomes 1.4 / 2.25: b, who has no lesion, gets a third of a lesion's voxels."""
    before = VolumeDice(pd.Series([0.6, 0.8], list("ac")), pd.Series([0.0], ["b"]))
    change = dice_change(before, before._replace(false_alarm=pd.Series([0.25], ["b"])))
    assert (change.mean, change.largest) == pytest.approx((1.4 / 2.25 - 0.7, 0.25))
    assert not change.negligible


# patients without a lesion, and a threshold of the training's own


def healthy(speck_side: int) -> tuple[np.ndarray, np.ndarray]:
    image, mask = scan(8, speck_side)
    image[mask] = 0
    return image, np.zeros_like(mask)


def test_who_has_no_lesion_can_only_lower_the_dice(tmp_path):
    """Lesions of 64 px, all found; a speck of 16 px in one who has none is worth 16 / 80."""
    folder = write_model(tmp_path / "model", "TEST_0002", "TEST_0004", "TEST_0005")
    scans = {"TEST_0002": scan(8, 0), "TEST_0004": healthy(4), "TEST_0005": healthy(0)}
    cases = cases_of(tmp_path / "scans", **scans)
    table = choose_postprocessing(folder, cases)
    plain = ~table.flip_average & (table.threshold == 0.5) & ~table.fill_holes & (table.min_volume_share == 0)
    by_size = table[plain].set_index("min_lesion_px").dice
    assert by_size.to_dict() == pytest.approx({0: 1 / 1.2, 10: 1 / 1.2, 25: 1, 50: 1, 100: 0})
    # One false alarm is no proof beyond chance, however it moves the score.
    assert chosen(folder)["postprocessing"]["min_lesion_px"] == 0
    found = volume_dice(Predictor(folder), cases)
    assert found.of_patient.to_dict() == {"TEST_0002": 1.0}
    assert found.false_alarm.to_dict() == pytest.approx({"TEST_0004": 0.2, "TEST_0005": 0.0})
    assert found.mean == pytest.approx(1 / 1.2) == chosen(folder)["validation_dice"]


def test_without_a_lesion_nothing_is_chosen(model_dir, tmp_path):
    before = chosen(model_dir)
    with pytest.raises(MetsegError, match="none of the patients .* has a lesion"):
        choose_postprocessing(model_dir, cases_of(tmp_path / "scans", TEST_0002=healthy(0)))
    assert chosen(model_dir) == before


@pytest.mark.parametrize("threshold", [0.35, 0.7])
def test_the_training_says_where_the_threshold_starts(tmp_path, threshold):
    folder = write_model(tmp_path / "model", "TEST_0002")
    description = chosen(folder)
    description["usual_threshold"] = threshold
    (folder / "model.json").write_text(json.dumps(description))
    cases = cases_of(tmp_path / "scans", TEST_0002=scan(8, 5))
    for _ in range(2):  # again: what was chosen is not what is usual
        table = choose_postprocessing(folder, cases)
        assert chosen(folder)["postprocessing"]["threshold"] == threshold
        assert threshold in set(table.threshold) and 0.5 in set(table.threshold)
