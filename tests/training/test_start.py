"""Starting from a trained network: which weights come over, and which starts are refused."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from tiny_scans import tiny_config

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, write_json
from metseg.data.split import Split, write_split
from metseg.models import build_model
from metseg.models.channel_pruning import prune_channels
from metseg.training.config import TrainConfig
from metseg.training.start import start_weights
from metseg.training.trained import load_network

SPLIT = Split(train=("a", "b"), validation=("c",), test=("d", "e"), seed=0, fingerprint="0")


def write_trained(folder: Path, *, start: dict | None = None, **changes) -> Path:
    """Writes what a finished training leaves, around an untrained network."""
    config = tiny_config("scans", **{"filters": (4, 8, 16), **changes})
    folder.mkdir()
    build_model(config.model, **config.model_options).save(folder / "model.keras")
    write_split(SPLIT, folder / "split.json")
    data = {"name": "test scans", "licence": "none", "patients": 3}
    record = {"config": config.model_dump(mode="json"), "start": start, "data": data}
    record["slice_hashes"] = {"a": "0badcafe12345678", "c": "00000001", "d": "00000002"}
    write_json(folder / "manifest.json", record)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return write_trained(tmp_path_factory.mktemp("start") / "unet")


def started(folder: Path, **changes) -> TrainConfig:
    return tiny_config("scans", **{"filters": (4, 8, 16), "start_from": str(folder), **changes})


def split(**roles: str) -> Split:
    """The split with other patients, a letter each, in some roles."""
    return Split(**{**vars(SPLIT), **{name: tuple(patients) for name, patients in roles.items()}})


@pytest.mark.parametrize("filters", [(4, 8, 16), (2, 8, 10)])
def test_weights_and_record(trained, tmp_path, filters):
    weights = start_weights(started(trained, filters=filters), SPLIT, tmp_path)
    expected = prune_channels(load_network(trained / "model.keras"), filters).get_weights()
    for a, b in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert read_json(tmp_path / "start.json") == {
        "folder": str(trained),
        "sha256": hashlib.sha256((trained / "model.keras").read_bytes()).hexdigest(),
        "filters": [4, 8, 16],
        "data": {"name": "test scans", "licence": "none"},
        "learned_from": ["a", "b"],
        "chosen_on": ["c"],
        "slice_hashes": {"a": "0badcafe12345678", "c": "00000001"},
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "nested_unet"}, "was trained with model=unet, not nested_unet"),
        ({"filters": (4, 8)}, r"filters=\[4, 8\] cannot be taken from start_from=.* with \[4, 8, 16\]"),
        ({"filters": (4, 9, 16)}, r"filters=\[4, 9, 16\] cannot be taken .* no more filters in any"),
    ],
)
def test_another_network_is_refused(trained, tmp_path, changes, words):
    with pytest.raises(MetsegError, match=words):
        start_weights(started(trained, **changes), SPLIT, tmp_path)
    assert not (tmp_path / "start.json").exists()


def test_a_pretrained_encoder_is_not_narrowed(tmp_path):
    lite = {"encoder": "efficientnet_lite0", "filters": (4, 8)}
    folder = write_trained(tmp_path / "lite", **lite)
    weights = start_weights(started(folder, **lite), SPLIT, tmp_path)
    for a, b in zip(weights, load_network(folder / "model.keras").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(MetsegError, match="encoder=efficientnet_lite0 is narrowed; set filters to"):
        start_weights(started(folder, **{**lite, "filters": (4, 6)}), SPLIT, tmp_path)
    with pytest.raises(MetsegError, match="was trained with encoder=efficientnet_lite0, not plain"):
        start_weights(started(folder, filters=(4, 8)), SPLIT, tmp_path)


def test_heads_are_not_dropped_or_added(tmp_path):
    folder = write_trained(tmp_path / "nested", model="nested_unet", filters=(2, 4, 6))
    config = started(folder, model="nested_unet", filters=(2, 4, 6), deep_supervision=True)
    with pytest.raises(MetsegError, match="was trained with deep_supervision=False, not True"):
        start_weights(config, SPLIT, tmp_path)


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ({"train": "ad", "test": "be"}, "has seen 1 of this training's test patients, b among them"),
        ({"validation": "d", "test": "ce"}, "has seen 1 of this training's test patients, c among them"),
        ({"train": "c", "validation": "ab"}, "has seen 2 of this training's validation patients, a among"),
    ],
)
def test_no_patient_crosses_over(trained, tmp_path, roles, words):
    with pytest.raises(MetsegError, match=words):
        start_weights(started(trained), split(**roles), tmp_path)
    assert not (tmp_path / "start.json").exists()


def test_more_patients_to_learn_from_are_welcome(trained, tmp_path):
    start_weights(started(trained), split(train="abcxy", validation="z"), tmp_path)


def test_patients_of_earlier_starts_count(trained, tmp_path):
    start_weights(started(trained), SPLIT, tmp_path)
    start = {**read_json(tmp_path / "start.json"), "learned_from": ["a", "d"], "chosen_on": ["f"]}
    second = write_trained(tmp_path / "second", start=start)
    with pytest.raises(MetsegError, match="test patients, d among them"):
        start_weights(started(second), SPLIT, tmp_path)


def test_a_start_that_is_not_there(tmp_path):
    (tmp_path / "released").mkdir()
    for folder in (tmp_path / "absent", tmp_path / "released"):
        with pytest.raises(MetsegError, match="holds no finished training; give the folder with"):
            start_weights(started(folder), SPLIT, tmp_path)


def test_a_damaged_start(tmp_path):
    folder = write_trained(tmp_path / "unet")
    (folder / "model.keras").write_bytes(b"no model")
    with pytest.raises(MetsegError, match="model.keras is missing, is damaged"):
        start_weights(started(folder), SPLIT, tmp_path)


def test_a_scan_that_was_seen_under_another_name_is_refused(tmp_path, trained):
    new = split(train="a", validation="x", test="y")
    learned, chosen, other = ["0badcafe", "12345678", ""], ["00000001"], ["00000009", ""]
    start_weights(started(trained), new, tmp_path, slices={"x": chosen, "y": other})
    (tmp_path / "start.json").unlink()
    for words, slices in (
        ("test patient y, as a", {"x": other, "y": learned[:1]}),
        ("test patient y, as c", {"x": other, "y": chosen}),
        ("validation patient x, as a", {"x": learned, "y": other}),
    ):
        with pytest.raises(MetsegError, match=words):
            start_weights(started(trained), new, tmp_path, slices=slices)
    assert not (tmp_path / "start.json").exists()
