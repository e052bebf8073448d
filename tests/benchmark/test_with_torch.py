"""MONAI's side. It is an optional extra: without it, this file is skipped, and only this one."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the optional extra 'benchmark' is not installed")
pytest.importorskip("monai", reason="the optional extra 'benchmark' is not installed")

from metseg.benchmark.plan import Measurement  # noqa: E402
from metseg.benchmark.with_torch import bce_dice, build_monai, convolution_flop, prepare  # noqa: E402

NETWORKS = ("attention_unet", "nested_unet")


def test_convolutions_by_hand():
    # as in test_contestant.py, on 8×8 px; the bias is left out
    first = torch.nn.Conv2d(3, 2, 3, padding=1)
    network = torch.nn.Sequential(first, torch.nn.MaxPool2d(2), torch.nn.ConvTranspose2d(2, 4, 2, stride=2))
    assert convolution_flop(network, torch.zeros(1, 3, 8, 8)) == 6912 + 1024


@pytest.mark.parametrize("network", NETWORKS)
def test_the_widths_are_those_that_were_asked_for(network):
    filters = (4, 8, 16, 32, 64)
    model = build_monai(network, filters)
    widths = {m.out_channels for m in model.modules() if isinstance(m, torch.nn.Conv2d)}
    assert set(filters) <= widths and max(widths) == 64


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("task", ["training", "inference"])
@pytest.mark.parametrize(("precision", "layout"), [("float32", ""), ("bfloat16", "channels_last")])
def test_steps(tmp_path, network, task, precision, layout):
    filters = (4, 8, 16, 32, 64)
    measurement = Measurement(
        "monai", task, network, 32, 2, precision=precision, layout=layout, filters=filters
    )
    contestant = prepare(measurement, tmp_path)
    assert contestant.precision == precision and contestant.flop > 0
    assert len(contestant.run(0.0)) == 1


def test_the_loss_is_metsegs():
    from metseg.training.losses import bce_dice as of_metseg

    rng = np.random.default_rng(0)
    logits, masks = rng.normal(size=(2, 1, 4, 4)), rng.random((2, 1, 4, 4)) < 0.3
    ours = bce_dice(torch.from_numpy(logits), torch.from_numpy(masks.astype(float)))
    theirs = (each.transpose(0, 2, 3, 1) for each in (masks, logits))
    assert float(ours) == pytest.approx(float(of_metseg(*theirs)), abs=1e-5)
