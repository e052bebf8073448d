"""Looks inside a trained network: attention gates, and the heads of deep supervision."""

import re
from typing import NamedTuple

from metseg.base.backend import keras

_GATE = re.compile(r"gate_(\d+)")
_HEAD = re.compile(r"head_(\d+)")
_NODE = re.compile(r"x(\d)(\d)_1_activation")  # the last layer of X(i,j)


def gate_names(model: keras.Model) -> list[str]:
    """Returns the layers that hold an attention gate's coefficients, coarsest first.

    Gate i is of level i, finest 1: (B, H/2ⁱ, W/2ⁱ, 1) in [0, 1]; a plain network's are half as fine.
    """
    return [layer.name for layer in model.layers if _GATE.fullmatch(layer.name)]


def inference_model(model: keras.Model, *, prune: int | None = None) -> keras.Model:
    """Returns a model with one output, (B, H, W, 1), from a network that may have several heads.

    Args:
        model: A network; one without deep supervision is returned as it is.
        prune: None averages the heads; k keeps X(0,k)'s head alone, and with it only the part of the
            graph that it needs (U-Net++ L1…L4).

    Raises:
        ValueError: The network has no such head.

    Reference:
        Zhou et al. 2018, arXiv:1807.10165, section 3.2 (accurate and fast mode) and figure 1c.
    """
    heads = {int(m[1]): layer for layer in model.layers if (m := _HEAD.fullmatch(layer.name))}
    if prune is not None:
        if prune not in heads:
            raise ValueError(f"prune={prune}; {model.name} has the heads {sorted(heads)}")
        return keras.Model(model.input, heads[prune].output, name=f"{model.name}_l{prune}")
    if len(heads) < 2:
        return model
    average = keras.layers.Average(name="mean_of_heads", dtype="float32")
    return keras.Model(model.input, average([head.output for head in heads.values()]), name=model.name)


class Graph(NamedTuple):
    """A network as its papers draw it.

    Attributes:
        nodes: {(i, j): channels} of each X(i,j): level i, finest 0, and column j; column 0 is the encoder.
        arrows: (from, to, kind), kind being `down`, `up`, `skip` or `gated`.
        heads: The nodes from which a probability is read.
    """

    nodes: dict[tuple[int, int], int]
    arrows: list[tuple[tuple[int, int], tuple[int, int], str]]
    heads: list[tuple[int, int]]


def graph_of(model: keras.Model) -> Graph:
    """Reads nodes and arrows from the layers of a network that `build_model` made."""
    nodes, arrows, encoder = {}, [], dict[int, int]()
    for layer in model.layers:
        if not (found := _NODE.fullmatch(layer.name)):
            continue
        i, j = int(found[1]), int(found[2])
        if j == 0:
            encoder[i] = layer.output.shape[-1]
            continue
        nodes[i, j] = layer.output.shape[-1]
        up, concat = f"x{i}{j}_up_unpool", f"x{i}{j}_concat"
        below = _sources(model.get_layer(up))[0]
        arrows.append((_place(below.name, i + 1), (i, j), "up"))
        encoder.setdefault(i + 1, below.output.shape[-1])  # of a pretrained one the deepest
        for source in _sources(model.get_layer(concat)) if _has(model, concat) else []:
            if source.name == up:
                continue
            start = _place(source.name, i)
            arrows.append((start, (i, j), "gated" if source.name == f"gate_{i}_gated" else "skip"))
            if start[1] == 0:
                encoder[i] = source.output.shape[-1]
    levels = range(0 if "x00_1_activation" in {each.name for each in model.layers} else 1, max(encoder) + 1)
    nodes |= {(i, 0): encoder[i] for i in levels}
    arrows += [((i, 0), (i + 1, 0), "down") for i in levels[:-1]]
    logits = [layer for layer in model.layers if layer.name.endswith("_logits")]
    return Graph(nodes, arrows, [_place(_sources(layer)[0].name, 0) for layer in logits])


def _place(name: str, level: int) -> tuple[int, int]:
    """Returns (i, j) of the node that a layer is the end of; what has another name is of the encoder."""
    found = _NODE.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else (level, 0)


def _has(model: keras.Model, name: str) -> bool:
    return any(layer.name == name for layer in model.layers)


def _sources(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    return [tensor._keras_history.operation for tensor in keras.tree.flatten(layer.input)]


def concatenations(model: keras.Model) -> int:
    """Returns how often a network joins features: no skip connection does without."""
    return sum(isinstance(layer, keras.layers.Concatenate) for layer in model.layers)
