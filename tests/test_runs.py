"""Finding runs and models by name."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from metseg.errors import MetsegError
from metseg.files import write_json
from metseg.runs import find_model, model_folders, read_json, read_tables, run_names, trained_folders


def exported(runs: Path, run: str, model: str, *, year: int = 2026, manifest: bool = True) -> Path:
    """A folder that looks like that of an exported model, finished in that year."""
    folder = runs / run / model
    folder.mkdir(parents=True)
    for name in ("model.json", "model.onnx"):
        (folder / name).write_text("{}")
    if manifest:
        write_json(folder / "manifest.json", {"finished": f"{year}-01-01T00:00:00+00:00"})
    return folder


@pytest.fixture
def runs(tmp_path) -> Path:
    runs = tmp_path / "runs"
    exported(runs, "a_new", "unet")
    exported(runs, "b_newest_nested", "nested_unet", year=2025)
    exported(runs, "z_old", "unet", year=2024)
    exported(runs, "z_old", "nested_unet", year=2024)
    (runs / "unfinished" / "unet").mkdir(parents=True)
    (runs / "unfinished" / "unet" / "config.json").write_text("{}")
    return runs


def test_the_newest_by_name(runs):
    assert find_model("unet", runs) == runs / "a_new" / "unet"  # by time, not by the run's name
    assert find_model("nested_unet", runs) == runs / "b_newest_nested" / "nested_unet"


def test_by_folder_and_by_a_file_in_it(runs):
    folder = runs / "z_old" / "unet"
    assert find_model(str(folder), runs / "elsewhere") == folder
    assert find_model(str(folder) + "/", runs) == folder
    assert find_model(str(folder / "model.onnx"), runs) == folder
    assert find_model(str(folder / "model.json"), runs) == folder


def test_a_folder_of_the_working_directory_comes_first(runs, monkeypatch):
    monkeypatch.chdir(runs / "z_old")
    assert find_model("unet", runs).resolve() == runs / "z_old" / "unet"


def test_a_known_network_that_was_not_trained(runs):
    with pytest.raises(MetsegError, match="no finished run of attention_unet") as error:
        find_model("attention_unet", runs)
    assert "metseg train --model attention_unet" in str(error.value)
    trained = re.search(r"\(trained: (.*?)\)", str(error.value))[1]
    assert set(trained.split(", ")) == {"unet", "nested_unet"}


def test_an_unknown_name_lists_the_valid_ones(runs, tmp_path):
    for name in ("vnet", str(tmp_path / "nothing" / "here"), str(runs / "unfinished" / "unet")):
        with pytest.raises(MetsegError, match="valid are nested_unet, attention_unet, unet"):
            find_model(name, runs)
    with pytest.raises(MetsegError, match="none yet"):
        find_model("vnet", tmp_path / "no runs")


def test_run_names(runs):
    assert run_names(runs) == ["a_new", "b_newest_nested", "z_old"]  # each once, the unfinished not
    assert run_names(runs / "nothing") == []


def test_model_folders_are_those_that_were_evaluated(runs):
    for model in ("unet", "nested_unet"):
        evaluation = runs / "z_old" / model / "evaluation"
        evaluation.mkdir()
        (evaluation / "per_patient.csv").write_text("")
    (runs / "z_old" / "unet" / "evaluation" / "evaluation.json").write_text("{}")
    assert model_folders(runs / "z_old") == {"unet": runs / "z_old" / "unet"}
    with pytest.raises(MetsegError, match="no evaluated model"):
        model_folders(runs / "a_new")
    with pytest.raises(MetsegError, match="no run .*; finished runs here: a_new, b_newest_nested, z_old"):
        model_folders(runs / "c")
    with pytest.raises(MetsegError, match="none"):
        model_folders(runs / "nothing" / "c")


def test_tables_keep_names_that_look_like_numbers(tmp_path):
    folder = tmp_path / "evaluation"
    folder.mkdir()
    for table in ("per_patient", "per_slice"):
        pd.DataFrame({"patient_id": ["007", "NA"], "case_id": ["0071", "1e5"], "dice": [0.5, None]}).to_csv(
            folder / f"{table}.csv", index=False
        )
    for table in read_tables(tmp_path):
        assert list(table.patient_id) == ["007", "NA"] and list(table.case_id) == ["0071", "1e5"]
        assert table.dice[0] == 0.5 and pd.isna(table.dice[1])


def test_read_json(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"name": "Übung"}, ensure_ascii=False), encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"name": "Übung"}


def test_trained_folders(runs, monkeypatch):
    both = [runs / "z_old" / name for name in ("nested_unet", "unet")]
    assert trained_folders("z_old", runs) == both
    assert trained_folders(str(runs / "z_old"), runs / "elsewhere") == both
    assert trained_folders(str(both[0]), runs) == both[:1]
    monkeypatch.chdir(runs)
    assert [path.resolve() for path in trained_folders("z_old/unet", Path("elsewhere"))] == both[1:]


@pytest.mark.parametrize("name", ["unfinished", "absent"])
def test_nothing_trained(runs, name):
    with pytest.raises(MetsegError, match=f"no finished training in {name}; runs here: a_new, b_newest"):
        trained_folders(name, runs)


@pytest.mark.parametrize("name", ["cv", "cv/unet"])
def test_a_cross_validation_is_no_training(tmp_path, name):
    folder = tmp_path / "cv" / "unet" / "unet-1" / "unet"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(MetsegError, match=f"^{name} is a cross-validation or .* as .*cv/unet/unet-1/unet$"):
        trained_folders(name, tmp_path)
