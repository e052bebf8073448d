"""What the tests of networks share."""

import keras
import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def batch(rng) -> tuple[np.ndarray, np.ndarray]:
    """Four 16 px slices, (4, 16, 16, 3) and (4, 16, 16, 1) float32, with a bright square each."""
    masks = np.zeros((4, 16, 16, 1), np.float32)
    for mask, (row, column) in zip(masks, rng.integers(2, 9, (4, 2)), strict=True):
        mask[row : row + 5, column : column + 5] = 1
    images = rng.uniform(0, 0.4, (4, 16, 16, 3)).astype(np.float32) + 0.5 * masks
    return images, masks


@pytest.fixture
def randomised(rng):
    """A function that gives a model weights unlike those it starts with, as if it had learned much."""

    def change(model: keras.Model) -> keras.Model:
        for weight in model.weights:
            value = np.asarray(weight) + rng.normal(0, 0.2, weight.shape)
            if "moving_variance" in weight.path:
                value = np.abs(value)
            if "logits/bias" in weight.path:
                value *= 0.1  # away from the prior, so that probabilities spread around 1/2
            weight.assign(value)
        return model

    return change


@pytest.fixture
def sources():
    """A function that names the layers a layer takes its inputs from, in order."""

    def trace(layer: keras.layers.Layer) -> list[str]:
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        return [tensor._keras_history.operation.name for tensor in inputs]

    return trace
