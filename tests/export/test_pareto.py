"""Which forms of a network are worth having."""

import numpy as np
import pandas as pd
import pytest
from tiny_runs import write_bright_model
from tiny_scans import write_scans

from metseg.base.errors import MetsegError
from metseg.data.cases import find_cases
from metseg.export.pareto import measure_variants, on_front
from metseg.export.validation_dice import VolumeDice


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
    finished = []
    table = measure_variants(
        folders, cases, reference="whole", on_variant=lambda *done: finished.append(done)
    )
    table = table.set_index("variant")
    assert list(table.index) == list(folders) and finished == [(1, 3), (2, 3), (3, 3)]
    assert table.dice["whole"] == table.dice["same"] > 0.9 and table.dice["blind"] == 0
    np.testing.assert_allclose(table.dice_change, table.dice - table.dice["whole"])
    assert (table.ms_per_slice > 0).all() and table.times_as_fast["whole"] == 1
    # The models take intensities as stored, so that a slice needs nothing of its volume.
    np.testing.assert_array_equal(table.dice_single_slices, table.dice)
    np.testing.assert_array_equal(table.dice_change_single_slices, table.dice_change)
    np.testing.assert_allclose(table.mb["whole"], (folders["whole"] / "model.onnx").stat().st_size / 1e6)
    assert table.default.sum() == 1 and not table.default["blind"]
    assert table.on_front[table.default].all()


@pytest.mark.parametrize("worse_alone", [True, False])
@pytest.mark.parametrize("worse", [[0.697, 0.697], [0.685, 0.714]])  # in the mean; for one patient
def test_the_default_keeps_the_dice_of_volumes_and_of_single_slices(
    tmp_path, cases, monkeypatch, worse_alone, worse
):
    def dice(predictor, cases, *, single_slices, on_case):
        changed = predictor.name == "worse" and single_slices == worse_alone
        return VolumeDice(pd.Series(worse if changed else [0.7, 0.7]), pd.Series(dtype=float))

    monkeypatch.setattr("metseg.export.validation_dice.volume_dice", dice)
    folders = {name: write_bright_model(tmp_path / name, name=name) for name in ("whole", "worse")}
    table = measure_variants(folders, cases, reference="whole", rounds=1).set_index("variant")
    assert table.default.tolist() == [True, False]
    assert table.largest_change_of_a_patient.tolist() == pytest.approx([0, 0.7 - worse[0]])


def test_needs_a_reference_in_float32_and_a_case(tmp_path, cases, monkeypatch):
    monkeypatch.setattr("metseg.inference.engines.multiplies", lambda number_format: True)
    folders = {"fast": write_bright_model(tmp_path, precision="bf16")}
    for reference, some, says in (
        ("whole", cases, "no variant 'whole' among fast"),
        ("fast", [], "no case"),
        ("fast", cases, "fast runs in bf16; give one in float32"),
    ):
        with pytest.raises(MetsegError, match=says):
            measure_variants(folders, some, reference=reference)
