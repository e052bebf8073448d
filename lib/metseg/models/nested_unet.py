"""Nested U-Net (U-Net++): a grid of nodes in which every skip pathway is dense.

Not by keras-unet-collection's `unet_plus_2d`: release 0.1.13 passes `concat=False` to every node, so its
graph has no skip connection at all.
"""

from keras_unet_collection.models import unet_plus_2d

from metseg.base.backend import keras
from metseg.models.blocks import Filters, encoder_column, network_input, node, upsampled
from metseg.models.layers import pooling_sizes
from metseg.models.outputs import probability


def build_nested_unet(
    *,
    filters: Filters = (16, 32, 64, 128, 256),
    channels: int = 3,
    deep_supervision: bool = False,
    encoder: str = "plain",
    targets: int = 1,
    rank: int = 2,
    flat_poolings: int = 0,
) -> keras.Model:
    """Builds U-Net++ with X(i,j) = H([X(i,0), …, X(i,j−1), up(X(i+1,j−1))]).

    Another encoder than `plain` makes X(1,0)…X(L,0), in its own widths. It has no features of the whole size,
    so level 0 has no skip connection, X(0,j) = H(up(X(1,j−1))); heads on these are this project's own.

    Args:
        filters: Convolution filters of levels 0…L, finest first; L is the number of poolings. With another
            encoder than `plain` of levels 0…L−1.
        channels: Image channels.
        deep_supervision: One head on each of X(0,1)…X(0,L) instead of one on X(0,L).
        encoder: `plain`, or `efficientnet_lite0`, see `encoder_features`.
        targets: Regions to be told apart, each with a probability of its own.
        rank: 2 for slices, 3 for volumes, (B, Z, H, W, channels).
        flat_poolings: How many of the first poolings leave a volume's z as it is.

    Returns:
        An uncompiled model from (B, H, W, channels) in [0, 1] to (B, H, W, targets) probabilities, H
        and W divisible by 2**L; with deep supervision to (B, H, W, L·targets): those of the head from X(0,1),
        then from X(0,2), …

    Raises:
        ValueError: Of rank 3 the encoder is pretrained.

    Reference:
        Zhou et al. 2018, "UNet++: A Nested U-Net Architecture for Medical Image Segmentation",
        arXiv:1807.10165, equation 1 and figure 1a; deep supervision in section 3.2.
    """
    image = network_input(rank, channels, encoder)
    column = encoder_column(image, filters, encoder, flat_poolings=flat_poolings)
    nodes = {(i, 0): features for i, features in column.items()}
    finest, depth = min(nodes)[0], max(nodes)[0]
    sizes = pooling_sizes(rank, depth, flat_poolings)
    heads = range(1, depth + 1) if deep_supervision else (depth,)

    places = [(i, j) for j in range(1, depth + 1) for i in range(finest, depth + 1 - j)]
    if finest > 0:
        places += [(0, j) for j in heads]
    for i, j in places:
        name, skips = f"x{i}{j}", [nodes[i, k] for k in range(j) if i >= finest]
        up = upsampled(nodes[i + 1, j - 1], name=name, size=sizes[i])
        nodes[i, j] = node(up, skips, filters[i], name=name)
    outputs = [probability(nodes[0, j], name=f"head_{j}", targets=targets) for j in heads]
    if deep_supervision:
        outputs = [keras.layers.Concatenate(name="heads", dtype="float32")(outputs)]
    return keras.Model(image, outputs[0], name="nested_unet")


def upstream_unet_plus(filters: tuple[int, ...]) -> keras.Model:
    """Returns what keras-unet-collection calls U-Net++; it stands here to be looked at, not to be trained."""
    return unet_plus_2d((None, None, 3), list(filters), n_labels=1, output_activation="Sigmoid")
