"""What is read from a finished training."""

import keras
import numpy as np
import pytest
from tiny_scans import tiny_config

from metseg.base.errors import MetsegError
from metseg.base.files import write_json
from metseg.data.split import Split, write_split
from metseg.training.trained import load_network, seen_patients, trained_config


@pytest.mark.parametrize(
    ("manifest", "learned_from", "chosen_on"),
    [
        ({}, {"a", "b"}, {"c"}),  # of a release from before there were starts
        ({"start": None}, {"a", "b"}, {"c"}),
        ({"start": {"learned_from": ["b", "e"], "chosen_on": ["f"]}}, {"a", "b", "e"}, {"c", "f"}),
    ],
)
def test_patients_seen(tmp_path, manifest, learned_from, chosen_on):
    split = Split(train=("a", "b"), validation=("c",), test=("d",), seed=0, fingerprint="0")
    write_split(split, tmp_path / "split.json")
    write_json(tmp_path / "manifest.json", manifest)
    seen = seen_patients(tmp_path)
    assert (seen.learned_from, seen.chosen_on) == (learned_from, chosen_on)


def test_network(tmp_path):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.save(tmp_path / "model.keras")
    loaded = load_network(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.get_weights()[0], network.get_weights()[0])
    for damage in (b"", b"no model"):
        (tmp_path / "model.keras").write_bytes(damage)
        with pytest.raises(MetsegError, match="is missing, is damaged, or carries code"):
            load_network(tmp_path / "model.keras")


def test_another_network_than_the_manifest_describes(tmp_path):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.save(tmp_path / "model.keras")
    write_json(tmp_path / "manifest.json", {"network_sha256": "0" * 64})
    with pytest.raises(MetsegError, match=r"model\.keras is damaged, or was replaced"):
        load_network(tmp_path / "model.keras")


def test_parameters(tmp_path):
    config = tiny_config("scans")
    manifest = {"config": config.model_dump(mode="json"), "git_revision": "abc123"}
    del manifest["config"]["encoder"]  # of a training from before there was one
    write_json(tmp_path / "manifest.json", manifest)
    assert trained_config(tmp_path) == config
    del manifest["config"]["split_seed"]  # when one seed was for the split as well
    write_json(tmp_path / "manifest.json", {**manifest, "config": {**manifest["config"], "seed": 5}})
    assert (trained_config(tmp_path).seed, trained_config(tmp_path).split_seed) == (5, 5)
    for changes in ({"loss": "of another time"}, {"model": "of another time"}, {"of_another_time": 1}):
        write_json(tmp_path / "manifest.json", {**manifest, "config": {**manifest["config"], **changes}})
        with pytest.raises(MetsegError, match=r"trained by another metseg .*; use revision abc123, or train"):
            trained_config(tmp_path)
