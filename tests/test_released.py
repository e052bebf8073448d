"""What a release takes, writes and refuses."""

import json
from pathlib import Path

import pytest
from tiny_runs import HALF, WHOLE, write_bright_model, write_evaluated

from metseg.errors import MetsegError
from metseg.files import read_json, write_json
from metseg.predict import Predictor
from metseg.released import release, released_models

MANIFEST = {
    "data": {"name": "test scans", "patients": 7, "licence": "none", "caution": "Test scans."},
    "config": {"filters": [4, 8]},
    "hardware": {"cpu": "abacus", "cores": 2, "gpus": []},
    "epochs_trained": 3,
    "train_seconds": 240.0,
    "git_revision": "abc123",
    "finished": "2026-01-02T00:00:00+00:00",
}


SERVED = {"validation_dice": 0.9, "validation_dice_single_slices": 0.8, "validation_patients": 3}
SERVED |= {"seen": ["A", "B", "C", "D", "E"]}


@pytest.fixture
def model_dir(tmp_path) -> Path:
    """A finished, exported and scored training: Dice 1 and 0.5."""
    folder = write_evaluated(tmp_path / "run", "unet", {"TEST_0001_a": WHOLE, "TEST_0002_a": HALF})
    write_bright_model(folder)
    description = read_json(folder / "model.json") | SERVED
    write_json(folder / "model.json", description)
    write_json(folder / "manifest.json", MANIFEST)
    scored = {key: description[key] for key in ("sha256", "postprocessing", "flip_average")}
    write_json(folder / "evaluation" / "evaluation.json", {**scored, "parameters": 4})
    return folder


def test_what_lies_there_then(model_dir, tmp_path):
    target = release(model_dir, tmp_path / "released")
    assert target == tmp_path / "released" / "unet"
    assert {path.name for path in target.iterdir()} == {"README.md", "model.json", "model.onnx"}
    assert Predictor(target).description["held_out"]["dice_mean"] == 0.75
    assert released_models(tmp_path / "released")["unet"]["held_out"]["n_patients"] == 2


def test_the_card(model_dir, tmp_path):
    card = (release(model_dir, tmp_path) / "README.md").read_text()
    rows = dict(line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("| m"))
    assert "| mean volume Dice | 0.750 (0.500–1.000) |" in card
    assert "3 validation patients, whose Dice flatters" in card and "| mean volume Dice | 0.900 |" in card
    assert rows["mask"].startswith("probability of 0.5 or more; lesions all kept; holes left open")
    assert "the same, every slice uploaded by itself | 0.800" in card
    assert "test scans: 2 patients to learn from, 3 for validation" in card
    for text in ("# U-Net", "not a medical device", "2 cores of abacus", "4 min", "filters 4, 8", "abc123"):
        assert text in card


def test_a_release_replaces_the_one_before(model_dir, tmp_path):
    release(model_dir, tmp_path)
    description = read_json(model_dir / "model.json") | {"validation_dice": 0.95}
    write_json(model_dir / "model.json", description)
    release(model_dir, tmp_path)
    assert released_models(tmp_path)["unet"]["validation_dice"] == 0.95


def test_best_first(tmp_path):
    for name, dice in (("a", 0.7), ("b", 0.9), ("c", None)):
        folder = write_bright_model(tmp_path / name, validation_dice_single_slices=dice)
        assert read_json(folder / "model.json")["validation_dice"] == 0.5
    assert list(released_models(tmp_path)) == ["b", "a", "c"]


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"name": "test scans"}},
        {"validation_dice": "high"},
        {"validation_dice_single_slices": "high"},
        {"postprocessing": {"threshold": 2}},
        {"preprocessing": None},
        {"parameters": None},
        {"input": {}},
    ],
    ids=str,
)
def test_damaged_description(tmp_path, change):
    write_bright_model(tmp_path / "unet", **change)
    with pytest.raises(MetsegError, match="model.json is damaged; release the model again"):
        released_models(tmp_path)


def test_none_released(tmp_path):
    with pytest.raises(MetsegError, match="metseg release RUN"):
        released_models(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "change", [{"sha256": "other"}, {"postprocessing": {"threshold": 0.4}}, {"flip_average": True}]
)
def test_scores_of_another_export(model_dir, tmp_path, change):
    path = model_dir / "evaluation" / "evaluation.json"
    path.write_text(json.dumps({**read_json(path), **change}))
    with pytest.raises(MetsegError, match="changed after it was scored; call: metseg export"):
        release(model_dir, tmp_path / "released")
    assert not (tmp_path / "released").exists()


@pytest.mark.parametrize("name", ["model.json", "manifest.json", "evaluation/evaluation.json"])
def test_unfinished(model_dir, tmp_path, name):
    (model_dir / name).unlink()
    with pytest.raises(MetsegError, match="missing or damaged"):
        release(model_dir, tmp_path / "released")
    assert not (tmp_path / "released").exists()


def test_too_large(model_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("metseg.released.MAX_MB", 0.0001)
    with pytest.raises(MetsegError, match="train with fewer filters"):
        release(model_dir, tmp_path / "released")
    assert not (tmp_path / "released").exists()
