"""Attention U-Net: the U-Net of `models.unet` and a gate in each skip connection."""

from metseg.base.backend import keras
from metseg.models.blocks import Filters, decoded, encoder_column
from metseg.models.outputs import probability


def build_attention_unet(
    *, filters: Filters = (16, 32, 64, 128, 256), channels: int = 3, encoder: str = "plain"
) -> keras.Model:
    """Builds a U-Net whose skip connections pass through additive attention gates (`blocks.attention_gate`).

    As in the paper the skip connection of the whole size has no gate, α lives on the grid of the features
    below, and these are the gating signal. A pretrained encoder has no features of the whole size: all skip
    connections are gated then, and the gating signal is upsampled first, so that α is as fine as the skip.

    Args:
        filters, channels, encoder: As in `build_unet`.

    Returns:
        An uncompiled model, shapes as in `build_unet`.

    Raises:
        ValueError: A plain network of two levels, which has no skip connection to gate.

    Reference:
        Oktay et al. 2018, "Attention U-Net", arXiv:1804.03999, section 2 and figure 1. There the network is
        3D and deeply supervised; here it is 2D with one output.
    """
    if encoder == "plain" and len(filters) < 3:
        raise ValueError(
            f"filters={tuple(filters)} leave an attention_unet nothing to gate; give at least three levels"
        )
    image = keras.Input((None, None, channels), name="image")
    features = decoded(encoder_column(image, filters, encoder), filters, gated=True)
    return keras.Model(image, probability(features, name="head"), name="attention_unet")
