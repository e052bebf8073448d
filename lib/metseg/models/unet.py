"""U-Net, the baseline, and Attention U-Net, which has a gate in each skip connection."""

from metseg.base.backend import keras
from metseg.models.blocks import Filters, decoded, encoder_column, network_input
from metseg.models.outputs import probability


def build_unet(
    *,
    filters: Filters = (16, 32, 64, 128, 256),
    channels: int = 3,
    encoder: str = "plain",
    targets: int = 1,
    gated: bool = False,
    rank: int = 2,
    flat_poolings: int = 0,
) -> keras.Model:
    """Builds an encoder, a decoder and one skip connection at each level.

    Args:
        filters: Convolution filters of each level, finest first; with another encoder than `plain` of each
            level of the decoder, to which the encoder adds a deeper one. The finest, of which that encoder
            has no features, then has no skip connection.
        channels: Image channels.
        encoder: `plain`, the network's own, or `efficientnet_lite0`, see `encoder_features`.
        targets: Regions to be told apart, each with a probability of its own.
        gated: Skip connections pass through additive attention gates, see `blocks.decoded`.
        rank: 2 for slices, 3 for volumes, (B, Z, H, W, channels).
        flat_poolings: How many of the first poolings leave a volume's z as it is.

    Returns:
        An uncompiled model from (B, H, W, channels) in [0, 1] to (B, H, W, targets) probabilities, H and W
        divisible by 2**(len(filters) - 1), by 2**len(filters) with another encoder.

    Raises:
        ValueError: A plain network of two levels has no skip connection to gate, or of rank 3 the encoder is
            pretrained.

    Reference:
        Ronneberger et al. 2015, "U-Net", arXiv:1505.04597, figure 1. There convolutions are unpadded and
        upsampling is learned; here convolutions are padded and normalised, and upsampling is bilinear.
        Oktay et al. 2018, "Attention U-Net", arXiv:1804.03999, section 2 and figure 1. There the network is
        3D and deeply supervised; here it is of either rank, with one output.
    """
    if gated and encoder == "plain" and len(filters) < 3:
        raise ValueError(
            f"filters={tuple(filters)} leave an attention_unet nothing to gate; give at least three levels"
        )
    image = network_input(rank, channels, encoder)
    column = encoder_column(image, filters, encoder, flat_poolings=flat_poolings)
    features = decoded(column, filters, gated=gated, flat_poolings=flat_poolings)
    name = "attention_unet" if gated else "unet"
    return keras.Model(image, probability(features, name="head", targets=targets), name=name)
