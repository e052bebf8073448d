"""U-Net and Attention U-Net on the decoders of keras-unet-collection."""

from collections.abc import Callable

from keras_unet_collection._model_att_unet_2d import UNET_att_right
from keras_unet_collection._model_unet_2d import UNET_right
from keras_unet_collection.base import att_unet_2d_base, unet_2d_base

from metseg.backend import keras
from metseg.models.efficientnet_lite import encoder_features
from metseg.models.heads import input_tensor, probability, without_skip

Filters = tuple[int, ...]


def build_unet(
    *, filters: Filters = (16, 32, 64, 128, 256), channels: int = 3, encoder: str = "plain"
) -> keras.Model:
    """Builds the baseline: an encoder, a decoder and one skip connection at each level.

    Args:
        filters: Convolution filters of each level, finest first; with another encoder than `plain` of each
            level of the decoder, to which the encoder adds a deeper one. The finest, of which that encoder
            has no features, then has no skip connection.
        channels: Image channels.
        encoder: `plain`, the network's own, or `efficientnet_lite0`, see `encoder_features`.

    Returns:
        An uncompiled model from (B, H, W, channels) in [0, 1] to (B, H, W, 1) probabilities, H and W
        divisible by 2**(len(filters) - 1), by 2**len(filters) with another encoder.

    Reference:
        Ronneberger et al. 2015, "U-Net", arXiv:1505.04597, figure 1; with padded convolutions,
        batch normalisation and bilinear upsampling.
    """
    image = input_tensor(channels)
    if encoder == "plain":
        features = unet_2d_base(image, list(filters), batch_norm=True, unpool="bilinear", name="unet")
    else:

        def join(x, skip, width, name):
            return UNET_right(x, [skip], width, unpool="bilinear", batch_norm=True, name=name)

        features = _decoded(image, filters, join, name="unet")
    return keras.Model(image, probability(features, name="head"), name="unet")


def build_attention_unet(
    *, filters: Filters = (16, 32, 64, 128, 256), channels: int = 3, encoder: str = "plain"
) -> keras.Model:
    """Builds a U-Net whose skip connections pass through additive attention gates.

    Each gate weighs the skip features x by α = σ(ψᵀ ReLU(Wₓx + W_g g + b) + b_ψ), with the decoder's
    upsampled features as the gating signal g. The layers named by `gate_names` hold α.

    Args:
        filters, channels, encoder: As in `build_unet`.

    Returns:
        An uncompiled model, shapes as in `build_unet`.

    Reference:
        Oktay et al. 2018, "Attention U-Net", arXiv:1804.03999, equations 1 and 2. There the gate works
        on the grid of g and α is upsampled; keras-unet-collection upsamples g first, so α is as fine as x.
    """
    image = input_tensor(channels)
    if encoder == "plain":
        features = att_unet_2d_base(
            image, list(filters), attention="add", batch_norm=True, unpool="bilinear", name="attunet"
        )
    else:

        def join(x, skip, width, name):
            return UNET_att_right(
                x,
                skip,
                width,
                att_channel=width // 2,
                attention="add",
                unpool="bilinear",
                batch_norm=True,
                name=name,
            )

        features = _decoded(image, filters, join, name="attunet")
    return keras.Model(image, probability(features, name="head"), name="attention_unet")


def _decoded(image: keras.KerasTensor, filters: Filters, join: Callable, *, name: str) -> keras.KerasTensor:
    """Joins the features of an encoder, deepest first, into (B, H, W, filters[0])."""
    *skips, x = encoder_features(image, len(filters))
    for k, (skip, width) in enumerate(zip(reversed(skips), filters[:0:-1], strict=True)):
        x = join(x, skip, width, f"{name}_up{k}")
    return without_skip(x, filters[0], name=f"{name}_up{len(skips)}")
