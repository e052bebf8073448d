"""The trainings that runs have left, as a table tells them."""

import pytest
from tiny_runs import MANIFEST, write_scored

from metseg.base.files import read_json, write_json
from metseg.evaluation.run_table import Training, all_trainings, runs_told


def test_a_finished_one(tmp_path):
    write_scored(tmp_path / "run")
    name, data, patients, epochs, *dice, finished, remark = list(all_trainings(tmp_path)[0])
    assert (name, data, patients, epochs) == ("run/unet", "test scans", 7, "3")
    assert dice == [0.9, 0.75]  # as it is served, and of patients with 1 and 0.5
    told = all_trainings(tmp_path)[0].scores_told
    assert told.startswith("validation Dice 0.900, test Dice 0.750")
    assert (finished, remark) == ("2026-01-02 00:00", "")


def test_one_without_export_or_scores(tmp_path):
    write_json(tmp_path / "run" / "unet" / "manifest.json", {**MANIFEST, "validation_dice": 0.0})
    (tmp_path / "run" / "unet" / "model.keras").touch()
    (found,) = all_trainings(tmp_path)
    assert found.validation_dice == 0 and found.test_dice is None
    assert "not exported" in found.remark and "predicts nothing" in found.remark


@pytest.mark.parametrize(
    ("rows", "epochs", "dice"), [("", "0 of 12", None), ("1,0.5\n2,0.25\n", "2 of 12", 0.25)]
)
def test_an_unfinished_one(tmp_path, rows, epochs, dice):
    folder = tmp_path / "run" / "unet"
    write_json(folder / "config.json", {"epochs": 12})
    (folder / "history.csv").write_text(f"epoch,val_dice\n{rows}")
    assert all_trainings(tmp_path) == [
        Training("run/unet", epochs=epochs, validation_dice=dice, remark="unfinished")
    ]


@pytest.mark.parametrize(
    "name", ["manifest.json", "model.json", "evaluation/per_patient.csv", "model.keras", "no patients"]
)
def test_a_damaged_one_is_told_and_hides_no_other(tmp_path, name):
    folder = write_scored(tmp_path / "run")
    write_scored(tmp_path / "whole")
    if name == "model.keras":
        (folder / name).unlink()
    elif name == "no patients":
        manifest = read_json(folder / "manifest.json")
        write_json(folder / "manifest.json", {**manifest, "data": {"name": "test scans"}})
    else:
        (folder / name).write_text("{")
    damaged, whole = all_trainings(tmp_path)
    told = "manifest.json" if name == "no patients" else name.replace("/per_patient.csv", "")
    assert "damaged" in damaged.remark and told in damaged.remark
    assert whole.remark == "" and whole.network == "whole/unet"


def test_a_damaged_history(tmp_path):
    folder = tmp_path / "run" / "unet"
    write_json(folder / "config.json", {"epochs": 12})
    (folder / "history.csv").write_text("epoch,val_dice\n1,much\n")
    (found,) = all_trainings(tmp_path)
    assert "damaged: " in found.remark and "history.csv" in found.remark


def test_folds_by_their_whole_name_and_runs_without_a_training(tmp_path):
    write_json(tmp_path / "cv" / "unet" / "unet-1" / "unet" / "config.json", {"epochs": 3})
    write_json(tmp_path / "benchmark" / "results.json", {})
    assert [each.network for each in all_trainings(tmp_path)] == ["cv/unet/unet-1/unet"]
    assert runs_told(tmp_path).splitlines()[-1] == "without a training: benchmark"
    assert all_trainings(tmp_path / "nothing") == []
    assert "no training in" in runs_told(tmp_path / "nothing")
