"""Ensembles: the mean of what their members say, served as any network."""

import errno
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny_scans import tiny_config

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, sole_writer, write_json
from metseg.data.split import Split, write_split
from metseg.data.volume import Volume
from metseg.export.onnx import export_onnx
from metseg.export.variants import has_heads
from metseg.inference.predictor import Predictor
from metseg.models import build_model
from metseg.release.card import model_card
from metseg.training.ensemble import build_ensemble, mean_network
from metseg.training.runs import find_model
from metseg.training.start import start_weights
from metseg.training.trained import seen_patients

SPLIT = Split(("a", "b"), ("c",), ("d",), 0, "f")
DATA = {"name": "test scans", "licence": "none", "caution": "Test scans.", "fingerprint": "f"}
HARDWARE = {"gpus": [], "cores": 2, "cpu": "a CPU"}


def member(
    run: Path, model: str, *, seed: int = 0, split: Split = SPLIT, start: dict | None = None, **changes
) -> Path:
    """What a training of random weights leaves behind."""
    folder, config = run / model, tiny_config("x", model=model, **changes)
    keras.utils.set_random_seed(seed)
    network = build_model(model, **config.model_options)
    folder.mkdir(parents=True)
    network.save(folder / "model.keras")
    write_split(split, folder / "split.json")
    manifest = {
        "model": model,
        "config": config.model_dump(mode="json"),
        "parameters": network.count_params(),
        "epochs_trained": 3,
        "train_seconds": 60.0,
        "best_epoch": 2,
        "validation_dice": 0.5,
        "data": DATA,
        "hardware": HARDWARE,
        "git_revision": "0123abc",
        "finished": "2026-01-01T00:00:00+00:00",
        "start": start,
    }
    write_json(folder / "manifest.json", manifest)
    return folder


@pytest.fixture
def members(tmp_path) -> list[Path]:
    deep = member(tmp_path / "one", "nested_unet", deep_supervision=True, filters=(4, 8, 8))
    return [
        deep,
        member(tmp_path / "one", "attention_unet"),
        member(tmp_path / "two", "attention_unet", seed=1),
        member(tmp_path / "two", "unet", encoder="efficientnet_lite0"),
    ]


def test_the_mean_by_hand():
    def constant(value: float) -> keras.Model:
        image = keras.Input((None, None, 3))
        return keras.Model(image, image[..., :1] * 0 + value, name="unet")

    network = mean_network([constant(0.25), constant(0.5), constant(0.9)])
    found = network.predict_on_batch(np.ones((2, 4, 4, 3), np.float32))
    assert found.shape == (2, 4, 4, 1) and found == pytest.approx(0.55)


def test_it_is_exported_and_found_as_any_network(members, tmp_path):
    folder = build_ensemble(members, tmp_path / "one" / "ensemble")
    export_onnx(folder)
    image = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    for each in members:
        export_onnx(each)
    volume = Volume.of_slices(image)
    mean = np.mean([Predictor(each).prob_map(volume) for each in members], axis=0)
    predictor = Predictor(folder)
    assert predictor.name == "ensemble"
    np.testing.assert_allclose(predictor.prob_map(volume), mean, atol=1e-5)
    assert predictor.description["seen"] == ["a", "b", "c"]
    assert find_model("one/ensemble", tmp_path, tmp_path / "none") == folder
    manifest = read_json(folder / "manifest.json")
    assert (manifest["epochs_trained"], manifest["train_seconds"]) == (12, 240)
    assert [each["run"] for each in manifest["members"]] == ["one", "one", "two", "two"]
    assert manifest["parameters"] == sum(read_json(each / "manifest.json")["parameters"] for each in members)


def test_whom_a_member_started_from_counts_as_seen(tmp_path):
    start = {"learned_from": ["x"], "chosen_on": ["y"], "filters": [4, 8]}
    folders = [member(tmp_path / "1", "unet", start=start), member(tmp_path / "2", "unet", seed=1)]
    assert seen_patients(build_ensemble(folders, tmp_path / "ensemble")) == ({"a", "b", "x"}, {"c", "y"})


def test_the_card_names_the_members(members, tmp_path):
    folder = build_ensemble(members, tmp_path / "one" / "ensemble")
    description = read_json(export_onnx(folder).parent / "model.json")
    description |= {"validation_patients": 1, "validation_dice": 0.5, "validation_dice_single_slices": 0.5}
    names = [
        "dice_mean",
        "dice_mean_low",
        "dice_mean_high",
        "dice_median",
        "dice_median_low",
        "dice_median_high",
    ]
    names += ["pooled_dice", "precision", "recall", "lesion_sensitivity", "false_positives_per_patient"]
    scores = {"n_patients": 1, "n_dice_undefined": 0, **dict.fromkeys(names, 0.5)}
    card = model_card(description, read_json(folder / "manifest.json"), scores)
    assert card.startswith("# Ensemble")
    assert "the mean of Nested U-Net (filters 4, 8, 8) and Attention U-Net (filters 4, 8) and" in card
    assert "U-Net (encoder EfficientNet-Lite0 with weights from ImageNet, Apache-2.0; filters 4, 8)" in card


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"split": Split(("a",), ("c",), ("d",), 0, "f")}, "have different splits"),
        ({"clip_limit": 3.0}, "have different preprocessing"),
    ],
)
def test_members_that_do_not_go_together(tmp_path, other, says):
    folders = [member(tmp_path / "1", "unet"), member(tmp_path / "2", "unet", seed=1, **other)]
    with pytest.raises(MetsegError, match=says):
        build_ensemble(folders, tmp_path / "ensemble")
    assert not (tmp_path / "ensemble").exists()
    with pytest.raises(MetsegError, match="needs two trained networks or more"):
        build_ensemble(folders[:1], tmp_path / "ensemble")
    with pytest.raises(MetsegError, match="each network once"):
        build_ensemble([folders[0], folders[0]], tmp_path / "ensemble")


def test_an_ensemble_is_no_member(members, tmp_path):
    folder = build_ensemble(members, tmp_path / "one" / "ensemble")
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(MetsegError, match="ensemble is an ensemble already; name the networks themselves"):
        build_ensemble([folder, members[0]], folder)
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_former_one_stays_until_the_next_is_written(members, tmp_path, monkeypatch):
    folder = tmp_path / "one" / "ensemble"
    for name in ("model.json", "evaluation/evaluation.json"):
        write_json(folder / name, {})
    with sole_writer(folder), pytest.raises(MetsegError, match="is being written by another process"):
        build_ensemble(members, folder)

    def full(network, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full)
    with pytest.raises(MetsegError, match="No space left"):
        build_ensemble(members, folder)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.name != ".lock"}
    assert found == {"model.json", "evaluation/evaluation.json"}


def test_a_member_without_its_network_is_named(members, tmp_path):
    (members[1] / "model.keras").unlink()
    with pytest.raises(MetsegError, match=r"model\.keras is missing; train the network again or name"):
        build_ensemble(members, tmp_path / "ensemble")
    write_json(members[1] / "manifest.json", {"model": "unet"})
    with pytest.raises(MetsegError, match=r"manifest\.json is damaged \(KeyError\('config'\)\); train again"):
        build_ensemble(members, tmp_path / "ensemble")


def test_nothing_of_a_former_one_stays_and_it_has_one_output(members, tmp_path):
    folder = tmp_path / "one" / "ensemble"
    for name in ("model.json", "evaluation/evaluation.json"):
        write_json(folder / name, {})
    build_ensemble(members, folder)
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        ".lock",
        "config.json",
        "split.json",
        "model.keras",
        "manifest.json",
    }
    assert not has_heads(folder)
    with pytest.raises(MetsegError, match="is an ensemble; start from one of its networks"):
        start_weights(tiny_config("x", start_from=str(folder)), SPLIT, tmp_path)


def test_an_ensemble_predicts_nothing_only_where_no_member_predicts_anything(members, tmp_path):
    for told, expected in (((True, True), True), ((True, False), False), ((None, None), False)):
        for folder, nothing in zip(members[:2], told, strict=True):
            manifest = read_json(folder / "manifest.json")
            manifest.pop("predicts_nothing", None)
            manifest |= {} if nothing is None else {"predicts_nothing": nothing}
            write_json(folder / "manifest.json", manifest)
        model_dir = build_ensemble(members[:2], tmp_path / "both")
        assert read_json(model_dir / "manifest.json")["predicts_nothing"] is expected
