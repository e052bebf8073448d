"""The weights that serve: those of the last step, or a moving average over many steps."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from metseg.base.backend import keras

STEPS = 4  # between two updates: a copy of all weights at every step would cost 2 % of it


class AveragedWeights(keras.callbacks.Callback):
    """Keeps an exponential moving average of all weights, batch normalisation's statistics among them.

    The first epoch is left out: its weights are far from any that follow.

    Reference:
        Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging"; as it is done here,
        Tarvainen & Valpola 2017, arXiv:1703.01780, section 2.

    Attributes:
        weights: The average as `model.get_weights()` would return it; None until an epoch has passed.
    """

    def __init__(self, network: keras.Model, momentum: float):
        """Follows a network that `fit` trains; `momentum` is kept of the average in each step, 0 of none."""
        super().__init__()
        self._network, self._kept, self._steps = network, momentum**STEPS, 0
        self.weights: list[np.ndarray] | None = None

    def on_epoch_begin(self, epoch, logs=None):
        # Of the whole training: an epoch may have fewer than STEPS, and a resumed one goes on counting.
        self._steps = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))

    def on_train_batch_end(self, batch, logs=None):
        self._steps += 1
        if self.weights is None or self._kept == 0 or self._steps % STEPS:
            return
        for average, now in zip(self.weights, self.model.get_weights(), strict=True):
            average *= self._kept
            average += (1 - self._kept) * now

    def on_epoch_end(self, epoch, logs=None):
        if self.weights is None or self._kept == 0:
            self.weights = [np.array(each) for each in self.model.get_weights()]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Puts the average into the network, and its own weights back afterwards."""
        own = self._network.get_weights()
        self._network.set_weights(self.weights)
        try:
            yield
        finally:
            self._network.set_weights(own)
