"""What the three networks share: the encoder's features, the decoder's node, the attention gate.

A node is named as Zhou et al. name it: X(i,j) is of level i, finest 0, and column j. Column 0 is the encoder;
a plain decoder has one node a level, X(i,L−i), and U-Net++ those between as well. Shapes are told of slices;
of volumes they are (B, Z, H, W, C), and the layers `models.layers`'.
"""

from collections.abc import Sequence

from keras_unet_collection.layer_utils import CONV_stack, decode_layer, encode_layer

from metseg.base.backend import keras
from metseg.models import layers
from metseg.models.encoders.efficientnet_lite import encoder_features

Filters = tuple[int, ...]
Tensor = keras.KerasTensor


def network_input(rank: int, channels: int, encoder: str) -> Tensor:
    """Returns the image of a network of this rank, of any size.

    Raises:
        ValueError: The encoder is pretrained, on pictures, and the rank is 3.
    """
    if rank == 3 and encoder != "plain":
        raise ValueError(f"encoder={encoder!r} was trained on pictures; with rank=3 the encoder is 'plain'")
    return keras.Input((*[None] * rank, channels), name="image")


def encoder_column(
    image: Tensor, filters: Filters, encoder: str, *, flat_poolings: int = 0
) -> dict[int, Tensor]:
    """Returns X(i,0), the last features of each level i: (B, H/2ⁱ, W/2ⁱ, C).

    Args:
        image: (B, H, W, channels) in [0, 1].
        filters: Convolution filters of each level, finest first.
        encoder: `plain`: levels 0 to len(filters) − 1, two convolutions each. `efficientnet_lite0`: levels
            1 to len(filters) in that network's own widths; it has no features of the whole size.
        flat_poolings: How many of the first poolings leave a volume's z as it is, for thick slices.
    """
    if encoder != "plain":
        return dict(enumerate(encoder_features(image, len(filters)), start=1))
    sizes = layers.pooling_sizes(layers.rank(image), len(filters) - 1, flat_poolings)
    column = {0: convolved(image, filters[0], name="x00")}
    for i, width in enumerate(filters[1:], start=1):
        column[i] = convolved(pooled(column[i - 1], sizes[i - 1], name=f"x{i}0_pool"), width, name=f"x{i}0")
    return column


def convolved(x: Tensor, width: int, *, name: str) -> Tensor:
    """Returns two convolutions of `width` filters, normalised, with ReLU."""
    if layers.rank(x) == 3:
        return layers.conv_stack(x, width, name=name)
    return CONV_stack(x, width, stack_num=2, batch_norm=True, name=name)


def pooled(x: Tensor, size: layers.Size, *, name: str) -> Tensor:
    """Returns the maxima of blocks of `size`."""
    if layers.rank(x) == 3:
        return layers.pooled(x, size, name=name)
    return encode_layer(x, None, size, "max", name=name)


def upsampled(below: Tensor, *, name: str, size: layers.Size = 2) -> Tensor:
    """Returns features finer by `size`, bilinear. The three papers learn this step; here none does."""
    if layers.rank(below) == 3:
        return layers.upsampled(below, size, name=f"{name}_up_unpool")
    return decode_layer(below, None, size, "bilinear", name=f"{name}_up")


def node(up: Tensor, skips: Sequence[Tensor], width: int, *, name: str) -> Tensor:
    """Returns two convolutions of `width` filters, of upsampled features joined with the skips', if any."""
    x = keras.layers.Concatenate(name=f"{name}_concat")([*skips, up]) if skips else up
    return convolved(x, width, name=name)


def decoded(
    column: dict[int, Tensor], filters: Filters, *, gated: bool = False, flat_poolings: int = 0
) -> Tensor:
    """Joins the features of `encoder_column`, deepest first, into (B, H, W, filters[0]): a skip a level.

    With gates as in the paper: the skip connection of the whole size has none, α lives on the grid of the
    features below, and these are the gating signal. A pretrained encoder's α is as fine as the skip.
    """
    depth = max(column)
    x = column[depth]
    sizes = layers.pooling_sizes(layers.rank(x), depth, flat_poolings)
    for i in reversed(range(depth)):
        name = f"x{i}{depth - i}"
        up = upsampled(x, name=name, size=sizes[i])
        skips = [column[i]] if i in column else []
        if gated and i > 0:
            gating, stride = (x, sizes[i]) if 0 in column else (up, 1)
            skips = [attention_gate(column[i], gating, filters[i] // 2, stride, level=i)]
        x = node(up, skips, filters[i], name=name)
    return x


def attention_gate(skip: Tensor, gating: Tensor, width: int, stride: layers.Size, *, level: int) -> Tensor:
    """Returns α · x, with α = σ(ψᵀ ReLU(Wₓx + W_g g + b_g) + b_ψ) in [0, 1], one for all channels.

    The layer `gate_<level>` holds α; it is the attention coefficient's map.

    Args:
        skip: x, (B, H, W, C).
        gating: g, the decoder's features: (B, H/stride, W/stride, any).
        width: Channels in which x and g are added.
        stride: 2, or (1, 2, 2): α has g's grid, half as fine as x, and is upsampled, as in the paper. 1: α
            is as fine as x.

    Reference:
        Oktay et al. 2018, "Attention U-Net", arXiv:1804.03999, equations 1 and 2, figure 2. With stride 1 it
        is keras-unet-collection's `attention_gate` without the second, redundant bias.
    """
    name = f"gate_{level}"
    conv = layers.of_rank("Conv", skip)
    x = conv(width, stride, strides=stride, use_bias=False, name=f"{name}_x")(skip)
    g = conv(width, 1, name=f"{name}_g")(gating)
    q = keras.layers.ReLU(name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")([x, g]))
    alpha = keras.layers.Activation("sigmoid", name=name)(conv(1, 1, name=f"{name}_psi")(q))
    if stride != 1:
        alpha = layers.upsampled(alpha, stride, name=f"{name}_up")
    return keras.layers.Multiply(name=f"{name}_gated")([skip, alpha])
