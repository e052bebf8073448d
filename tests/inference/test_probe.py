"""The same preprocessing is known again, another is not."""

import cv2
import numpy as np
import pytest

from metseg.inference import probe as probe_module
from metseg.inference.probe import is_as_before, probe
from metseg.preprocessing import pipeline as preprocess_module
from metseg.preprocessing.intensity import percentile_limits, tissue_limits
from metseg.preprocessing.pipeline import Preprocessing

SERVED = {"image_size": 128, "intensity": "tissue", "crop": True, "neighbours": 1}


@pytest.mark.parametrize(
    ("intensity", "neighbours"), [("slice", 0), ("volume", 1), ("tissue", 1), ("stored", 0)]
)
def test_the_same_preprocessing(intensity, neighbours):
    config = Preprocessing(**{**SERVED, "intensity": intensity, "neighbours": neighbours})
    means = probe(config)
    assert len(means) == 16 + config.channels
    assert min(means[16:]) > 0.02 and max(means) < 1
    assert is_as_before(means, config)
    assert not is_as_before(means[:-1], config)


def test_a_cpu_that_rounds_otherwise_makes_no_difference(monkeypatch):
    config = Preprocessing(**SERVED)
    means, rng = probe(config), np.random.default_rng(0)
    network_input = preprocess_module.network_input

    def rounded_otherwise(volume, config):
        small = network_input(volume, config)
        return small + rng.choice([-1, 0, 0, 0, 0, 0, 0, 0, 0, 1], small.shape) / 255

    monkeypatch.setattr(probe_module, "network_input", rounded_otherwise)
    assert is_as_before(means, config)


@pytest.mark.parametrize(
    "change",
    [
        {"clip_limit": 3.0},
        {"tile_grid": 7},
        {"crop": False},
        {"intensity": "volume"},
    ],
)
def test_other_parameters(change):
    assert not is_as_before(probe(Preprocessing(**SERVED)), Preprocessing(**{**SERVED, **change}))


@pytest.mark.parametrize(
    ("intensity", "name", "changed"),
    [
        ("tissue", "tissue_limits", lambda volume: tissue_limits(volume) * 1.02),
        ("volume", "percentile_limits", lambda volume: percentile_limits(volume) * 1.02),
    ],
)
def test_another_computation_of_the_same_parameters(monkeypatch, intensity, name, changed):
    config = Preprocessing(**{**SERVED, "intensity": intensity})
    means = probe(config)
    monkeypatch.setitem(preprocess_module._OF_VOLUME, intensity, changed)
    assert not is_as_before(means, config)


def test_another_way_to_resize(monkeypatch):
    config = Preprocessing(**{**SERVED, "image_size": 32, "clip_limit": 0})
    means = probe(config)
    monkeypatch.setattr(cv2, "INTER_AREA", cv2.INTER_NEAREST)
    assert not is_as_before(means, config)
