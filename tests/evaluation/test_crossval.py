"""Folds of trainings that never ran: who is in which, and what is refused."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from tiny_runs import DICE_OF, FOLDS, WHOLE, write_crossvalidated, write_fold

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, write_json
from metseg.evaluation import report
from metseg.evaluation.crossval import begun_folds, read_crossval, unfinished_networks, write_crossval


@pytest.fixture
def run(tmp_path) -> Path:
    return write_crossvalidated(tmp_path)


def test_every_patient_counts_once(run):
    found = read_crossval(run)
    assert found.best == "attention_unet"
    dice = found.dice.attention_unet
    assert dice.to_dict() == {"A": DICE_OF["WHOLE"], "B": DICE_OF["HALF"], "C": DICE_OF["MISSED"]}
    summary = found.summary.set_index("model")
    assert summary.loc["attention_unet", "dice_mean"] == pytest.approx(0.5)
    assert summary.loc["attention_unet", "n_patients"] == 3
    assert summary.loc["attention_unet", "train_minutes"] == pytest.approx(2)  # both folds'
    assert found.pairs.mean_difference.tolist() == pytest.approx([0.5])


def test_folds_are_in_their_order(tmp_path):
    folders = [
        write_fold(tmp_path, "unet", fold, {f"P{fold}_20000101": WHOLE}, folds=11) for fold in (10, 0, 9, 1)
    ]
    assert [run.path for run in begun_folds(tmp_path, "unet")] == [
        folders[1],
        folders[3],
        folders[2],
        folders[0],
    ]


def test_files(run, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "save_figure", lambda axes, path: plt.close(np.ravel(axes)[0].figure) or path)
    target = tmp_path / "out"
    files = write_crossval(read_crossval(run), target)
    assert files[0] == target / "out_of_fold.csv" and target / "summary.csv" in files
    table = pd.read_csv(target / "out_of_fold.csv")
    assert table.columns[:4].tolist() == ["model", "fold", "patient_id", "case_id"]
    own = table[table.model == "attention_unet"].set_index("patient_id")
    assert own.fold.to_dict() == {"A": 0, "B": 0, "C": 1}
    assert own.dice.to_dict() == {"A": 1, "B": 0.5, "C": 0}


def test_an_unfinished_network_waits(run):
    write_fold(run, "nested_unet", 0, FOLDS[0])
    assert set(read_crossval(run).dice) == {"attention_unet", "unet"}
    assert unfinished_networks(run) == ["nested_unet"]


@pytest.mark.parametrize("folds", [0, 1])
def test_no_finished_network_is_one_sentence(tmp_path, folds):
    for fold in range(folds):
        write_fold(tmp_path, "unet", fold, FOLDS[0])
    with pytest.raises(MetsegError, match="no network has all its folds in .*; call, or call again: metseg"):
        read_crossval(tmp_path)


def test_folds_of_different_recipes_are_refused(tmp_path):
    for fold, predictions in enumerate(FOLDS):
        write_fold(tmp_path, "unet", fold, predictions, epochs=20 + fold)
    with pytest.raises(MetsegError, match="folds of unet in .* were trained with different parameters"):
        read_crossval(tmp_path)


def test_networks_with_other_folds_are_refused(tmp_path):
    for fold, predictions in enumerate(FOLDS):
        write_fold(tmp_path, "unet", fold, predictions)
        write_fold(tmp_path, "attention_unet", fold, FOLDS[1 - fold])
    with pytest.raises(MetsegError, match="attention_unet and unet have different folds"):
        read_crossval(tmp_path)


def test_a_patient_in_two_folds_is_refused(tmp_path):
    for fold in range(2):
        write_fold(tmp_path, "unet", fold, FOLDS[0])
    with pytest.raises(MetsegError, match="do not hold out each patient of one data set once"):
        read_crossval(tmp_path)


def test_scans_that_changed_between_folds_are_refused(run):
    path = run / "unet" / "unet-2" / "unet" / "split.json"
    write_json(path, {**read_json(path), "fingerprint": "changed"})
    with pytest.raises(MetsegError, match="unet in .* do not hold out each patient of one data set once"):
        read_crossval(run)
