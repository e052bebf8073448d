"""Which forms of a network are worth having."""

import numpy as np
import pandas as pd
import pytest
from tiny_runs import write_bright_model
from tiny_scans import finished_training, write_scans

from metseg.base.files import read_json
from metseg.data.cases import find_cases
from metseg.export.pareto import measure_variants, on_front, write_variants
from metseg.export.validation_dice import VolumeDice
from metseg.inference.predictor import Predictor
from metseg.training.run_folder import RunFolder


def test_front_by_hand():
    # the second is slower and worse than the first; the fourth is as good as the third, and slower
    assert on_front([1, 2, 3, 4], [0.7, 0.6, 0.8, 0.8]).tolist() == [True, False, True, False]
    assert on_front([1, 1], [0.5, 0.5]).tolist() == [True, True]
    assert on_front([2, 1], [0.5, 0.5]).tolist() == [False, True]
    assert on_front([], []).tolist() == []


@pytest.fixture
def cases(tmp_path) -> list:
    return find_cases(write_scans(tmp_path / "scans", patients=2))


def test_measured(tmp_path, cases):
    """Blobs are 150 or more and the rest is below 80, so that a threshold of 1/2 finds just the blobs."""
    folders = {
        "whole": write_bright_model(tmp_path / "whole"),
        "blind": write_bright_model(tmp_path / "blind", channels=(0.0, 0.0, 0.0)),
        "same": write_bright_model(tmp_path / "same", precision="bf16"),
    }
    table = measure_variants(folders, cases).set_index("variant")
    assert list(table.index) == list(folders)
    assert table.dice["whole"] == table.dice["same"] > 0.9 and table.dice["blind"] == 0
    np.testing.assert_allclose(table.dice_change, table.dice - table.dice["whole"])
    assert (table.ms_per_slice > 0).all() and table.times_as_fast["whole"] == 1
    # The models take intensities as stored, so that a slice needs nothing of its volume.
    np.testing.assert_array_equal(table.dice_single_slices, table.dice)
    np.testing.assert_array_equal(table.dice_change_single_slices, table.dice_change)
    np.testing.assert_allclose(table.mb["whole"], (folders["whole"] / "model.onnx").stat().st_size / 1e6)
    assert table.default.sum() == 1 and not table.default["blind"]
    assert table.on_front[table.default].all()


@pytest.mark.parametrize(
    ("worse", "worse_alone"),
    [([0.697, 0.697], True), ([0.685, 0.714], False)],  # in the mean; for one patient
)
def test_the_default_keeps_the_dice_of_volumes_and_of_single_slices(
    tmp_path, cases, monkeypatch, worse_alone, worse
):
    def dice(predictor, cases, *, single_slices, on_case):
        changed = predictor.name == "worse" and single_slices == worse_alone
        return VolumeDice(pd.Series(worse if changed else [0.7, 0.7]), pd.Series(dtype=float))

    monkeypatch.setattr("metseg.export.validation_dice.volume_dice", dice)
    folders = {name: write_bright_model(tmp_path / name, name=name) for name in ("whole", "worse")}
    table = measure_variants(folders, cases, rounds=1).set_index("variant")
    assert table.default.tolist() == [True, False]
    assert table.largest_change_of_a_patient.tolist() == pytest.approx([0, 0.7 - worse[0]])


@pytest.mark.slow
def test_variants_of_a_network_with_heads(tmp_path_factory, tmp_path, monkeypatch):
    monkeypatch.setattr("metseg.inference.engines.multiplies", lambda number_format: number_format == "bf16")
    trained = finished_training(tmp_path_factory)
    cases = find_cases(trained.parent.parent / "scans")
    variants = write_variants(RunFolder(trained), tmp_path / "forms", cases)
    assert [f"{name}: {Predictor(folder).precision}" for name, folder in variants.items()] == [
        "fp32: fp32", "bf16: bf16", "L1: fp32", "L2: fp32",
    ]  # fmt: skip
    sizes = [read_json(variants[name] / "model.json")["parameters"] for name in ("L1", "L2")]
    assert sizes[0] < sizes[1]
