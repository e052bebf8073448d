"""U-Net and Attention U-Net on the decoders of keras-unet-collection."""

from keras_unet_collection.base import att_unet_2d_base, unet_2d_base

from metseg.backend import keras
from metseg.models.heads import input_tensor, probability

Filters = tuple[int, ...]


def build_unet(*, filters: Filters = (16, 32, 64, 128, 256), channels: int = 3) -> keras.Model:
    """Builds the baseline: an encoder, a decoder and one skip connection at each level.

    Args:
        filters: Convolution filters of each level, finest first.
        channels: Image channels.

    Returns:
        An uncompiled model from (B, H, W, channels) in [0, 1] to (B, H, W, 1) probabilities, H and W
        divisible by 2**(len(filters) - 1).

    Reference:
        Ronneberger et al. 2015, "U-Net", arXiv:1505.04597, figure 1; with padded convolutions,
        batch normalisation and bilinear upsampling.
    """
    image = input_tensor(channels)
    features = unet_2d_base(image, list(filters), batch_norm=True, unpool="bilinear", name="unet")
    return keras.Model(image, probability(features, name="head"), name="unet")


def build_attention_unet(*, filters: Filters = (16, 32, 64, 128, 256), channels: int = 3) -> keras.Model:
    """Builds a U-Net whose skip connections pass through additive attention gates.

    Each gate weighs the skip features x by α = σ(ψᵀ ReLU(Wₓx + W_g g + b) + b_ψ), with the decoder's
    upsampled features as the gating signal g. The layers named by `gate_names` hold α.

    Args:
        filters: Convolution filters of each level, finest first.
        channels: Image channels.

    Returns:
        An uncompiled model, shapes as in `build_unet`.

    Reference:
        Oktay et al. 2018, "Attention U-Net", arXiv:1804.03999, equations 1 and 2. There the gate works
        on the grid of g and α is upsampled; keras-unet-collection upsamples g first, so α is as fine as x.
    """
    image = input_tensor(channels)
    features = att_unet_2d_base(
        image, list(filters), attention="add", batch_norm=True, unpool="bilinear", name="attunet"
    )
    return keras.Model(image, probability(features, name="head"), name="attention_unet")
