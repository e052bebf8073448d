"""Commands that run notebooks, and what they compare."""

import json

import pandas as pd
import pytest
from cli_words import PATIENTS
from tiny_runs import HALF, MISSED, WHOLE, write_evaluated
from tiny_scans import write_scans

from metseg.base.files import write_json
from metseg.data.split import Split, write_split


def test_run_asks_for_all_notebooks(metseg, asked, checkout, tmp_path):
    status, out, err = metseg("run", "--output-dir", tmp_path / "runs", "--run-name", "first")
    assert (status, err) == (0, "")
    assert asked == [
        (["01_explore_data", "03_train_nested_unet", "04b_train_unet"], {}, tmp_path / "runs" / "first")
    ]
    assert "U-Net" in out and "0.500" in out  # the mean of 1, 0.5 and 0
    assert "Test scans: nothing follows from them." in out
    assert "runs/first/comparison" in out and "runs/first/notebooks" in out


def test_run_names_itself(metseg, asked, checkout, tmp_path):
    assert metseg("run", "--profile", "cpu")[0] == 0
    ((_, values, folder),) = asked
    assert values == {"epochs": 30, "gallery": 6}
    assert folder.parent == checkout / "outputs" / "runs"
    assert folder.name.startswith("cpu-2")


def test_what_is_typed_beats_the_profile(metseg, asked, checkout, tmp_path):
    write_scans(tmp_path / "scans", patients=1)
    where = ["--output-dir", "runs", "--run-name", "a"]
    metseg("run", "--profile", "cpu", "--data-dir", "scans", "--set", "epochs=3", *where)
    assert asked[-1][1] == {"epochs": 3, "gallery": 6, "data_dir": str(tmp_path / "scans")}

    # a profile's words for other notebooks are no concern of a single training
    train = ["train", "--model", "unet", "--profile", "cpu", *where]
    status, out, _ = metseg(*train, "--epochs", "2", "--image-size", "64", "--set", "filters=[4, 8]")
    assert status == 0
    stems, values, folder = asked[-1]
    assert (stems, folder) == (["04b_train_unet"], tmp_path / "runs" / "a")
    assert values == {"epochs": 2, "image_size": 64, "filters": [4, 8]}
    assert "runs/a/unet" in out and "04b_train_unet.html" in out

    metseg(*train, "--epochs", "2", "--set", "epochs=1")
    assert asked[-1][1] == {"epochs": 1}
    metseg(*train)
    assert asked[-1][1] == {"epochs": 30}
    assert metseg("train", "--model", "nested_unet")[0] == 0
    assert asked[-1][2].name.startswith("nested_unet-2")


def test_what_is_saved_in_a_cell_is_named_and_counts_for_nothing(metseg, asked, checkout):
    (checkout / "notebooks" / "params" / "quick.yml").write_text("epochs: 20\nfilters: [8, 16]\n")
    status, _, err = metseg("train", "--model", "unet", "--run-name", "a")
    assert status == 0 and asked[-1][1] == {}  # the recipe is put beneath by `run_notebooks`
    assert err.count("\n") == 1 and "04b_train_unet.ipynb has epochs = 12" in err and "from 20" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--profile", "huge"], ["no profile 'huge'", "cpu", "quick"]),
        (["run", "--set", "epoch=3"], ["no parameter 'epoch'", "did you mean epochs?", "gallery", "filters"]),
        (["run", "--set", "epochs"], ["'epochs' is not NAME=VALUE", "epochs=3"]),
        (["run", "--set", "epochs=many"], ["epochs is 'many'", "12"]),
        (["run", "--set", "model=unet"], ["model is no parameter to set", "--model of metseg train"]),
        (["run", "--set", "run_name=x"], ["run_name is no parameter to set", "--run-name"]),
        (["run", "--set", "output_dir=x"], ["output_dir is no parameter to set", "--output-dir"]),
        (["run", "--set", "test_fraction=0"], ["test_fraction=0 holds nobody out", "metseg train"]),
        (["run", "--data-dir", "absent"], ["absent is not a folder"]),
        (["run", "--set", "recipe=x"], ["recipe is no parameter to set", "--profile"]),
        (["run", "--run-name", "../up"], ["run name '../up' is no folder name"]),
        (["train", "--model", "unet", "--run-name", "a/b"], ["run name 'a/b' is no folder name"]),
        (["train", "--model", "unet", "--run-name", "unet"], ["what a released network is called"]),
        (["train", "--model", "resnet"], ["no notebook trains 'resnet'", "nested_unet", "unet"]),
        (["train", "--model", "unet", "--set", "gallery=3"], ["no parameter 'gallery'", "epochs"]),
        (["train", "--model", "unet", "--data-dir", "absent"], ["absent is not a folder"]),
        (["train", "--model", "unet", "--profile", "huge"], ["no profile 'huge'", "cpu"]),
    ],
    ids=lambda value: " ".join(value) if value[0] in ("run", "train") else "",
)
def test_run_and_train_refuse(refused, checkout, tmp_path, arguments, words):
    line = refused(*arguments, "--output-dir", tmp_path / "runs")
    assert [word for word in words if word not in line] == []


def test_output_dir_below_a_file(refused, checkout, tmp_path):
    (tmp_path / "a_file").touch()
    assert "cannot write to" in refused("run", "--output-dir", "a_file/runs", "--run-name", "a")


def test_compare(metseg, tmp_path):
    for run, model in (("a", "unet"), ("a", "attention_unet"), ("b", "unet")):
        write_evaluated(tmp_path / "runs" / run, model, PATIENTS)
    status, out, err = metseg("compare", "a", "--output-dir", "runs")
    assert (status, err) == (0, "")
    assert "Attention U-Net" in out and "runs/a/comparison" in out
    assert "2023" in out and "2026" not in out  # lesion-wise, of 20 mm³: no large lesion
    first = (tmp_path / "runs" / "a" / "comparison" / "comparison.json").read_bytes()

    # several runs, by name or by folder; the comparison of the one run stays as it is
    status, out, _ = metseg("compare", "a", "runs/b", "--output-dir", "runs")
    assert status == 0 and "a · U-Net" in out and "b · U-Net" in out
    record = json.loads((tmp_path / "runs" / "a" / "comparison-b" / "comparison.json").read_text())
    assert {row["model"] for row in record["summary"]} == {"a/unet", "a/attention_unet", "b/unet"}
    assert (tmp_path / "runs" / "a" / "comparison" / "comparison.json").read_bytes() == first

    assert metseg("compare", "b", "--output", "elsewhere", "--output-dir", "runs")[0] == 0
    assert (tmp_path / "elsewhere" / "comparison.json").exists()


def test_compare_shows_intervals_and_what_is_undefined(metseg, refused, tmp_path):
    write_evaluated(tmp_path / "runs" / "a", "unet", PATIENTS)
    healthy = dict.fromkeys(PATIENTS)
    write_evaluated(tmp_path / "runs" / "b", "unet", healthy)
    _, out, _ = metseg("compare", "a", "--output-dir", "runs")
    assert "0.500 (0.000–1.000)" in out
    assert "no held-out patient of unet has a Dice" in refused("compare", "b", "--output-dir", "runs")

    # false alarms of one network alone: a Dice of 0 for it, none for the other
    write_evaluated(tmp_path / "runs" / "c", "unet", healthy)
    for name in ("per_patient", "per_slice"):
        path = tmp_path / "runs" / "c" / "unet" / "evaluation" / f"{name}.csv"
        table = pd.read_csv(path)
        table["pred_voxels" if name == "per_patient" else "pred_px"] = 5
        table.to_csv(path, index=False)
    status, out, err = metseg("compare", "b", "c", "--output-dir", "runs")
    assert (status, err) == (0, "") and "undefined" in out and "0.000 (0.000–0.000)" in out


def test_compare_refuses(refused, tmp_path):
    runs = tmp_path / "runs"
    write_evaluated(runs / "a", "unet", PATIENTS)
    write_evaluated(runs / "b", "unet", dict(list(PATIENTS.items())[:2]))
    (runs / "c").mkdir()
    where = ["--output-dir", "runs"]
    line = refused("compare", "absent", *where)
    assert "there is no run" in line and "finished runs here: a, b" in line
    assert "different patients" in refused("compare", "a", "b", *where)
    assert "holds no evaluated model" in refused("compare", "c", *where)
    (tmp_path / "a_file").touch()
    assert "cannot write" in refused("compare", "a", "--output", "a_file/x", *where)


def test_crossval(metseg, checkout, tmp_path, monkeypatch):
    asked = []

    def cross_validate(config, *, folds, run_folder, cache_dir, restart):
        asked.append((config.network.model, config.learning.epochs, config.preprocessing.image_size, folds))
        for fold, patients in enumerate(({"P_20000101": WHOLE, "Q_20000101": HALF}, {"R_20000101": MISSED})):
            folder = write_evaluated(run_folder / "unet" / f"unet-{fold + 1}", "unet", patients)
            write_json(folder / "config.json", {"model": "unet", "fold": fold, "folds": 2})
            others = [("R_20000101",), ("P_20000101", "Q_20000101")][fold]
            write_split(Split(others, (), tuple(patients), 0, ""), folder / "split.json")

    monkeypatch.setattr("metseg.workbook.cross_validate.cross_validate", cross_validate)
    write_scans(tmp_path / "scans", patients=3)
    options = ["--folds", "2", "--profile", "cpu", "--set", "image_size=64", "--run-name", "cv"]
    command = ["crossval", "--model", "unet", *options, "--data-dir", "scans", "--output-dir", "runs"]
    status, out, err = metseg(*command)
    assert (status, err) == (0, "")
    assert asked == [("unet", 30, 64, 2)]  # the profile's gallery is no training's parameter
    assert "0.500 (0.000–1.000)" in out and "runs/cv/comparison" in out
    assert (tmp_path / "runs" / "cv" / "comparison" / "out_of_fold.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "resnet"], "no notebook trains 'resnet'"),
        (["--model", "unet", "--set", "epochs=0"], "epochs=0: Input should be greater than or equal to 1"),
        (["--model", "unet", "--set", "fold=1"], "fold is no parameter to set here"),
        (["--model", "unet", "--set", "epoch=1"], "no parameter 'epoch' (did you mean epochs?)"),
        (["--model", "unet", "--data-dir", "absent"], "absent is not a folder"),
        (["--model", "unet", "--run-name", "../up"], "run name '../up' is no folder name"),
    ],
)
def test_crossval_refuses(refused, tmp_path, arguments, words):
    assert words in refused("crossval", *arguments, "--output-dir", tmp_path / "runs")
