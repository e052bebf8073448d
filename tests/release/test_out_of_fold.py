"""Scores of folds stand for a network of the same recipe that holds nobody out, and for no other."""

from pathlib import Path

import pytest
from tiny_runs import write_crossvalidated

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, write_json
from metseg.data.split import Split, write_split
from metseg.release.out_of_fold import out_of_fold_scores


@pytest.fixture
def run(tmp_path) -> Path:
    return write_crossvalidated(tmp_path)


@pytest.fixture
def refit(run, tmp_path) -> Path:
    """An Attention U-Net trained as those of the folds were, with nobody held out."""
    served = {"sha256": "abc", "postprocessing": {"threshold": 0.5}, "tta_flip": False}
    for fold in range(2):
        folder = run / "attention_unet" / f"attention_unet-{fold + 1}" / "attention_unet"
        for name in ("model.json", "evaluation/evaluation.json"):
            write_json(folder / name, {**read_json(folder / name), **served})
    folder = tmp_path / "refit" / "attention_unet"
    # One knows no `neighbour_dropout` yet, the other its default.
    config = {"model": "attention_unet", "fold": 0, "folds": 0, "test_fraction": 0, "epochs": 3, "alone": 0.0}
    config |= {"split_seed": 1}  # who is held out is no part of a recipe
    write_json(folder / "config.json", {**config, "data_dir": "elsewhere"})
    write_json(folder / "manifest.json", {"model": "attention_unet"})
    write_json(folder / "model.json", served)
    write_split(Split(("A", "B"), ("C",), (), 0, ""), folder / "split.json")
    return folder


def test_a_recipes_scores(run, refit):
    scores = out_of_fold_scores(run, refit)
    assert scores["dice_mean"] == pytest.approx(0.5)
    assert (scores["n_patients"], scores["folds"], scores["scored_in"]) == (3, 2, "fp32")
    assert scores["same_masks"] == 2
    folder = run / "attention_unet" / "attention_unet-1" / "attention_unet"
    for name in ("model.json", "evaluation/evaluation.json"):
        write_json(folder / name, {**read_json(folder / name), "min_volume_share": 0.3})
    assert out_of_fold_scores(run, refit)["same_masks"] == 1


def test_scores_of_another_file_are_refused(run, refit):
    path = run / "attention_unet" / "attention_unet-2" / "attention_unet" / "model.json"
    write_json(path, {**read_json(path), "sha256": "another"})
    with pytest.raises(MetsegError, match="attention_unet changed after it was scored; call: metseg export"):
        out_of_fold_scores(run, refit)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("config.json", {"epochs": 4, "seed": 1}, r"have different parameters \(epochs, seed\); train with"),
        ("config.json", {"paste": 0.3}, r"have different parameters \(copy_paste\); train with"),
        ("model.json", {"prune": 1}, r"have different parameters \(prune\); train with"),
        ("manifest.json", {"extended": [{"after_epoch": 1, "epochs": [1, 3]}]}, r"parameters \(extended\)"),
        ("split.json", {"fingerprint": "other"}, "have different data; train both with the same"),
        ("split.json", {"train": ["A"], "test": ["B"]}, "holds patients out; release it by their scores"),
        ("manifest.json", {"model": "nested_unet"}, "no finished cross-validation of nested_unet"),
    ],
)
def test_another_recipes_scores_are_refused(run, refit, name, changes, message):
    write_json(refit / name, {**read_json(refit / name), **changes})
    with pytest.raises(MetsegError, match=message):
        out_of_fold_scores(run, refit)
