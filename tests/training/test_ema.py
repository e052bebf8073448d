"""The moving average of a network's weights, by hand."""

import keras
import numpy as np
import pytest

from metseg.training.ema import STEPS, AveragedWeights


class OneWeight:
    """Stands in for a network whose only weight is its number of steps squared."""

    def __init__(self):
        self.optimizer, self.value = self, np.float32(0)
        self.iterations = np.int64(0)

    def get_weights(self):
        return [np.array([self.value])]

    def set_weights(self, weights):
        (self.value,) = weights[0]

    def jax_state_sync(self):
        pass

    def steps(self, count: int, averaged: AveragedWeights) -> None:
        averaged.set_model(self)
        averaged.on_epoch_begin(0)
        for batch in range(count):
            self.iterations += 1
            self.value = np.float32(self.iterations**2)
            averaged.on_train_batch_end(batch)


def test_average_by_hand():
    network = OneWeight()
    averaged = AveragedWeights(network, 0.5 ** (1 / STEPS))  # half of it is kept at each update
    network.steps(3, averaged)
    assert averaged.weights is None
    averaged.on_epoch_end(0)
    assert averaged.weights[0].tolist() == [9]  # the first epoch's last weights
    network.steps(3, averaged)  # epochs are shorter than STEPS: at step 4 it is updated with 16
    averaged.on_epoch_end(1)
    assert averaged.weights[0].tolist() == pytest.approx([12.5])
    network.steps(3, averaged)  # at step 8 with 64
    assert averaged.weights[0].tolist() == pytest.approx([(12.5 + 64) / 2])


def test_without_momentum_they_are_the_epochs_own():
    network = OneWeight()
    averaged = AveragedWeights(network, 0.0)
    for epoch, last in enumerate((25, 100)):
        network.steps(5, averaged)
        averaged.on_epoch_end(epoch)
        assert averaged.weights[0].tolist() == [last]


def test_in_place_and_back():
    network = OneWeight()
    averaged = AveragedWeights(network, 0.9)
    averaged.weights = [np.float32([7])]
    network.value = np.float32(3)
    with pytest.raises(KeyboardInterrupt), averaged.in_place():
        assert network.value == 7
        raise KeyboardInterrupt
    assert network.value == 3


def test_batch_normalisation_is_averaged_too():
    network = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
    network.compile("adam", "mse")
    averaged = AveragedWeights(network, 0.5)
    x = np.float32([[0, 4], [2, 8]])
    network.fit(x, x, epochs=1, verbose=0, callbacks=[averaged])
    before = [np.array(each) for each in averaged.weights]
    network.fit(x, x, epochs=STEPS, verbose=0, callbacks=[averaged])
    assert len(averaged.weights) == 4  # scale, shift, moving mean, moving variance
    for old, average, now in zip(before, averaged.weights, network.get_weights(), strict=True):
        assert ((np.minimum(old, now) <= average) & (average <= np.maximum(old, now))).all()
        assert not np.array_equal(average, now)
