"""Structured pruning: a trained network becomes the same architecture with fewer filters.

Dense kernels only get smaller, so whatever runs the network runs the result faster, without sparse kernels.
"""

from collections.abc import Sequence

import numpy as np

from metseg.base.backend import keras
from metseg.models import build_model

# What takes one tensor and leaves its channels apart.
_CHANNELWISE = (
    keras.layers.BatchNormalization,
    keras.layers.ReLU,
    keras.layers.Activation,
    keras.layers.MaxPooling2D,
    keras.layers.UpSampling2D,
)
_ELEMENTWISE = (keras.layers.Add, keras.layers.Multiply)

Kept = dict[str, np.ndarray]  # layer → which channels of its output stay, ascending


def prune_channels(model: keras.Model, filters: Sequence[int]) -> keras.Model:
    """Returns the same architecture with narrower filters, carrying the strongest channels of a network.

    Each convolution keeps the output channels with the largest L1 norm (Li et al.), taken of the kernel as
    batch normalisation scales it, |γ| / √(σ² + ε) · Σ|w|: normalisation undoes whatever scale the kernel has
    by itself. |γ| alone (Liu et al.) ranks networks that were trained with a penalty on γ, as these are not.
    Convolutions that are added together, as in an attention gate, keep the same channels: those with the
    largest sums of norms.

    The result is where a training starts, and no network to segment with: what the dropped channels
    contributed is missing, and what follows them was normalised with it.

    Args:
        model: What `metseg.models.build_model` built; its weights are not touched.
        filters: Filters of each level of the result, at most those of `model`.

    Returns:
        An uncompiled model that shares no weight with `model`. A kernel (h, w, in, out) has become
        (h, w, in', out'), a vector (out,) has become (out',). With the same filters the weights are equal.

    Raises:
        ValueError: Another number of levels, or more filters in one of them; or the graph has a layer
            through which channels cannot be followed.

    Reference:
        Li et al. 2017, "Pruning Filters for Efficient ConvNets", arXiv:1608.08710, section 3.1; all layers
        at once as in section 3.2, "independent pruning". Liu et al. 2017, "Learning Efficient Convolutional
        Networks through Network Slimming", arXiv:1708.06519, section 3, for γ as a channel's scale.
    """
    if any(isinstance(layer, keras.layers.DepthwiseConv2D) for layer in model.layers):
        raise ValueError("a pretrained encoder is not narrowed: it has depthwise convolutions")
    heads = {"deep_supervision": True} if model.output_shape[-1] > 1 else {}
    narrow = build_model(model.name, filters=tuple(filters), channels=model.input_shape[-1], **heads)
    widths = {layer.name: layer.output.shape[-1] for layer in narrow.layers}
    if widths.keys() != {layer.name for layer in model.layers}:
        raise ValueError(f"filters={tuple(filters)} have another number of levels than the trained network")
    if any(widths[layer.name] > layer.output.shape[-1] for layer in model.layers):
        raise ValueError(f"filters={tuple(filters)} are more than the trained network has at some level")
    kept = _kept_channels(model, widths)
    for layer in model.layers:
        weights = [np.take(weight, kept[layer.name], axis=-1) for weight in layer.get_weights()]
        if isinstance(layer, keras.layers.Conv2D):
            (source,) = _sources(layer)
            weights[0] = np.take(weights[0], kept[source.name], axis=2)
        narrow.get_layer(layer.name).set_weights(weights)
    return narrow


def _kept_channels(model: keras.Model, widths: dict[str, int]) -> Kept:
    """Follows the channels from the image to the heads; `widths` says how many each layer keeps."""
    importance = _importance(model)
    kept: Kept = {}
    for layer in model.layers:
        sources = _sources(layer)
        if isinstance(layer, keras.layers.Conv2D):
            strongest = np.argsort(-importance[layer.name], kind="stable")[: widths[layer.name]]
            kept[layer.name] = np.sort(strongest)
        elif isinstance(layer, keras.layers.Concatenate):
            starts = np.cumsum([0, *(source.output.shape[-1] for source in sources)])
            parts = [start + kept[source.name] for start, source in zip(starts, sources, strict=False)]
            kept[layer.name] = np.concatenate(parts)
        elif isinstance(layer, (*_ELEMENTWISE, *_CHANNELWISE)):
            kept[layer.name] = kept[_widest(sources)[0].name]
        elif isinstance(layer, keras.layers.InputLayer):
            kept[layer.name] = np.arange(widths[layer.name])
        else:
            raise ValueError(f"channels cannot be followed through {layer.name}, a {type(layer).__name__}")
    return kept


def _importance(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns each convolution's norms, (out,); those that are added together share their sum."""
    norms, tied = {}, {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            norms[layer.name] = np.abs(np.asarray(layer.kernel)).sum(axis=(0, 1, 2))
            tied[layer.name] = {layer.name}
        elif isinstance(layer, keras.layers.BatchNormalization) and _sources(layer)[0].name in norms:
            deviation = np.sqrt(np.asarray(layer.moving_variance) + layer.epsilon)
            norms[_sources(layer)[0].name] *= np.abs(np.asarray(layer.gamma)) / deviation
        elif isinstance(layer, _ELEMENTWISE) and len(inputs := _widest(_sources(layer))) > 1:
            together = set().union(*(tied[_convolution(source).name] for source in inputs))
            tied |= dict.fromkeys(together, together)
    return {name: sum(norms[other] for other in sorted(tied[name])) for name in norms}


def _convolution(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Returns a convolution that decides which channels a layer's output has."""
    while not isinstance(layer, keras.layers.Conv2D):
        if not isinstance(layer, (*_ELEMENTWISE, *_CHANNELWISE)):
            raise ValueError(f"{layer.name} is added to other channels, which this pruning cannot follow")
        layer = _widest(_sources(layer))[0]
    return layer


def _widest(layers: list[keras.layers.Layer]) -> list[keras.layers.Layer]:
    """Returns the layers with most channels: an attention gate's single one is spread over the others'."""
    most = max(layer.output.shape[-1] for layer in layers)
    return [layer for layer in layers if layer.output.shape[-1] == most]


def _sources(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns the layers whose outputs a layer takes, in order."""
    if isinstance(layer, keras.layers.InputLayer):
        return []
    return [tensor._keras_history.operation for tensor in keras.tree.flatten(layer.input)]
