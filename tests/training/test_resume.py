"""A training that has begun: when it goes on, for how long, and how another one takes its place."""

import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from tiny_scans import tiny_config, write_scans

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, read_sealed, write_json, write_sealed
from metseg.data.split import Split, read_split, write_split
from metseg.training import fit as train_module
from metseg.training import resume
from metseg.training.config import TrainConfig
from metseg.training.fit import train
from metseg.training.resume import begin, complain_if_begun_otherwise
from metseg.training.run_folder import RunFolder
from metseg.training.validation import validate

COMPARED = ["epoch", "loss", "val_loss", "val_dice", "learning_rate"]
SPLIT = Split(("A",), ("B",), ("C",), 0, "f")


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainConfig:
    return tiny_config(write_scans(tmp_path_factory.mktemp("scans")), schedule="constant")


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(config, cache_dir, tmp_path_factory) -> Path:
    model_dir = tmp_path_factory.mktemp("runs") / "run" / "unet"
    train(config, model_dir, cache_dir=cache_dir)
    return model_dir


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A finished training that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "run" / "unet"))


def with_changes(config: TrainConfig, **changes) -> TrainConfig:
    return config.changed(**changes)


def same_result(folder: Path, other: Path) -> None:
    tables = [pd.read_csv(each / "history.csv")[COMPARED] for each in (folder, other)]
    pd.testing.assert_frame_equal(*tables)
    weights = [keras.saving.load_model(each / "model.keras").get_weights() for each in (folder, other)]
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))


# more epochs


def test_a_finished_training_goes_on_to_what_an_undisturbed_one_becomes(
    copy, config, cache_dir, tmp_path, monkeypatch
):
    """Killed in the fourth epoch, and told to go on twice."""
    for name in ("model.json", "evaluation/evaluation.json"):
        write_json(copy / name, {})  # of the network with 2 epochs
    calls = []

    def validate_once(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return validate(*arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_module, "validate", validate_once)
        train(with_changes(config, epochs=4), copy, cache_dir=cache_dir)
    assert not (copy / "manifest.json").exists() and (copy / "model.keras").exists()
    longest = with_changes(config, epochs=5)
    train(longest, copy, cache_dir=cache_dir)
    train(longest, tmp_path / "undisturbed", cache_dir=cache_dir)
    same_result(copy, tmp_path / "undisturbed")
    manifest = read_json(copy / "manifest.json")
    assert manifest["epochs_trained"] == manifest["config"]["epochs"] == 5
    told = [{"after_epoch": 2, "epochs": [2, 4]}, {"after_epoch": 3, "epochs": [4, 5]}]
    assert manifest["extended"] == told
    assert read_json(tmp_path / "undisturbed" / "manifest.json")["extended"] == []
    assert not (copy / "model.json").exists() and not (copy / "evaluation" / "evaluation.json").exists()


def test_a_kill_between_two_writes_of_going_on_loses_nothing(copy, config, monkeypatch):
    longer, split = with_changes(config, epochs=4), read_split(copy / "split.json")
    states, replace = [], os.replace

    def keep_and_replace(source, target):
        states.append(shutil.copytree(copy, copy.parent / f"before write {len(states)}"))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("metseg.base.files.os.replace", keep_and_replace)
        assert begin(longer, split, RunFolder(copy))
    assert len(states) == 3  # extended.json, config.json, split.json
    for state in states:
        assert begin(longer, split, RunFolder(state))
        assert resume.extensions(longer, RunFolder(state)) == [{"after_epoch": 2, "epochs": [2, 4]}]
        assert read_json(Path(state) / "config.json")["epochs"] == 4
    # one that was recorded and then not asked for again came to nothing
    assert resume.extensions(config, RunFolder(states[1])) == []


def test_patience_may_change(copy, config):
    split = read_split(copy / "split.json")
    (copy / "manifest.json").unlink()
    assert begin(with_changes(config, patience=3, epochs=6), split, RunFolder(copy))
    told = [{"after_epoch": 2, "epochs": [2, 6], "patience": [0, 3]}]
    assert resume.extensions(with_changes(config, epochs=6), RunFolder(copy)) == told


def test_a_finished_training_that_cannot_go_on_says_so(copy, config):
    with pytest.raises(MetsegError, match=r"epochs 2 → 1.*restart = True"):
        complain_if_begun_otherwise(with_changes(config, epochs=1), RunFolder(copy))
    with pytest.raises(MetsegError, match="no epoch would be added .patience 0 → 5"):
        complain_if_begun_otherwise(with_changes(config, patience=5), RunFolder(copy))
    state = read_sealed(copy / "checkpoint" / "epoch-2" / "state.json")
    for row, dice in zip(state["history"], (0.5, 0.4), strict=True):
        row["val_dice"] = dice
    write_sealed(copy / "checkpoint" / "epoch-2" / "state.json", state)
    with pytest.raises(
        MetsegError, match="no epoch would be added .*patience 0 → 1"
    ):  # it would stop at once
        complain_if_begun_otherwise(with_changes(config, epochs=4, patience=1), RunFolder(copy))
    shutil.rmtree(copy / "checkpoint")  # as trainings were left once
    with pytest.raises(MetsegError, match=r"its state .* was not kept.*restart = True"):
        complain_if_begun_otherwise(with_changes(config, epochs=4), RunFolder(copy))


# other settings


def test_other_settings_are_named(copy, config):
    other = with_changes(config, epochs=4, loss="dice")
    with pytest.raises(MetsegError, match=r"loss bce_dice → dice, epochs 2 → 4.*restart = True"):
        complain_if_begun_otherwise(other, RunFolder(copy))
    elsewhere = with_changes(config, data_dir="moved")
    complain_if_begun_otherwise(elsewhere, RunFolder(copy))


def files_of(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_a_restart_sets_the_former_training_aside(copy, config, cache_dir, capsys):
    train(config, copy, cache_dir=cache_dir, restart=True)  # the same settings: it is finished
    before, split = files_of(copy), read_split(copy / "split.json")
    assert begin(with_changes(config, epochs=4, loss="dice"), split, RunFolder(copy), restart=True)
    assert "before-1" in capsys.readouterr().out
    assert files_of(copy / "before-1") == before
    left = {path.name for path in copy.iterdir()} - {".lock"}
    assert left == {"before-1", "config.json", "split.json"}  # as where nothing was begun
    # other data
    (copy / "history.csv").touch()
    assert begin(with_changes(config, epochs=4, loss="dice"), SPLIT, RunFolder(copy), restart=True)
    assert (copy / "before-2").is_dir() and read_split(copy / "split.json") == SPLIT


def test_without_a_restart_other_data_are_refused(copy, config):
    before = files_of(copy)
    with pytest.raises(MetsegError, match="other data; .*restart = True"):
        begin(config, SPLIT, RunFolder(copy))
    assert files_of(copy) == before


@pytest.mark.parametrize("moves", [0, 1, 5, 6])
def test_a_kill_while_it_is_set_aside(tmp_path, config, monkeypatch, moves):
    folder = tmp_path / "run" / "unet"
    write_json(folder / "config.json", config.flat())
    for name in ("history.csv", "model.keras", "progress.json"):
        (folder / name).write_text(name)
    write_split(SPLIT, folder / "split.json")
    before, other = files_of(folder), with_changes(config, loss="dice")
    done, replace = [], os.replace

    def killed(source, target):
        if len(done) == moves:
            raise KeyboardInterrupt
        done.append(target)
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", killed)
        begin(other, SPLIT, RunFolder(folder), restart=True)
    complain_if_begun_otherwise(other, RunFolder(folder))
    assert begin(other, SPLIT, RunFolder(folder))
    assert files_of(folder / "before-1") == before
    assert json.loads((folder / "config.json").read_text())["loss"] == "dice"


def test_a_finished_training_whose_state_is_damaged_stays_as_it_is(copy, config):
    path = copy / "checkpoint" / "epoch-2" / "network.weights.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(MetsegError, match="damaged.*restart = True"):
        begin(with_changes(config, epochs=4), read_split(copy / "split.json"), RunFolder(copy))
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
