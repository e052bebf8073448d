"""ONNX against Keras, and the description beside it."""

import hashlib
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
from tiny_scans import finished_training

from metseg.export import export_onnx
from metseg.models import build_model


@pytest.fixture
def model_dir(tmp_path_factory, tmp_path) -> Path:
    """A copy of a finished and exported training, to change."""
    return Path(shutil.copytree(finished_training(tmp_path_factory), tmp_path / "nested_unet"))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(5).random((3, 32, 32, 3), np.float32)


def onnx_output(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def test_onnx_is_the_mean_of_the_heads(model_dir, images):
    heads = keras.saving.load_model(model_dir / "model.keras").predict_on_batch(images)
    assert heads.shape[-1] == 2 and np.ptp(heads) > 0.02
    output = onnx_output(model_dir / "model.onnx", images)
    assert output.shape == (3, 32, 32, 1) and output.dtype == np.float32
    np.testing.assert_allclose(output[..., 0], heads.mean(axis=-1), atol=1e-4)
    # One slice at a time is as good as three.
    np.testing.assert_allclose(onnx_output(model_dir / "model.onnx", images[1:2]), output[1:2], atol=1e-5)


@pytest.mark.slow
def test_export_of_one_head(model_dir, images):
    heads = keras.saving.load_model(model_dir / "model.keras").predict_on_batch(images)
    before = json.loads((model_dir / "model.json").read_text())
    assert export_onnx(model_dir, prune=1) == model_dir / "model.onnx"
    output = onnx_output(model_dir / "model.onnx", images)
    np.testing.assert_allclose(output[..., 0], heads[..., 0], atol=1e-4)
    after = json.loads((model_dir / "model.json").read_text())
    assert after["parameters"] < before["parameters"] and after["sha256"] != before["sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attention_unet", "unet"])
def test_onnx_equals_keras(name, model_dir, images):
    """With weights of every layer, running statistics included, unlike those a network starts with."""
    model, rng = build_model(name, filters=(4, 8, 16)), np.random.default_rng(0)
    for weight in model.weights:
        value = np.asarray(weight) + rng.normal(0, 0.2, weight.shape)
        weight.assign(np.abs(value) if "moving_variance" in weight.path else value)
    model.save(model_dir / "model.keras")
    manifest = json.loads((model_dir / "manifest.json").read_text())
    manifest["config"].update(model=name, deep_supervision=False)
    (model_dir / "manifest.json").write_text(json.dumps(manifest))
    expected = model.predict_on_batch(images)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(onnx_output(export_onnx(model_dir), images), expected, atol=1e-4)
    assert json.loads((model_dir / "model.json").read_text())["name"] == name


def test_description(model_dir):
    description = json.loads((model_dir / "model.json").read_text(encoding="utf-8"))
    manifest = json.loads((model_dir / "manifest.json").read_text())
    assert description["sha256"] == hashlib.sha256((model_dir / "model.onnx").read_bytes()).hexdigest()
    assert description["name"] == "nested_unet" and description["threshold"] == 0.5
    assert description["preprocessing"] == {
        "image_size": 32,
        "clip_limit": 0.0,
        "tile_grid": 8,
        "intensity": "slice",
    }
    assert description["parameters"] == manifest["parameters"]
    assert description["validation_dice"] == manifest["validation_dice"]
    # TEST_… is neither the phantom nor the LGG set.
    assert description["data"]["name"] == "own scans" and description["data"]["caution"]


def test_a_head_that_is_not_there_leaves_the_export_as_it_was(model_dir):
    before = {path.name: path.read_bytes() for path in model_dir.iterdir()}
    with pytest.raises(ValueError, match="prune=7"):
        export_onnx(model_dir, prune=7)
    assert {path.name: path.read_bytes() for path in model_dir.iterdir()} == before
