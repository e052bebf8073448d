"""The layers of the networks' blocks for slices or volumes alike; which, the tensor's rank says.

Of rank 2 they are keras-unet-collection's `CONV_stack`, `encode_layer` and `decode_layer`, which the networks
take for slices: the package has none for volumes.
"""

from metseg.base.backend import keras

Tensor = keras.KerasTensor
Size = int | tuple[int, ...]  # of a pooling; a tuple by axis: (z, y, x)
_KINDS = {
    "Conv": (keras.layers.Conv2D, keras.layers.Conv3D),
    "MaxPooling": (keras.layers.MaxPooling2D, keras.layers.MaxPooling3D),
}


def rank(x: Tensor) -> int:
    """Returns 2 for (B, H, W, C), 3 for (B, Z, H, W, C)."""
    return len(x.shape) - 2


def of_rank(kind: str, x: Tensor) -> type[keras.layers.Layer]:
    """Returns Keras's `Conv` or `MaxPooling` layer for a tensor."""
    return _KINDS[kind][rank(x) - 2]


def conv_stack(x: Tensor, width: int, *, name: str) -> Tensor:
    """Returns two convolutions of side 3, each without bias, with batch normalisation and ReLU."""
    for k in range(2):
        conv = of_rank("Conv", x)(width, 3, padding="same", use_bias=False, name=f"{name}_{k}")
        norm = keras.layers.BatchNormalization(axis=rank(x) + 1, name=f"{name}_{k}_bn")
        x = keras.layers.ReLU(name=f"{name}_{k}_activation")(norm(conv(x)))
    return x


def pooled(x: Tensor, size: Size, *, name: str) -> Tensor:
    """Returns the maxima of blocks."""
    return of_rank("MaxPooling", x)(size, name=f"{name}_maxpool")(x)


def upsampled(x: Tensor, size: Size, *, name: str) -> Tensor:
    """Returns features on a grid finer by `size`: bilinear in slices, each voxel repeated in volumes.

    Keras has no trilinear layer. Repeated and then averaged over 3 × 3 × 3, which is nearly that, a whole
    U-Net took two thirds longer in bfloat16, and the node's convolutions smooth as well.

    Reference:
        Isensee et al. 2018, arXiv:1802.10508, section 2.2: voxels repeated, then convolved.
    """
    if rank(x) == 3:
        return keras.layers.UpSampling3D(size, name=name)(x)
    return keras.layers.UpSampling2D(size, interpolation="bilinear", name=name)(x)


def pooling_sizes(of_rank: int, levels: int, flat: int = 0) -> tuple[Size, ...]:
    """Returns what each of `levels` poolings halves: all axes, but for the first `flat` not z."""
    if of_rank == 2:
        return (2,) * levels
    return tuple((1, 2, 2) if level < flat else (2, 2, 2) for level in range(levels))
