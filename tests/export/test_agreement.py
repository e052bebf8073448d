"""The exported network against the trained one."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny_scans import finished_training, put_network

from metseg.base.errors import MetsegError
from metseg.data.volume import Volume
from metseg.export.agreement import TOLERANCE, check_agreement


@pytest.fixture
def model_dir(tmp_path_factory, tmp_path) -> Path:
    return Path(shutil.copytree(finished_training(tmp_path_factory), tmp_path / "nested_unet"))


@pytest.fixture
def images() -> list[Volume]:
    rng = np.random.default_rng(3)
    return [Volume(rng.integers(0, 256, (3, 1, *shape), dtype=np.uint8)) for shape in ((32, 32), (40, 25))]


def test_they_agree(model_dir, images):
    assert 0 < check_agreement(model_dir, images) < TOLERANCE / 10


def test_another_network_does_not(model_dir, images):
    model = keras.saving.load_model(model_dir / "model.keras", compile=False)
    head = next(layer for layer in model.layers if layer.name.startswith("head_"))
    head.set_weights([weight + 0.1 for weight in head.get_weights()])
    put_network(model, model_dir)
    with pytest.raises(MetsegError, match=r"model.onnx differs from the trained network by \d\.\de-0\d"):
        check_agreement(model_dir, images)
