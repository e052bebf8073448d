"""The Predictor: without TensorFlow, on any size, and only on the file that was exported."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny_scans import finished_training

from metseg.errors import MetsegError
from metseg.models.inspect import inference_model
from metseg.predict import Predictor
from metseg.preprocess import Preprocessing, intensity_limits, preprocess


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    return finished_training(tmp_path_factory)


@pytest.fixture(scope="module")
def predictor(exported) -> Predictor:
    return Predictor(exported)


@pytest.fixture
def copy(exported, tmp_path) -> Path:
    """The two files of an exported model, to damage."""
    for name in ("model.onnx", "model.json"):
        shutil.copy(exported / name, tmp_path)
    return tmp_path


def scan(slices: int, height: int, width: int, seed: int = 1) -> np.ndarray:
    """Noise with a bright disk that wanders through the slices."""
    image = np.random.default_rng(seed).integers(30, 80, (slices, height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    for z in range(slices):
        disk = (y - height // 2 - z) ** 2 + (x - width // 3 - z) ** 2 <= (min(height, width) // 6) ** 2
        image[z][disk] += 100 + 10 * z
    return image


def change_description(folder: Path, **changes) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# what it predicts


def test_same_as_keras(exported, predictor):
    image = scan(1, 32, 32)[0]
    model = inference_model(keras.saving.load_model(exported / "model.keras"))
    small = preprocess(image, Preprocessing(image_size=32, clip_limit=0))
    expected = model.predict_on_batch(small[None])[0, ..., 0]
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(predictor.prob_map(image), expected, atol=1e-4)


@pytest.mark.parametrize("size", [(37, 53), (53, 37), (32, 32), (131, 64), (9, 200)])
def test_on_the_grid_of_the_image(predictor, size):
    image = scan(2, *size)
    before = image.copy()
    volume, alone = predictor.prob_map(image), predictor.prob_map(image[0])
    assert volume.shape == (2, *size) and alone.shape == size
    for prob_map in (volume, alone):
        assert prob_map.dtype == np.float32 and prob_map.min() >= 0 and prob_map.max() <= 1
    np.testing.assert_array_equal(image, before)


def test_finds_the_blob_where_it_is(predictor):
    """Larger than the network and not square: a map that is shifted, squeezed or transposed would miss it."""
    image = np.random.default_rng(2).integers(30, 80, (48, 96, 3), dtype=np.uint8)
    image[10:24, 60:76] += 120
    prob_map = predictor.prob_map(image)
    inside = prob_map[12:22, 62:74].mean()
    prob_map[8:26, 58:78] = 0
    assert inside > 0.5 > prob_map.mean() + 0.25


def test_a_slice_alone_is_as_in_its_volume(predictor):
    image = scan(11, 40, 33)  # more than go into one call of the network
    volume = predictor.prob_map(image)
    assert np.ptp(volume) > 0.1
    for z in range(len(image)):
        np.testing.assert_allclose(predictor.prob_map(image[z]), volume[z], atol=1e-6)


def test_intensities_of_the_volume_if_trained_so(copy, exported):
    change_description(copy, preprocessing={"image_size": 32, "clip_limit": 0.0, "intensity": "volume"})
    predictor = Predictor(copy)
    image = scan(3, 32, 32)
    image[2] //= 3
    model = inference_model(keras.saving.load_model(exported / "model.keras"))
    config = Preprocessing(image_size=32, clip_limit=0, intensity="volume")
    small = np.stack([preprocess(each, config, limits=intensity_limits(image)) for each in image])
    volume = predictor.prob_map(image)
    np.testing.assert_allclose(volume, model.predict_on_batch(small)[..., 0], atol=1e-4)
    assert np.abs(predictor.prob_map(image[2]) - volume[2]).max() > 1e-3  # the docstring's exception


def test_mask_reaches_the_threshold(copy):
    image = scan(2, 32, 32)
    prob_map = Predictor(copy).prob_map(image)
    for threshold in (0.3, float(prob_map[0, 5, 5]), 0.99):  # the second: a pixel right at it is lesion
        change_description(copy, threshold=threshold)
        predictor = Predictor(copy)
        mask = predictor.mask(image)
        assert mask.dtype == bool and predictor.threshold == threshold
        np.testing.assert_array_equal(mask, prob_map >= threshold)
    assert predictor.name == "nested_unet"


# what it refuses


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((32, 32, 3), np.float32), "float32.*uint8"),
        (np.zeros((32, 32, 3), np.uint16), "uint16.*uint8"),
        (np.zeros((32, 32), np.uint8), "has 1 channel; expected 3 channels"),
        (np.zeros((32, 32, 1), np.uint8), r"has shape \(32, 32, 1\); expected 3 channels"),
        (np.zeros((32, 32, 4), np.uint8), "4 channels; drop the alpha channel"),
        (np.zeros((2, 32, 32, 3), np.float64), "float64"),
        (np.zeros((2, 32, 32, 1), np.uint8), "expected 3 channels"),
        (np.zeros((2, 32, 32, 4), np.uint8), "4 channels"),
        (np.zeros((1, 2, 32, 32, 3), np.uint8), "expected 3 channels"),
        (np.zeros((0, 32, 32, 3), np.uint8), "no slice"),
    ],
)
def test_other_arrays_are_refused(predictor, image, says):
    with pytest.raises(MetsegError, match=says):
        predictor.prob_map(image)


def test_a_changed_byte_is_found(copy):
    content = bytearray((copy / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "model.onnx").write_bytes(content)
    with pytest.raises(MetsegError, match=r"model\.onnx is not the file that model\.json describes; export"):
        Predictor(copy)


@pytest.mark.parametrize("name", ["model.onnx", "model.json"])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(MetsegError, match=f"{name} is missing"):
        Predictor(copy)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"threshold"', '"treshold"'),
        lambda text: text.replace('"sha256"', '"md5"'),
        lambda text: text.replace('"image_size": 32', '"image_size": "large"'),
        lambda text: text.replace('"clip_limit"', '"clahe"'),
        lambda text: text.replace('"threshold": 0.5', '"threshold": null'),
        lambda text: b"\xff\xfe\x00".decode("latin1") + text,
    ],
)
def test_a_damaged_description_is_named(copy, damage):
    path = copy / "model.json"
    text = path.read_text(encoding="utf-8")
    assert damage(text) != text
    path.write_bytes(damage(text).encode("latin1", "replace"))
    with pytest.raises(MetsegError, match=r"model\.json is damaged .*; export the model again"):
        Predictor(copy)


# what it needs


def test_serving_imports_no_framework(exported, tmp_path):
    """The whole way from a folder of scans to tables, in a process of its own."""
    script = """
        import sys
        import numpy as np
        from metseg.data.cases import find_cases
        from metseg.evaluate import evaluate, unseen_cases
        from metseg.predict import Predictor
        from metseg.runs import find_model, model_folders, read_tables

        model_dir, scans, evaluation = sys.argv[1:]
        found = find_model(model_dir, "nowhere")
        assert Predictor(found).prob_map(np.zeros((37, 53, 3), np.uint8)).shape == (37, 53)
        evaluate(found, unseen_cases(find_cases(scans), found), evaluation)
        frameworks = {"tensorflow", "keras", "keras_unet_collection", "jax", "torch"} & set(sys.modules)
        assert not frameworks, frameworks
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), exported, exported.parent.parent / "scans", tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "evaluation.json").exists()
