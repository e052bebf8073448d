"""U-Net, the baseline."""

from metseg.base.backend import keras
from metseg.models.blocks import Filters, decoded, encoder_column
from metseg.models.outputs import probability


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
        Ronneberger et al. 2015, "U-Net", arXiv:1505.04597, figure 1. There convolutions are unpadded and
        upsampling is learned; here convolutions are padded and normalised, and upsampling is bilinear.
    """
    image = keras.Input((None, None, channels), name="image")
    features = decoded(encoder_column(image, filters, encoder), filters)
    return keras.Model(image, probability(features, name="head"), name="unet")
