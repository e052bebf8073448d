"""ONNX against Keras, and the description beside it."""

import hashlib
import json
import shutil
from pathlib import Path

import cv2
import keras
import numpy as np
import onnxruntime
import pytest
from tiny_scans import finished_training, put_network, tiny_config, write_scans

from metseg.base.errors import MetsegError
from metseg.data.cases import find_cases, load_case
from metseg.data.phantom.draw import draw_phantom
from metseg.data.volume import Volume
from metseg.export.onnx import TOLERANCE, check_agreement, export_onnx, spread_slices
from metseg.export.precision import native_precisions
from metseg.inference.engines import open_engine
from metseg.inference.predictor import Predictor
from metseg.models import build_model
from metseg.models.encoders.efficientnet_lite import load_imagenet
from metseg.models.inspect import gate_names, inference_model
from metseg.preprocessing.pipeline import (
    Preprocessing,
    network_input,
    preprocess,
    restore,
    view_of,
)
from metseg.training.fit import train
from metseg.training.run_folder import RunFolder

PREPROCESSING = Preprocessing(image_size=64)  # of the phantom's 160 px


@pytest.fixture
def model_dir(tmp_path_factory, tmp_path) -> Path:
    """A copy of a finished and exported training, to change."""
    finished = finished_training(tmp_path_factory)
    shutil.copytree(finished.parent.parent / "scans", tmp_path / "scans")
    return Path(shutil.copytree(finished, tmp_path / "runs" / "nested_unet"))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(5).random((3, 32, 32, 3), np.float32)


def onnx_outputs(path: Path, images: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})


def onnx_output(path: Path, images: np.ndarray) -> np.ndarray:
    return onnx_outputs(path, images)[0]


def scatter_weights(model: keras.Model) -> None:
    """Moves every weight, running statistics included, away from where a network starts."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        value = np.asarray(weight) + rng.normal(0, 0.2, weight.shape)
        weight.assign(np.abs(value) if "moving_variance" in weight.path else value)


def exported(model_dir: Path, **options) -> Path:
    """Exports into the folder of the training; returns the path of the network."""
    export_onnx(RunFolder(model_dir), model_dir, **options)
    return model_dir / "model.onnx"


def replace_model(model_dir: Path, model: keras.Model, **changes) -> None:
    """Puts another network in the place of the trained one, with changes to the training's config."""
    put_network(model, model_dir)
    manifest = json.loads((model_dir / "manifest.json").read_text())
    manifest["model"] = model.name
    manifest["config"].update({"model": model.name, "deep_supervision": False, **changes})
    (model_dir / "manifest.json").write_text(json.dumps(manifest))


def test_onnx_is_the_mean_of_the_heads(model_dir, images):
    heads = keras.saving.load_model(model_dir / "model.keras").predict_on_batch(images)
    assert heads.shape[-1] == 2 and np.ptp(heads) > 0.02
    output = onnx_output(model_dir / "model.onnx", images)
    assert output.shape == (3, 32, 32, 1) and output.dtype == np.float32
    np.testing.assert_allclose(output[..., 0], heads.mean(axis=-1), atol=1e-4)
    # One slice at a time is as good as three.
    np.testing.assert_allclose(onnx_output(model_dir / "model.onnx", images[1:2]), output[1:2], atol=1e-5)


def gate_model(model: keras.Model) -> keras.Model:
    return keras.Model(model.input, {name: model.get_layer(name).output for name in gate_names(model)})


@pytest.mark.slow
def test_attention_gates_come_along(model_dir, images):
    """Coarsest first; the Predictor brings them to the grid of a slice."""
    model = build_model("attention_unet", filters=(4, 8, 16))
    scatter_weights(model)
    replace_model(model_dir, model)
    prob, *gates = onnx_outputs(exported(model_dir), images)
    expected = gate_model(model).predict_on_batch(images)
    np.testing.assert_allclose(prob, model.predict_on_batch(images), atol=1e-4)
    assert prob.shape == (3, 32, 32, 1) and np.ptp(prob) > 0.005
    assert [gate.shape for gate in gates] == [(3, 8, 8, 1)]
    for gate, name in zip(gates, gate_names(model), strict=True):
        assert np.ptp(expected[name]) > 0.05
        np.testing.assert_allclose(gate, expected[name], atol=1e-4)

    predictor = Predictor(model_dir)
    image = np.random.default_rng(6).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    small = preprocess(image, Preprocessing(image_size=32, clip_limit=0))
    expected = gate_model(model).predict_on_batch(small[None])
    shown = predictor.gate_maps(Volume.of_slice(image))
    for gate, name in zip(shown, gate_names(model), strict=True):
        once = cv2.resize(expected[name][0, ..., 0], (32, 32), interpolation=cv2.INTER_LINEAR)
        twice = cv2.resize(once, (48, 48), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(gate, twice, atol=1e-4)


@pytest.mark.slow
def test_predictor_equals_keras(model_dir):
    """From raw slices to their own grid."""
    volume = draw_phantom(0, slices=10).image
    small = np.stack([preprocess(image, PREPROCESSING) for image in volume])
    model = build_model("attention_unet", filters=(8, 16), encoder="efficientnet_lite0")
    scatter_weights(model)
    load_imagenet(model)
    replace_model(model_dir, model, **PREPROCESSING.model_dump(), encoder="efficientnet_lite0")
    exported(model_dir)

    prob_map = Predictor(model_dir).prob_map(Volume.of_slices(volume))
    expected = inference_model(model).predict(small, batch_size=10, verbose=0)[..., 0]
    expected = np.stack([restore(each, volume.shape[1:3]) for each in expected])
    assert prob_map.shape == (10, 160, 160) and np.ptp(expected) > 0.02
    assert np.abs(prob_map - expected).max() < 1e-3

    for precision in native_precisions():  # a slice alone is computed by all cores at once
        if precision != "int8":
            engine = open_engine((model_dir / "model.onnx").read_bytes(), precision)
            runs = (engine.run(engine.outputs[:1], small[7], all_cores=each)[0] for each in (True, False))
            np.testing.assert_allclose(*runs, atol=1e-6)


@pytest.mark.slow
def test_predictor_equals_keras_with_all_that_a_volume_shares(tmp_path):
    """From training through export to a volume: tissue's median, the head's box, the slices beside."""
    shared = {"intensity": "tissue", "crop": True, "neighbours": 1, "clip_limit": 2.0}
    scans = write_scans(tmp_path / "scans")
    network = train(tiny_config(scans, epochs=1, **shared), tmp_path / "unet", cache_dir=tmp_path / "cache")
    exported(tmp_path / "unet")
    case = load_case(find_cases(scans)[0])
    config = Preprocessing(image_size=32, **shared)
    small = network_input(case.volume, config)
    view = view_of(case.volume, config)
    expected = network.predict_on_batch(small)[..., 0]
    expected = np.stack([restore(each, case.image.shape[1:3], view) for each in expected])
    predictor = Predictor(tmp_path / "unet")
    np.testing.assert_allclose(predictor.prob_map(case.volume), expected, atol=1e-4)
    assert check_agreement(network, tmp_path / "unet", find_cases(scans), slices=3) < 1e-4
    # A slice alone is its own neighbour; and its own volume.
    alone = Volume.of_slice(case.image[1])
    repeated = network.predict_on_batch(network_input(alone, config))[0, ..., 0]
    expected = restore(repeated, alone.grid[1:], view_of(alone, config))
    np.testing.assert_allclose(predictor.prob_map(alone)[0], expected, atol=1e-4)


def test_slices_are_spread_over_all_of_them(tmp_path):
    cases = find_cases(write_scans(tmp_path / "scans", patients=2))  # of 3 slices each
    found = [places for _, places in spread_slices(cases, 3)]  # of 0 to 5: 0, 2 and 4
    assert found == [[0, 2], [1]]
    assert [places for _, places in spread_slices(cases, 99)] == [[0, 1, 2], [0, 1, 2]]


def test_another_network_than_the_exported_one_is_found_out(model_dir):
    cases, network = find_cases(model_dir.parent.parent / "scans"), RunFolder(model_dir).load_network()
    network = inference_model(network)
    assert 0 < check_agreement(network, model_dir, cases, slices=4) < TOLERANCE / 10
    head = next(layer for layer in network.layers if layer.name.startswith("head_"))
    head.set_weights([weight + 0.1 for weight in head.get_weights()])
    with pytest.raises(MetsegError, match=r"differs from the trained network by \d\.\de-0\d"):
        check_agreement(network, model_dir, cases, slices=4)


def test_description(model_dir):
    description = json.loads((model_dir / "model.json").read_text(encoding="utf-8"))
    manifest = json.loads((model_dir / "manifest.json").read_text())
    assert description["sha256"] == hashlib.sha256((model_dir / "model.onnx").read_bytes()).hexdigest()
    assert description["name"] == "nested_unet"
    assert description["input"] == {"size": 32, "channels": ["pre-contrast", "FLAIR", "post-contrast"]}
    # What a training knows of postprocessing is its threshold; the rest is chosen afterwards.
    assert description["postprocessing"] == {"threshold": 0.5, "min_lesion_px": 0, "fill_holes": False}
    assert description["tta_flip"] is False
    assert description["preprocessing"] == {
        "image_size": 32,
        "clip_limit": 0.0,
        "tile_grid": 8,
        "intensity": "slice",
        "crop": False,
        "neighbours": 0,
    }
    assert description["parameters"] == manifest["parameters"]
    assert description["validation_dice"] == manifest["validation_dice"]
    # TEST_… is neither the phantom nor the LGG set.
    assert description["data"]["name"] == "own scans" and description["data"]["caution"]


# what a .keras file may not do


def refusal(model_dir: Path) -> str:
    """What an export that must fail says; it leaves the earlier one as it was."""
    before = {path: path.read_bytes() for path in model_dir.rglob("*") if path.is_file()}
    with pytest.raises(MetsegError) as refused:
        exported(model_dir)
    assert {path: path.read_bytes() for path in model_dir.rglob("*") if path.is_file()} == before
    assert "model.keras" in str(refused.value)
    return str(refused.value)


def test_code_within_a_model_is_never_run(model_dir, tmp_path):
    marker = tmp_path / "was run"

    def run(x, marker=str(marker)):
        open(marker, "w").close()
        return x

    image = keras.Input((32, 32, 3))
    output = keras.layers.Conv2D(1, 1, activation="sigmoid")(keras.layers.Lambda(run)(image))
    replace_model(model_dir, keras.Model(image, output, name="unet"))
    assert marker.exists()
    marker.unlink()
    assert "carries code, which is never run; train the network again" in refusal(model_dir)
    assert not marker.exists()


def test_a_damaged_or_missing_model(model_dir):
    path = model_dir / "model.keras"
    path.write_bytes(path.read_bytes()[:9999])
    assert "is damaged" in refusal(model_dir)
    path.unlink()
    assert "is missing" in refusal(model_dir)
