"""Looks inside a trained network: attention gates, and the heads of deep supervision."""

import re

from metseg.base.backend import keras

_GATE = re.compile(r"gate_(\d+)")
_HEAD = re.compile(r"head_(\d+)")


def gate_names(model: keras.Model) -> list[str]:
    """Returns the layers that hold an attention gate's coefficients, coarsest first."""
    return [layer.name for layer in model.layers if _GATE.fullmatch(layer.name)]


def gate_model(model: keras.Model) -> keras.Model:
    """Returns a model from the same image to {gate name: (B, H/2ⁱ, W/2ⁱ, 1) coefficients in [0, 1]}.

    Gate i is of level i, finest 1. A plain network's are half as fine: (B, H/2ⁱ⁺¹, W/2ⁱ⁺¹, 1).

    Raises:
        ValueError: The model has no attention gate.
    """
    names = gate_names(model)
    if not names:
        raise ValueError(f"{model.name} has no attention gate; attention_unet has")
    return keras.Model(model.input, {name: model.get_layer(name).output for name in names})


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
    mean = keras.layers.Average(name="mean_of_heads", dtype="float32")(
        [head.output for head in heads.values()]
    )
    return keras.Model(model.input, mean, name=model.name)


def concatenations(model: keras.Model) -> dict[str, str]:
    """Returns what each concatenation of a network takes: {layer: names of the layers behind its inputs}."""
    return {
        layer.name: ", ".join(tensor._keras_history.operation.name for tensor in layer.input)
        for layer in model.layers
        if isinstance(layer, keras.layers.Concatenate)
    }
