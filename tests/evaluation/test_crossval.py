"""Folds of trainings that never ran: who is in which, and what is refused."""

from pathlib import Path

import pandas as pd
import pytest
from tiny_runs import DICE_OF, FOLDS, WHOLE, write_crossvalidated, write_fold
from tiny_scans import tiny_config, write_scans

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, write_json
from metseg.data.cases import find_cases
from metseg.data.split import Split, write_split
from metseg.evaluation import crossval
from metseg.evaluation.crossval import (
    cross_validate,
    fold_folders,
    read_crossval,
    unfinished_networks,
    write_crossval,
)
from metseg.training.cache import fingerprint


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
    assert fold_folders(tmp_path, "unet") == [folders[1], folders[3], folders[2], folders[0]]


def test_files(run, tmp_path):
    target = tmp_path / "out"
    files = write_crossval(read_crossval(run), target)
    assert all(path.stat().st_size > 0 for path in files)
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


@pytest.mark.parametrize(("name", "value"), [("split_seed", 1), ("validation_fraction", 0.3)])
def test_folds_that_could_not_be_compared_are_not_trained(run, monkeypatch, name, value):
    monkeypatch.setattr(crossval, "sweep", lambda *args, **kwargs: pytest.fail("trained"))
    notebooks = Path(__file__).parents[2] / "notebooks"
    with pytest.raises(MetsegError, match=f"has attention_unet with {name}=.*, not {value}; cross-validate"):
        cross_validate("nested_unet", {name: value}, folds=2, run_folder=run, notebooks=notebooks)


@pytest.mark.parametrize(
    ("folds", "values", "message"),
    [
        (1, {}, "folds=1 holds nobody out in turn; choose 2 or more"),
        (2, {"fold": 1}, "fold is no parameter to set here"),
        (2, {"folds": 3}, "folds is no parameter to set here"),
    ],
)
def test_what_cannot_be_begun(tmp_path, folds, values, message):
    with pytest.raises(MetsegError, match=message):
        cross_validate("unet", values, folds=folds, run_folder=tmp_path, notebooks=tmp_path)
    assert not any(tmp_path.iterdir())


def test_another_number_of_folds_is_refused_before_anything_is_trained(run, monkeypatch):
    monkeypatch.setattr(crossval, "training_notebook", lambda model, folder: folder / f"{model}.ipynb")
    monkeypatch.setattr(crossval, "sweep", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(MetsegError, match="unet was begun with 2 folds, not 3; choose another run name"):
        cross_validate("unet", {}, folds=3, run_folder=run, notebooks=run)


def test_folds_that_were_begun_otherwise_are_not_gone_on_with(tmp_path, monkeypatch):
    def called(*_, **__):
        raise MetsegError("trained")

    monkeypatch.setattr(crossval, "sweep", called)
    scans = write_scans(tmp_path / "scans", patients=3)
    config = tiny_config(scans, folds=2)
    folder = tmp_path / "cv" / "unet" / "unet-1" / "unet"
    write_json(folder / "config.json", config.model_dump(mode="json"))
    write_split(Split(("A",), ("B",), ("C",), 0, fingerprint(find_cases(scans))), folder / "split.json")
    (folder / "history.csv").touch()
    own = config.model_dump(exclude={"model", "folds", "fold"})
    options = {
        "folds": 2,
        "run_folder": tmp_path / "cv",
        "notebooks": Path(__file__).parents[2] / "notebooks",
    }
    with pytest.raises(MetsegError, match=r"other settings \(learning_rate 0.01 → 0.5\); .*taken: cv\)"):
        cross_validate("unet", {**own, "learning_rate": 0.5}, **options)
    others = str(write_scans(tmp_path / "others", patients=4))
    with pytest.raises(MetsegError, match="unet-1/unet began with other data; .*another run name"):
        cross_validate("unet", {**own, "data_dir": others}, **options)
    # the same, for longer, or told to begin anew
    for values in (own, {**own, "epochs": 3}, {**own, "learning_rate": 0.5, "restart": True}):
        with pytest.raises(MetsegError, match="^trained$"):
            cross_validate("unet", values, **options)


def test_each_fold_is_a_run_of_the_networks_notebook(tmp_path, monkeypatch):
    told = {}
    monkeypatch.setattr(crossval, "training_notebook", lambda model, folder: folder / f"{model}.ipynb")

    def sweep(notebook, grid, values, *, run_folder, on_event):
        told.update(notebook=notebook.name, grid=grid, values=values, run_folder=run_folder)

    monkeypatch.setattr(crossval, "sweep", sweep)
    options = {"folds": 3, "run_folder": tmp_path, "notebooks": tmp_path}
    with pytest.raises(MetsegError, match="folds of unet are missing in .*; remove that file and call again"):
        cross_validate("unet", {"epochs": 2}, **options)
    assert told == {
        "notebook": "unet.ipynb",
        "grid": {"fold": [0, 1, 2]},
        "values": {"epochs": 2, "folds": 3},
        "run_folder": tmp_path / "unet",
    }
