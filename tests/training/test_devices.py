"""Two logical CPU devices against one, in a process of their own: TensorFlow divides a CPU at its start."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from tiny_scans import tiny_config, write_scans

from metseg.base.backend import keras
from metseg.base.errors import MetsegError
from metseg.training.devices import data_parallel, shared_out
from metseg.training.losses import bce

TRAIN = """
import sys
from pathlib import Path
import keras
import numpy as np
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from metseg.training.config import TrainConfig
from metseg.training.devices import data_parallel, shared_out
from metseg.training.losses import bce
from metseg.training.fit import train

rng = np.random.default_rng(0)
images = rng.random((8, 16, 16, 3), dtype=np.float32)
masks = (images[..., :1] > 0.5).astype(np.float32)
for devices in (1, 2):
    keras.utils.set_random_seed(0)
    with data_parallel(devices):  # no batch normalisation: two devices must learn as one
        head = keras.layers.Conv2D(1, 3, padding="same")
        model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3, padding="same"), head])
        model.compile(keras.optimizers.SGD(0.1), shared_out(bce))
    print(*model.fit(images, masks, batch_size=4, epochs=20, shuffle=False, verbose=0).history["loss"])
model_dir = Path(sys.argv[1])
train(TrainConfig.model_validate_json(sys.argv[2]), model_dir, cache_dir=model_dir.parent / "cache")
"""


def test_one_device_changes_nothing():
    with data_parallel(1) as scope:
        assert scope is None


def test_more_devices_than_there_are():
    with pytest.raises(MetsegError, match="devices=99, but TensorFlow sees 1; lower it"):
        data_parallel(99)


def test_a_loss_that_can_be_averaged():
    mask_ref, logits = keras.ops.ones((2, 4, 4, 1)), keras.ops.full((2, 4, 4, 1), 0.5)
    shared = shared_out(bce)(mask_ref, logits)
    assert tuple(shared.shape) == (1,)
    assert float(shared[0]) == float(bce(mask_ref, logits))


@pytest.mark.slow
def test_two_devices_learn_as_one(tmp_path):
    config = tiny_config(write_scans(tmp_path / "scans"), devices=2, epochs=3, ema_momentum=0.5)
    command = [sys.executable, "-c", TRAIN, str(tmp_path / "model"), config.model_dump_json()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (np.array(line.split(), float) for line in done.stdout.splitlines()[:2])
    assert one[-1] < 0.95 * one[0]
    np.testing.assert_allclose(two, one, rtol=1e-4)
    history = pd.read_csv(tmp_path / "model" / "history.csv")
    assert len(history) == config.learning.epochs and history.val_dice.between(0, 1).all()
    assert history.loss.iloc[-1] < history.loss[0]
