"""The Predictor: without TensorFlow, on any size, and only on the file that was exported."""

import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny_runs import POINTED, add_int8, change_description, pointed_without, write_bright_model
from tiny_scans import finished_training

from metseg.base.errors import MetsegError
from metseg.data.volume import Volume
from metseg.inference.predictor import Predictor
from metseg.masks.postprocess import Postprocessing
from metseg.models.inspect import inference_model
from metseg.preprocessing.pipeline import Preprocessing, network_input, preprocess


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
    """Noise with a bright disk that wanders through the slices; (Z, H, W, 3)."""
    image = np.random.default_rng(seed).integers(30, 80, (slices, height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    for z in range(slices):
        disk = (y - height // 2 - z) ** 2 + (x - width // 3 - z) ** 2 <= (min(height, width) // 6) ** 2
        image[z][disk] += 100 + 10 * z
    return image


def of(images: np.ndarray) -> Volume:
    return Volume.of_slices(images)


def one(image: np.ndarray) -> Volume:
    return Volume.of_slice(image)


# what it predicts


def test_same_as_keras(exported, predictor):
    image = scan(1, 32, 32)[0]
    model = inference_model(keras.saving.load_model(exported / "model.keras"))
    small = preprocess(image, Preprocessing(image_size=32, clip_limit=0))
    expected = model.predict_on_batch(small[None])[0, ..., 0]
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(predictor.prob_map(one(image))[0], expected, atol=1e-4)


@pytest.mark.parametrize("size", [(37, 53), (131, 64), (9, 200)])
def test_on_the_grid_of_the_image(predictor, size):
    image = scan(2, *size)
    before = image.copy()
    volume, alone = predictor.prob_map(of(image)), predictor.prob_map(one(image[0]))
    assert volume.shape == (2, *size) and alone.shape == (1, *size)
    for prob_map in (volume, alone):
        assert prob_map.dtype == np.float32 and prob_map.min() >= 0 and prob_map.max() <= 1
    np.testing.assert_array_equal(image, before)


def test_finds_the_blob_where_it_is(predictor):
    """Larger than the network and not square: a map that is shifted, squeezed or transposed would miss it."""
    image = np.random.default_rng(2).integers(30, 80, (48, 96, 3), dtype=np.uint8)
    image[10:24, 60:76] += 120
    (prob_map,) = predictor.prob_map(one(image))
    inside = prob_map[12:22, 62:74].mean()
    prob_map[8:26, 58:78] = 0
    assert inside > 0.5 > prob_map.mean() + 0.25


def test_a_slice_alone_is_as_in_its_volume(predictor):
    image = scan(11, 40, 33)  # more than go into one call of the network
    volume = predictor.prob_map(of(image))
    assert np.ptp(volume) > 0.1
    for z in range(len(image)):
        np.testing.assert_allclose(predictor.prob_map(one(image[z]))[0], volume[z], atol=1e-6)


def test_intensities_of_the_volume_if_trained_so(copy, exported):
    change_description(copy, preprocessing={"image_size": 32, "clip_limit": 0.0, "intensity": "volume"})
    predictor = Predictor(copy)
    image = scan(3, 32, 32)
    image[2] //= 3
    model = inference_model(keras.saving.load_model(exported / "model.keras"))
    config = Preprocessing(image_size=32, clip_limit=0, intensity="volume")
    small = network_input(of(image), config)
    volume = predictor.prob_map(of(image))
    np.testing.assert_allclose(volume, model.predict_on_batch(small)[..., 0], atol=1e-4)
    assert np.abs(predictor.prob_map(one(image[2]))[0] - volume[2]).max() > 1e-3  # the docstring's exception


def test_mask_reaches_the_threshold(copy):
    image = scan(2, 32, 32)
    prob_map = Predictor(copy).prob_map(of(image))
    for threshold in (0.3, float(prob_map[0, 5, 5]), 0.99):  # the second: a pixel right at it is lesion
        change_description(copy, postprocessing={"threshold": threshold})
        predictor = Predictor(copy)
        mask = predictor.mask(of(image))
        assert mask.dtype == bool and predictor.postprocessing.threshold == threshold
        np.testing.assert_array_equal(mask, prob_map >= threshold)
    assert predictor.name == "nested_unet"


def test_mask_follows_the_models_own_postprocessing(tmp_path):
    """A ring of 12 px around 4 dark ones, and a dot, on the network's own grid."""
    image = np.zeros((32, 32, 3), np.uint8)
    image[10:14, 10:14] = 255
    image[11:13, 11:13] = 0
    image[20, 25] = 255
    areas = {}
    for fill_holes, min_lesion_px in ((False, 0), (False, 2), (True, 0), (True, 2), (True, 17)):
        settings = {"threshold": 0.5, "min_lesion_px": min_lesion_px, "fill_holes": fill_holes}
        predictor = Predictor(write_bright_model(tmp_path, postprocessing=settings))
        assert predictor.postprocessing == Postprocessing(**settings)
        areas[fill_holes, min_lesion_px] = int(predictor.mask(one(image)).sum())
    assert areas == {(False, 0): 13, (False, 2): 12, (True, 0): 17, (True, 2): 16, (True, 17): 0}


def test_tta_flip_is_the_mean_with_the_mirror_image(predictor):
    image = scan(9, 32, 32)
    plain, averaged = predictor.prob_map(of(image)), predictor.prob_map(of(image), tta_flip=True)
    mirrored = predictor.prob_map(of(image[:, :, ::-1]))[:, :, ::-1]
    assert np.abs(plain - mirrored).max() > 0.01
    assert averaged.dtype == np.float32
    np.testing.assert_allclose(averaged, (plain + mirrored) / 2, atol=1e-6)
    np.testing.assert_allclose(predictor.prob_map(one(image[4]), tta_flip=True)[0], averaged[4], atol=1e-6)


def test_tta_flip_of_what_is_its_own_mirror_image(predictor, tmp_path):
    image = scan(1, 40, 40)[0]
    image = np.concatenate([image[:, :20], image[:, 19::-1]], axis=1)
    (averaged,) = predictor.prob_map(one(image), tta_flip=True)
    assert np.ptp(averaged) > 0.1
    np.testing.assert_allclose(averaged, averaged[:, ::-1], atol=1e-5)
    bright = Predictor(write_bright_model(tmp_path))
    image[:, 15:25] = 255
    volume = one(image)
    assert bright.mask(volume).any()
    np.testing.assert_allclose(bright.prob_map(volume, tta_flip=True), bright.prob_map(volume), atol=1e-6)


def test_tta_flip_is_the_models_own_choice(copy, predictor):
    image = scan(2, 32, 32)
    assert predictor.tta_flip is False
    plain, averaged = (predictor.prob_map(of(image), tta_flip=flip) for flip in (False, True))
    np.testing.assert_array_equal(predictor.prob_map(of(image)), plain)
    change_description(copy, tta_flip=True)
    flipping = Predictor(copy)
    assert flipping.tta_flip is True
    np.testing.assert_allclose(flipping.prob_map(of(image)), averaged, atol=1e-6)
    np.testing.assert_allclose(flipping.prob_map(one(image[0]))[0], averaged[0], atol=1e-6)
    np.testing.assert_allclose(flipping.prob_map(of(image), tta_flip=False), plain, atol=1e-6)
    np.testing.assert_array_equal(flipping.mask(of(image)), flipping.prob_map(of(image)) >= 0.5)


class CountingEngine:
    """Stands in for an engine, and notes how many of its runs overlap and which shall take all cores."""

    def __init__(self, seconds: float = 0.01):
        self.now, self.most, self._lock = 0, 0, threading.Lock()
        self.all_cores, self._seconds = [], seconds
        self.begun = threading.Event()

    def run(self, outputs, image, *, all_cores=False):
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.all_cores.append(all_cores)
        self.begun.set()
        time.sleep(self._seconds)
        with self._lock:
            self.now -= 1
        return [image[..., :1]]


# what it takes masks by


def test_scans_without_a_sequence_have_settings_of_their_own(tmp_path):
    complete = Predictor(write_bright_model(tmp_path, **pointed_without("t1+flair", 0.3, 2.0)))
    alone = complete.doing_without(("flair", "t1"))
    assert complete.postprocessing == Postprocessing(**POINTED["postprocessing"])
    assert alone.postprocessing == complete.postprocessing.model_copy(update={"lesion_threshold": 0.3})
    assert [each.lesion_threshold for each in alone.operating_points.points] == [0.3]
    assert alone.lesion_calibration is None is not complete.lesion_calibration
    unmeasured = alone.doing_without(("flair",))
    assert unmeasured.postprocessing == complete.postprocessing and unmeasured.operating_points is None
    assert alone.doing_without(()).operating_points == complete.operating_points


def test_so_many_false_positives_of_scans_of_any_kind(tmp_path):
    complete = Predictor(write_bright_model(tmp_path, **pointed_without("flair", 0.3, 2.0)))
    assert complete.within(4).postprocessing.lesion_threshold == 0.5
    assert complete.within(4).doing_without(("flair",)).postprocessing.lesion_threshold == 0.3
    strict = complete.within(1)
    assert (strict.postprocessing.lesion_threshold, complete.postprocessing.lesion_threshold) == (0.9, 0.9)
    for wanted in (
        lambda: strict.doing_without(("flair",)),
        lambda: complete.doing_without(("flair",)).within(1),
    ):
        with pytest.raises(MetsegError, match="unet without flair has no operating point .* were 2"):
            wanted()


@pytest.mark.parametrize("key", ["", "t2", "flair+t1", "T1"])
def test_settings_for_what_cannot_be_missing_are_refused(tmp_path, key):
    write_bright_model(tmp_path, **pointed_without(key, 0.3, 2.0))
    with pytest.raises(MetsegError, match="model.json"):
        Predictor(tmp_path)


def test_threads(exported, predictor, monkeypatch):
    image = scan(9, 40, 33)
    one = Predictor(exported, threads=1)
    np.testing.assert_array_equal(one.prob_map(of(image)), predictor.prob_map(of(image)))
    for threads in (1, 3):
        several, engine = Predictor(exported, threads=threads), CountingEngine()
        monkeypatch.setattr(several.network, "engine", engine)
        several.prob_map(of(image))
        assert 1 <= engine.most <= threads


def test_a_slice_alone_takes_all_cores(exported, monkeypatch):
    def asked_for(image, *, threads=3):
        several, engine = Predictor(exported, threads=threads), CountingEngine()
        monkeypatch.setattr(several.network, "engine", engine)
        several.prob_map(of(image))
        return engine.all_cores

    image = scan(3, 40, 33)
    assert asked_for(image[:1]) == [True]
    assert asked_for(image[:1], threads=1) == [False]
    assert asked_for(image) == [False] * 3


def test_a_slice_in_company_takes_one_core(exported, monkeypatch):
    several, engine = Predictor(exported, threads=3), CountingEngine(seconds=0.3)
    monkeypatch.setattr(several.network, "engine", engine)
    first = threading.Thread(target=several.prob_map, args=(of(scan(1, 40, 33)),))
    first.start()
    assert engine.begun.wait(10)
    several.prob_map(of(scan(1, 40, 33)))  # while the first is at work
    first.join()
    several.prob_map(of(scan(1, 40, 33)))
    assert engine.all_cores == [True, False, True]


def test_precision_is_what_it_is_computed_in(copy, predictor, monkeypatch):
    image = scan(2, 32, 32)
    assert (predictor.precision, predictor.library) == ("fp32", "ONNX Runtime")
    change_description(copy, precision="bf16")
    monkeypatch.setattr("metseg.inference.engines.multiplies", lambda number_format: False)
    elsewhere = Predictor(copy)
    assert (elsewhere.precision, elsewhere.library) == ("fp32", "ONNX Runtime")
    np.testing.assert_array_equal(elsewhere.prob_map(of(image)), predictor.prob_map(of(image)))
    monkeypatch.setattr("metseg.inference.engines.multiplies", lambda number_format: True)
    native = Predictor(copy)
    assert (native.precision, native.library) == ("bf16", "OpenVINO")
    np.testing.assert_allclose(native.prob_map(of(image)), predictor.prob_map(of(image)), atol=0.03)
    np.testing.assert_array_equal(native.prob_map(one(image[1]))[0], native.prob_map(of(image))[1])


def test_int8_has_a_file_of_its_own_and_float32_takes_its_place(copy, predictor, monkeypatch):
    add_int8(copy)
    image = np.full((32, 32, 3), 255, np.uint8)
    monkeypatch.setattr("metseg.inference.engines.multiplies", lambda number_format: True)
    native = Predictor(copy)
    assert (native.precision, native.onnx.name) == ("int8", "model.int8.onnx")
    assert native.sha256 == native.description["quantised"]["sha256"] and not native.mask(one(image)).any()
    monkeypatch.setattr("metseg.inference.engines.multiplies", lambda number_format: number_format == "bf16")
    elsewhere = Predictor(copy)
    assert (elsewhere.precision, elsewhere.onnx.name) == ("fp32", "model.onnx")
    assert elsewhere.sha256 == predictor.sha256
    np.testing.assert_array_equal(elsewhere.prob_map(one(image)), predictor.prob_map(one(image)))


# what the gates let pass


def test_gates_by_hand(tmp_path):
    """Blocks of 16 px, then of 4: white on the left is 1, black on the right 0, and linear in between."""
    predictor = Predictor(write_bright_model(tmp_path, name="attention_unet", gates=(16, 4)))
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, :16] = 255
    coarse, fine = predictor.gate_maps(one(image))
    ramp = np.interp(np.arange(32) + 0.5, [8, 24], [1, 0])  # between the centres of the blocks
    np.testing.assert_allclose(coarse, np.tile(ramp, (32, 1)), atol=1e-6)
    ramp = np.interp(np.arange(32) + 0.5, [14, 18], [1, 0])
    np.testing.assert_allclose(fine, np.tile(ramp, (32, 1)), atol=1e-6)
    # the further outputs change nothing about the first
    plain = Predictor(write_bright_model(tmp_path / "plain"))
    np.testing.assert_array_equal(predictor.prob_map(one(image)), plain.prob_map(one(image)))
    np.testing.assert_array_equal(predictor.mask(one(image))[0], image[..., 0] > 0)


def test_gates_lie_where_the_slice_lies(tmp_path):
    """24 rows lie at 4 to 28 of the network's 32, so that the second block of 8 px holds rows 4 to 12."""
    predictor = Predictor(write_bright_model(tmp_path, gates=(8,)))
    image = np.zeros((24, 32, 3), np.uint8)
    image[4:12] = 255
    (gate,) = predictor.gate_maps(one(image))
    ramp = np.interp(np.arange(24) + 0.5, [0, 8, 16], [0, 1, 0])
    np.testing.assert_allclose(gate, np.tile(ramp[:, None], (1, 32)), atol=1e-6)


@pytest.mark.parametrize("size", [(37, 53), (200, 9)])
def test_gates_are_on_the_grid_of_the_image(tmp_path, size):
    predictor = Predictor(write_bright_model(tmp_path, gates=(16, 8, 4)))
    gates = predictor.gate_maps(of(scan(1, *size)))
    assert [(gate.shape, gate.dtype) for gate in gates] == [(size, np.float32)] * 3
    assert all(gate.min() >= 0 and gate.max() <= 1 for gate in gates)


def test_gates_of_a_slice_within_its_volume(tmp_path):
    shared = {"preprocessing": {"image_size": 32, "clip_limit": 0.0, "tile_grid": 8, "intensity": "volume"}}
    predictor, volume = Predictor(write_bright_model(tmp_path, gates=(8,), **shared)), scan(3, 32, 32)
    volume[2] //= 4  # dark beside the others, not by itself
    (alone,), (within,) = predictor.gate_maps(one(volume[2])), predictor.gate_maps(of(volume), 2)
    assert within.shape == (32, 32) and within.mean() < alone.mean() - 0.1


def test_a_network_without_gates_shows_none(predictor):
    assert predictor.gate_maps(of(scan(1, 32, 32))) == []


# what it refuses


@pytest.mark.parametrize(
    ("volume", "says"),
    [
        (Volume(np.zeros((3, 2, 8, 8), np.float32)), "float32.*uint8"),
        (Volume(np.zeros((3, 1, 8, 8), np.uint16)), "uint16.*uint8"),
        (Volume(np.zeros((1, 1, 8, 8), np.uint8), ("flair",)), "flair.*expected 3 channels"),
        (Volume(np.zeros((3, 2, 8, 8), np.uint8), ("flair", "t1", "t1c")), "flair, t1, t1c.*expected 3"),
        (Volume(np.zeros((4, 1, 8, 8), np.uint8), ("t1", "flair", "t1c", "alpha")), "4 channels"),
    ],
)
def test_other_volumes_are_refused(predictor, tmp_path, volume, says):
    with pytest.raises(MetsegError, match=says):
        predictor.prob_map(volume)
    with pytest.raises(MetsegError, match=says):
        Predictor(write_bright_model(tmp_path, gates=(8,))).gate_maps(volume)


# what it needs


def test_serving_imports_no_framework(exported, tmp_path):
    """The whole way from a folder of scans to tables, in a process of its own."""
    script = """
        import sys
        import numpy as np
        from metseg.data.cases import find_cases
        from metseg.data.volume import Volume
        from metseg.evaluation.evaluate import evaluate, unseen_cases
        from metseg.evaluation.origin import network_line
        from metseg.inference.predictor import Predictor
        from metseg.release.released import released_models
        from metseg.training.find import find_model, model_folders
        from metseg.training.run_folder import RunFolder

        model_dir, scans, evaluation = sys.argv[1:]
        found = find_model(model_dir, "nowhere", "nowhere")
        assert Predictor(found).prob_map(Volume(np.zeros((3, 1, 37, 53), np.uint8))).shape == (1, 37, 53)
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
