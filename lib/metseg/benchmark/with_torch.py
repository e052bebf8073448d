"""MONAI's networks on PyTorch; both are the optional extra `benchmark` and are imported here alone."""

from itertools import cycle
from pathlib import Path

import monai.networks.nets as nets
import torch
from torch.utils.flop_counter import FlopCounterMode

from metseg.base.hardware import cores
from metseg.benchmark.contestant import Contestant, random_pairs, repeated
from metseg.benchmark.plan import Measurement


def prepare(measurement: Measurement, folder: Path) -> Contestant:
    """Builds MONAI's network; bfloat16 is autocast in training, weights that were cast once in inference."""
    torch.set_num_threads(cores())
    torch.manual_seed(0)
    network = build_monai(measurement.network, measurement.filters)
    layout = torch.channels_last if measurement.layout else torch.contiguous_format
    network = network.to(memory_format=layout)
    images, masks = (
        torch.from_numpy(array.transpose(0, 3, 1, 2).copy()).contiguous(memory_format=layout)
        for array in random_pairs(measurement)
    )
    flop = convolution_flop(network, images[:1])
    batch, precision = measurement.batch, getattr(torch, measurement.precision)
    if measurement.task == "training":
        reduced = torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16)
        step = _training_step(network, images, masks, batch, reduced)
    else:
        step = _inference_step(network, images[:batch], precision)
    return Contestant(repeated(step), measurement.precision, flop, torch.get_num_threads())


def build_monai(network: str, filters: tuple[int, ...]) -> torch.nn.Module:
    """Returns MONAI's network for (B, 3, H, W) images and one class; it gives logits.

    Its widths are metseg's, all else is MONAI's default, so that equal widths are not equal operations.
    """
    if network == "attention_unet":
        strides = (2,) * (len(filters) - 1)
        return nets.AttentionUnet(2, in_channels=3, out_channels=1, channels=filters, strides=strides)
    features = (*filters, filters[0])  # the last is the width behind the last upsampling
    return nets.BasicUNetPlusPlus(2, in_channels=3, out_channels=1, features=features)


def convolution_flop(network: torch.nn.Module, image: torch.Tensor) -> int:
    """Returns the operations of a network's convolutions on one image, (1, 3, H, W)."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    return counter.get_total_flops()


def _first(output) -> torch.Tensor:
    """BasicUNetPlusPlus gives a list of heads, AttentionUnet a tensor."""
    return output[0] if isinstance(output, list) else output


def bce_dice(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Returns the loss of `metseg.training.losses.bce_dice`, of (B, 1, H, W) logits."""
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, masks)
    prob_map = torch.sigmoid(logits)
    overlap = 2 * (prob_map * masks).sum() + 1
    return cross_entropy + 1 - overlap / (prob_map.sum() + masks.sum() + 1)


def _inference_step(network, images, dtype):
    network.eval().to(dtype)

    def step() -> None:
        with torch.inference_mode():
            torch.sigmoid(_first(network(images.to(dtype))).float()).numpy()

    return step


def _training_step(network, images, masks, batch, reduced):
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    batches = cycle(zip(images.split(batch), masks.split(batch), strict=True))

    def step() -> None:
        some_images, some_masks = next(batches)
        optimiser.zero_grad(set_to_none=True)
        with reduced:
            logits = _first(network(some_images))
        bce_dice(logits.float(), some_masks).backward()
        optimiser.step()

    return step
