"""Two settings with two seeds each, and what can be read of them by hand."""

import math
import os

import numpy as np
import pandas as pd
import pytest

from metseg.base.errors import MetsegError
from metseg.base.files import write_json
from metseg.evaluation.sweep_results import (
    done_trials,
    learning_curves,
    newest_sweep,
    parameters_of,
    patient_dice,
    rank_settings,
    write_sweep_results,
)


@pytest.fixture
def table() -> pd.DataFrame:
    """In `read_sweep`'s columns: focal twice, bce twice, and one that failed."""
    rows = [
        ("f0", "unet", "focal", 2, 0, "done", 0.80, 30.0),
        ("b0", "unet", "bce", 2, 0, "done", 0.60, 10.0),
        ("f1", "unet", "focal", 2, 1, "done", 0.70, 40.0),
        ("b1", "unet", "bce", 2, 1, "done", 0.62, 20.0),
        ("d0", "unet", "dice", 2, 0, "failed", np.nan, 5.0),
    ]
    names = ["trial", "model", "loss", "clip_limit", "seed", "state", "validation_dice", "seconds"]
    return pd.DataFrame(rows, columns=names).assign(run_folder="", notebook="", reason="")


DICE = {"f0": (0.9, 0.7), "f1": (0.8, 0.6), "b0": (0.5, 0.7), "b1": (0.54, 0.7)}  # of patients A and B


@pytest.fixture
def sweep(table, tmp_path):
    """The same with folders of trials."""
    table["run_folder"] = [str(tmp_path / "trials" / name / "unet") for name in table.trial]
    for name, (a, b) in DICE.items():
        home = tmp_path / "trials" / name / "unet"
        known = {"validation_dice": (a + b) / 2, "validation_dice_of_patients": {"A": a, "B": b}}
        write_json(home / "model.json", known)
        (home / "history.csv").write_text(f"epoch,val_dice\n1,0.1\n2,{a}\n")
    return table


def test_what_is_varied_and_done(table):
    assert parameters_of(table) == ["loss"]  # one network, one clip_limit
    done = done_trials(table)
    assert [*done.trial] == ["f0", "f1", "b1", "b0"]
    assert [*done.on_front] == [True, False, True, True]  # f1 took longer than f0 for less
    with pytest.raises(MetsegError, match="1 failed"):
        done_trials(table[table.trial == "d0"])


def test_dice_of_patients_and_curves(sweep, tmp_path):
    done = done_trials(sweep)
    patients = patient_dice(done, tmp_path)
    assert {name: tuple(row) for name, row in patients.iterrows()} == DICE and [*patients] == ["A", "B"]
    write_json(tmp_path / "trials" / "b0" / "unet" / "model.json", {"validation_dice": 0.6})  # an older one
    assert "b0" not in patient_dice(done, tmp_path).index
    curves = learning_curves(done.head(1), tmp_path)
    assert curves.to_dict("list") == {"epoch": [1, 2], "val_dice": [0.1, 0.9], "trial": ["f0", "f0"]}


def test_settings_by_their_mean_over_seeds(sweep, tmp_path):
    done = done_trials(sweep)
    first, second = rank_settings(done, patient_dice(done, tmp_path)).itertuples()
    assert (first.trial, first.loss, first.seeds) == ("f0", "focal", 2)
    assert (first.dice, first.dice_low, first.dice_high, first.seconds) == (0.75, 0.7, 0.8, 35)
    assert math.isnan(first.difference) and second.trial == "b1"
    # A: 0.52 - 0.85, B: 0.70 - 0.65
    assert second.difference == pytest.approx(-0.14)
    assert (second.difference_low, second.difference_high) == pytest.approx((-0.33, 0.05))
    assert second.p_holm == 1  # two patients, one each way


def test_kept_without_its_trials(sweep, tmp_path):
    (tmp_path / "results.csv").write_text("trial\n")
    done = done_trials(sweep)
    patients, curves = patient_dice(done, tmp_path), learning_curves(done, tmp_path)
    files = write_sweep_results(tmp_path, tmp_path / "kept", patients, curves, effects=done)
    assert [path.name for path in files] == ["results.csv", "patients.csv", "curves.csv", "effects.csv"]
    assert len(learning_curves(done.head(1), tmp_path / "kept")) == 2  # kept beside its trial, told once
    gone = done.assign(run_folder=str(tmp_path / "elsewhere"))
    pd.testing.assert_frame_equal(patient_dice(gone, tmp_path / "kept"), patients)
    again = learning_curves(gone.head(1), tmp_path / "kept")
    assert [*again.trial] == ["f0", "f0"] and [*again.val_dice] == [0.1, 0.9]
    (tmp_path / "kept" / "patients.csv").write_text("")
    with pytest.raises(MetsegError, match="patients.csv"):
        patient_dice(gone, tmp_path / "kept")


def test_the_newest(tmp_path):
    assert newest_sweep(tmp_path / "none") is None and newest_sweep(tmp_path) is None
    for name, time in (("a", 100), ("b", 50)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.csv").touch()
        os.utime(tmp_path / name / "results.csv", (time, time))
    assert newest_sweep(tmp_path) == tmp_path / "a"
