"""Trainings that never ran, held against each other on their validation patients."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_runs import SIZE, change_description, write_bright_model
from tiny_scans import write_case

from metseg.base.errors import MetsegError
from metseg.base.files import write_json
from metseg.data.cases import find_cases
from metseg.data.content import fingerprint
from metseg.data.split import Split, write_split
from metseg.evaluation.ablation import ablation_table, comparable_trainings, read_ablation, write_ablation
from metseg.training.run_folder import RunFolder


def write_training(run: Path, *, validation=("TEST_0001", "TEST_0002"), threshold=0.5, **config) -> Path:
    """A model that marks what is bright; at a threshold of 0.999999 it marks half of the lesions."""
    folder = write_bright_model(
        run / "unet", postprocessing={"threshold": threshold, "min_lesion_px": 0, "fill_holes": False}
    )
    write_split(Split(("TEST_0009",), validation, ("TEST_0003",), 0, ""), folder / "split.json")
    manifest = {"epochs_trained": 3, "train_seconds": 90.0, "config": {"model": "unet", **config}}
    write_json(folder / "manifest.json", manifest)
    return folder


@pytest.fixture
def cases(tmp_path) -> list:
    """Of each patient a lesion of 64 px, half of it white and half light grey."""
    for patient in ("TEST_0001", "TEST_0002", "TEST_0003"):
        image, mask = np.zeros((1, SIZE, SIZE, 3), np.uint8), np.zeros((1, SIZE, SIZE), bool)
        mask[0, 8:16, 8:16] = True
        image[0, 8:16, 8:12], image[0, 8:16, 12:16] = 255, 135
        write_case(tmp_path / "scans", f"{patient}_20000101", image, mask)
    return find_cases(tmp_path / "scans")


def test_against_the_baseline(tmp_path, cases):
    folders = [
        write_training(tmp_path / "plain"),
        write_training(tmp_path / "strict", threshold=0.999999, clip_limit=0.0, ema_momentum=0.9),
    ]
    table = ablation_table(folders, cases)
    plain, strict = table.itertuples()
    assert (plain.run, plain.changed, plain.dice, plain.dice_single_slices) == ("plain", "", 1, 1)
    assert math.isnan(plain.difference) and plain.patients == 2 and plain.train_minutes == 1.5
    # 32 px of 64 are found: 2 · 32 / 96
    assert strict.changed == "clip_limit=0.0, ema_momentum=0.9"  # not said by the baseline: defaults
    assert strict.p_holm == strict.p_value and math.isnan(plain.p_holm)
    assert strict.dice == strict.dice_median == pytest.approx(2 / 3)
    assert strict.difference == strict.difference_low == strict.difference_high == pytest.approx(-1 / 3)
    assert table.model.tolist() == ["unet", "unet"]
    files = write_ablation(table, tmp_path / "out")
    assert [path.name for path in files] == ["ablation.csv", "ablation.png"]
    pd.testing.assert_frame_equal(read_ablation(tmp_path / "out"), table, check_dtype=False)


def test_what_the_export_has_measured_is_taken_from_there(tmp_path, cases):
    folder = write_training(tmp_path / "plain")
    known = {"validation_dice_of_patients": {"TEST_0001": 0.5, "TEST_0002": 0.7}, "validation_dice": 0.6}
    known["validation_dice_single_slices"] = 0.4
    points = {name: {"< 3": 1, "3–6": size, "all": size + 1} for name, size in (("found", 2), ("lesions", 4))}
    point = {"lesion_threshold": 0.5, "false_positives_per_scan": 0.25, "found": points["found"]}
    told = {"rule": "voxel", "score": "mean log odds", "patients": 2, "scans": 2, "points": [point]}
    known["operating_points"] = told | {"lesions": points["lesions"]}
    settings = {"threshold": 0.5, "lesion_threshold": 0.5, "min_lesion_px": 0, "fill_holes": False}
    change_description(folder, **known, postprocessing=settings)
    (scored,) = ablation_table([folder], cases).itertuples()
    assert (scored.dice, scored.found, scored.lesions) == (1, 2, 4)  # the split is of other scans
    split = RunFolder(folder).read_split()
    write_split(replace(split, fingerprint=fingerprint(cases)), folder / "split.json")
    (taken,) = ablation_table([folder], cases).itertuples()
    assert (taken.dice, taken.dice_median, taken.dice_single_slices, taken.patients) == (0.6, 0.6, 0.4, 2)
    assert taken.false_positives_per_scan == 0.25


def test_a_damaged_table_is_one_sentence(tmp_path):
    with pytest.raises(MetsegError, match="ablation.csv is missing or damaged; call: metseg ablation"):
        read_ablation(tmp_path)
    (tmp_path / "ablation.csv").write_text("a,b\n1,2\n")
    with pytest.raises(MetsegError, match="is missing or damaged"):
        read_ablation(tmp_path)


def test_trainings_of_another_split_are_refused(tmp_path, cases):
    folders = [write_training(tmp_path / "a"), write_training(tmp_path / "b", validation=("TEST_0001",))]
    with pytest.raises(MetsegError, match="has another split than .*; compare trainings of one"):
        ablation_table(folders, cases)


def test_trainings_of_ones_own_that_can_be_held_against_each_other(tmp_path):
    def leave(name: str, *, test: str = "C", exported: bool = True, **config) -> Path:
        folder = tmp_path / name
        write_json(folder / "config.json", {"model": folder.name, "data_dir": name, **config})
        write_json(folder / "manifest.json", {})
        if exported:
            write_json(folder / "model.json", {})
        write_split(Split(("A",), ("B",), (test,), 0, "f"), folder / "split.json")
        return folder

    leave("before/nested_unet")  # with the parameters of the run's own
    others = leave("no-clahe/nested_unet", clip_limit=0.0)
    leave("another-split/nested_unet", test="D", clip_limit=1.0)
    leave("unfinished/nested_unet", exported=False, clip_limit=3.0)
    assert comparable_trainings(tmp_path / "run") == []  # nothing of this run yet
    own = [leave(f"run/{name}") for name in ("unet", "nested_unet")]
    assert comparable_trainings(tmp_path / "run") == [own[1], own[0], others]
