"""What networks end with: probabilities, and the logits before them."""

import math

from metseg.base.backend import keras
from metseg.models.layers import of_rank

LESION_PRIOR = 0.02  # share of lesion pixels that an untrained network assumes


def probability(features: keras.KerasTensor, *, name: str, targets: int = 1) -> keras.KerasTensor:
    """Maps (B, H, W, F) features to (B, H, W, targets) lesion probabilities, at first near `LESION_PRIOR`.

    Each region has its own sigmoid, for a voxel of enhancing tumour is of the whole tumour as well.

    Starting at 1/2 instead, the first epochs only teach that most pixels are no lesion. In float32 also under
    mixed precision: in bfloat16 probabilities near 1 would collapse.

    Reference:
        Lin et al. 2017, arXiv:1708.02002, section 3.3.
    """
    bias = keras.initializers.Constant(math.log(LESION_PRIOR / (1 - LESION_PRIOR)))
    conv = of_rank("Conv", features)(
        targets, 1, bias_initializer=bias, name=f"{name}_logits", dtype="float32"
    )
    return keras.layers.Activation("sigmoid", name=name, dtype="float32")(conv(features))


def logits_model(model: keras.Model) -> keras.Model:
    """Returns a model of the same layers that ends before the sigmoids of `probability`, as losses want it.

    From (B, H, W, C) to (B, H, W, K·T) float32: the T regions of the first of K heads, then of the next.
    """
    layers = {layer.name: layer.output for layer in model.layers if layer.name.endswith("_logits")}
    logits = [layers[name] for name in sorted(layers)]
    if len(logits) > 1:
        logits = [keras.layers.Concatenate(name="logits", dtype="float32")(logits)]
    return keras.Model(model.input, logits[0], name=model.name)
