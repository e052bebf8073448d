"""What every network begins and ends with."""

import keras
from keras import layers


def input_tensor(channels: int) -> keras.KerasTensor:
    """Returns an input of shape (B, H, W, channels) whose size is left open."""
    return keras.Input((None, None, channels), name="image")


def probability(features: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Maps (B, H, W, F) features to (B, H, W, 1) lesion probabilities.

    The sigmoid stays in float32 under mixed precision: bfloat16 has 8 bits of mantissa, so
    probabilities near 1 would collapse and the logarithm of the loss with them.
    """
    logits = layers.Conv2D(1, 1, name=f"{name}_logits", dtype="float32")(features)
    return layers.Activation("sigmoid", name=name, dtype="float32")(logits)
