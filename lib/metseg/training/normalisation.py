"""Batch normalisation's mean and variance, estimated anew for the weights that are validated and kept.

The running ones lag behind the weights, and the moving average of weights has none of its own: after two or
three epochs a network that had learned predicted nothing by them.
"""

import numpy as np

from metseg.base.backend import keras
from metseg.training.batches import EpochBatches

MOST_SLICES = 128  # to estimate from, millions of pixels: more cost time and change little
MOST_PATCHES = 32


class PopulationStatistics:
    """Estimates a network's statistics as those of the slices it learns from, not of a batch's past.

    A layer's mean is that over all pixels of all batches, each normalised by its own statistics as while it
    learned; its variance the mean within batches plus that between them.

    Reference:
        Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm", arXiv:2105.07576, section 3.1, "precise BN".
    """

    def __init__(self, network: keras.Model):
        self._network = network
        self._layers = [
            layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)
        ]
        self._passes = {}

    def estimate(self, batches: EpochBatches) -> None:
        """Puts the statistics of these slices into the network; its other weights stay as they are."""
        weight, sums = 0, [np.zeros((3, layer.moving_mean.shape[0])) for layer in self._layers]
        momenta = [layer.momentum for layer in self._layers]
        for layer in self._layers:
            layer.momentum = 0.0  # a running statistic is then that of the last batch
        try:
            for images, _ in batches.prepared_ahead():
                self._pass(images)
                weight += len(images)
                for layer, total in zip(self._layers, sums, strict=True):
                    mean, variance = (
                        keras.ops.convert_to_numpy(each).astype(np.float64)
                        for each in (layer.moving_mean, layer.moving_variance)
                    )
                    total += len(images) * np.stack([mean, mean**2, variance])
        finally:
            for layer, momentum in zip(self._layers, momenta, strict=True):
                layer.momentum = momentum
        for layer, total in zip(self._layers, sums, strict=True):
            mean, square, within = total / weight
            layer.moving_mean.assign(mean.astype(np.float32))
            layer.moving_variance.assign((within + np.maximum(square - mean**2, 0)).astype(np.float32))

    def _pass(self, images) -> None:
        import tensorflow as tf

        shape = tuple(images.shape[1:])
        if shape not in self._passes:  # height and width must be known; the number of slices may vary
            signature = [tf.TensorSpec((None, *shape), tf.float32)]
            self._passes[shape] = tf.function(self._train_pass, input_signature=signature)
        self._passes[shape](images)

    def _train_pass(self, images) -> None:
        self._network(images, training=True)
