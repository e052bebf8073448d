"""A network of volumes from its training to what it serves: the same numbers, seen through windows."""

from pathlib import Path

import numpy as np
import pytest
from tiny_scans import tiny_config, write_scans

from metseg.base.errors import MetsegError
from metseg.base.files import read_json
from metseg.data.cases import find_cases, read_scan_of
from metseg.data.volume import Volume
from metseg.export.precision import export, native_precisions
from metseg.inference.engines import OpenVinoEngine
from metseg.inference.predictor import Predictor
from metseg.inference.sliding_window import sliding_window
from metseg.models.inspect import inference_model
from metseg.preprocessing.pipeline import network_input
from metseg.training.fit import train
from metseg.training.run_folder import RunFolder

PATCH = (4, 8, 8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("volumes")
    scans = write_scans(home / "scans", slices=6, patients=4)
    kind = {"rank": 3, "patch_size": PATCH, "flat_poolings": 1, "filters": (4, 6, 8), "epoch_patches": 4}
    division = {"test_fraction": 0, "validation_fraction": 0.25}
    config = tiny_config(scans, model="attention_unet", epochs=1, **kind, **division)
    train(config, home / "run", cache_dir=home / "cache")
    export(home / "run", find_cases(scans))
    return home


@pytest.fixture
def scan(trained) -> Volume:
    return read_scan_of(find_cases(trained / "scans")[0])


def test_what_it_serves_is_the_trained_network_by_windows(trained, scan):
    predictor = Predictor(trained / "run")
    assert predictor.patch_size == PATCH and (predictor.library, predictor.precision) == ("OpenVINO", "fp32")
    assert read_json(trained / "run" / "model.json")["rank"] == 3
    network = inference_model(RunFolder(trained / "run").load_network())
    expected = sliding_window(
        network_input(scan, predictor.preprocessing),
        PATCH,
        lambda window: np.asarray(network(window[None]))[0],
    )
    got = predictor.prob_map(scan, tta_flip=False)  # the scan is on the network's own grid
    assert got.shape == scan.grid and got.dtype == np.float32
    np.testing.assert_allclose(got, expected[..., 0], atol=1e-4)
    np.testing.assert_array_equal(got, Predictor(trained / "run", threads=1).prob_map(scan, tta_flip=False))


def test_mirrored_too(trained, scan):
    predictor = Predictor(trained / "run")
    mirrored = Volume.of_slices(scan.channels_last[:, :, ::-1])
    there, back = (predictor.prob_map(each, tta_flip=True) for each in (scan, mirrored))
    np.testing.assert_allclose(there, back[:, :, ::-1], atol=1e-5)
    assert predictor.mask(scan).shape == scan.grid


def test_gates_can_be_read(trained, scan):
    (gate,) = Predictor(trained / "run").gate_maps(scan, 2)
    assert gate.shape == scan.grid[1:] and 0 <= gate.min() < gate.max() <= 1


def test_a_slice_alone_is_refused(trained, scan):
    alone = Volume.of_slice(scan.channels_last[0])
    for ask in (Predictor(trained / "run").prob_map, Predictor(trained / "run").gate_maps):
        with pytest.raises(MetsegError, match="attention_unet.*slice alone"):
            ask(alone)


def test_bfloat16_is_the_same_down_to_the_narrowest_level(trained):
    """Where the patch is two voxels wide, and a convolution with a stride may be at fault."""
    content = (trained / "run" / "model.onnx").read_bytes()
    image = np.random.default_rng(0).random((*PATCH, 3), np.float32)
    whole, half = (OpenVinoEngine(content, precision) for precision in ("fp32", "bf16"))
    for one, other in zip(*(each.run(each.outputs, image) for each in (whole, half)), strict=True):
        np.testing.assert_allclose(one, other, atol=0.02)


def test_int8_is_refused(trained):
    if "int8" in native_precisions():
        with pytest.raises(MetsegError, match="int8"):
            export(trained / "run", find_cases(trained / "scans"), precision="int8")
