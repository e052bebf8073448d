"""Looks inside a trained network: attention gates, and the heads of deep supervision."""

import re
from typing import NamedTuple

from metseg.base.backend import keras

_NODE = re.compile(r"x(\d)(\d)_1_activation")  # the last layer of X(i,j)


def gate_names(model: keras.Model) -> list[str]:
    """Returns the layers that hold an attention gate's coefficients, coarsest first.

    Gate i is of level i, finest 1: (B, H/2ⁱ, W/2ⁱ, 1) in [0, 1]; a plain network's are half as fine.
    """
    return [layer.name for layer in model.layers if re.fullmatch(r"gate_\d+", layer.name)]


def inference_model(model: keras.Model, *, prune: int | None = None) -> keras.Model:
    """Returns a model with one output, (B, H, W, T regions), from a network that may have several heads.

    Args:
        model: A network; one without deep supervision is returned as it is.
        prune: None averages the heads, region by region; k keeps X(0,k)'s head alone, and with it only the
            part of the graph that it needs (U-Net++ L1…L4).

    Raises:
        ValueError: The network has no such head.

    Reference:
        Zhou et al. 2018, arXiv:1807.10165, section 3.2 (accurate and fast mode) and figure 1c.
    """
    heads = {int(m[1]): layer for layer in model.layers if (m := re.fullmatch(r"head_(\d+)", layer.name))}
    if prune is not None:
        if prune not in heads:
            own = f"the heads {sorted(heads)}" if heads else "one output and no heads"
            raise ValueError(f"prune={prune}; {model.name} has {own}")
        return keras.Model(model.input, heads[prune].output, name=f"{model.name}_l{prune}")
    if len(heads) < 2:
        return model
    average = keras.layers.Average(name="mean_of_heads", dtype="float32")
    return keras.Model(model.input, average([head.output for head in heads.values()]), name=model.name)


class Graph(NamedTuple):
    """A network as its papers draw it, by its nodes X(i,j): level i, finest 0; column j, 0 the encoder."""

    nodes: dict[tuple[int, int], int]  # {(i, j): channels}
    arrows: list[tuple[tuple[int, int], tuple[int, int], str]]  # (from, to, `down`, `up`, `skip` or `gated`)
    heads: list[tuple[int, int]]  # the nodes from which a probability is read


def graph_of(model: keras.Model) -> Graph:
    """Reads nodes and arrows from the layers of a network that `build_model` made."""
    layers = {layer.name: layer for layer in model.layers}
    ends = {_place(name, 0): layer for name, layer in layers.items() if _NODE.fullmatch(name)}
    nodes, arrows = {place: layer.output.shape[-1] for place, layer in ends.items() if place[1]}, []
    for i, j in [*nodes]:
        up = layers[f"x{i}{j}_up_unpool"]
        for source in _sources(layers[f"x{i}{j}_concat"]) if f"x{i}{j}_concat" in layers else [up]:
            kind = "up" if source is up else "gated" if source.name.startswith("gate_") else "skip"
            if kind != "skip":
                source = _sources(source)[0]
            start = _place(source.name, i + (kind == "up"))
            nodes[start] = source.output.shape[-1]
            arrows.append((start, (i, j), kind))
    levels = sorted(i for i, j in nodes if j == 0)
    arrows += [((i, 0), (i + 1, 0), "down") for i in levels[:-1]]
    logits = [_sources(layer)[0].name for name, layer in layers.items() if name.endswith("_logits")]
    return Graph(nodes, arrows, sorted(_place(name, 0) for name in logits))


def _place(name: str, level: int) -> tuple[int, int]:
    """Returns (i, j) of the node that a layer is the end of; what has another name is of the encoder."""
    found = _NODE.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else (level, 0)


def _sources(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    return [tensor._keras_history.operation for tensor in keras.tree.flatten(layer.input)]


def concatenations(model: keras.Model) -> int:
    """Returns how often a network joins features: no skip connection does without."""
    return sum(isinstance(layer, keras.layers.Concatenate) for layer in model.layers)
