"""Each released model, from files to a mask, against figures that were written down when it was released.

The head is drawn here, so that neither scans nor a change of metseg's own phantom are in it. The figures hold
in float32 on any CPU. Where they no longer do, reading, preprocessing, the network or postprocessing gives
something else than before: a released model then serves something that nobody has scored.

Figures of a newly released model: python tests/golden/test_released_models.py, which writes them down.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from metseg.base.paths import released_dir
from metseg.data.readers.images import read_image
from metseg.data.volume import Volume
from metseg.inference.predictor import Predictor
from metseg.preprocessing.pipeline import network_input

WRITTEN_DOWN = Path(__file__).with_name("released_models.json")
GOLDEN = json.loads(WRITTEN_DOWN.read_text())
GREYS = (88, 130, 40, 74, 60), (92, 110, 30, 190, 170), (90, 150, 40, 92, 140)
# Rows and columns of the network's input, of 256.
PLACES = [(60, 90), (90, 180), (128, 128), (170, 70), (200, 128)]


def draw_head() -> tuple[np.ndarray, np.ndarray]:
    """Returns five slices, (5, 200, 180, 3) uint8, and where their one lesion is, bool."""
    z, y, x = np.mgrid[:5, :200, :180]

    def ellipsoid(row: float, column: float, height: float, width: float, depth: float) -> np.ndarray:
        return ((y - row) / height) ** 2 + ((x - column) / width) ** 2 + ((z - 2) / depth) ** 2

    head, brain = ellipsoid(100, 90, 84, 68, 5), ellipsoid(100, 90, 74, 58, 4.5)
    ventricles = ((y - 96) / 26) ** 2 + ((np.abs(x - 90) - 10) / 6) ** 2
    lesion, core = ellipsoid(70, 118, 17, 15, 2.2) < 1, ellipsoid(70, 118, 9, 8, 2.2) < 1
    folds = 14 * np.sin(x / 5 + z) * np.cos(y / 6)
    channels = []
    for tissue, skull, fluid, oedema, middle in GREYS:
        image = np.where(head < 1, skull / 2, 3.0)
        image = np.where((head > 0.93) & (head < 1), skull, image)
        image = np.where(brain < 1, tissue + folds, image)
        image = np.where((brain < 1) & (ventricles < 1), fluid, image)
        image = np.where(lesion, oedema, image)
        channels.append(np.where(core, middle, image))
    noise = (x * 7919 + y * 104729 + z * 1299709) * 2654435761 % 2**32 / 2**32 * 12 - 6
    return np.clip(np.rint(np.stack(channels, axis=-1) + noise[..., None]), 0, 255).astype(np.uint8), lesion


@pytest.fixture(scope="module")
def read(tmp_path_factory) -> Volume:
    """The head, written to files and read again."""
    folder, slices = tmp_path_factory.mktemp("head"), []
    for z, image in enumerate(draw_head()[0]):
        tifffile.imwrite(folder / f"HEAD_{z}.tif", image, photometric="rgb", compression="zlib")
        slices.append(read_image(folder / f"HEAD_{z}.tif"))
    return Volume.stacked(slices)


def measured(name: str, volume: Volume) -> dict:
    """What is written down of a model; the middle slice stands for its network input."""
    predictor = Predictor(released_dir() / name)
    assert predictor.precision == "fp32"
    small = network_input(volume, predictor.preprocessing)[2]
    prob_map, mask, side = predictor.prob_map(volume), predictor.mask(volume), len(small)
    return {
        "network_sha256": predictor.sha256,
        "input_mean": small.mean(axis=(0, 1)).tolist(),
        "input_std": small.std(axis=(0, 1)).tolist(),
        "input_places": [small[row * side // 256, column * side // 256].tolist() for row, column in PLACES],
        "probability_mean": prob_map.mean(axis=(1, 2)).tolist(),
        "mask_px": mask.sum(axis=(1, 2)).tolist(),
        "mask_centre": np.argwhere(mask).mean(axis=0).tolist() if mask.any() else [],
    }


def test_every_released_model_is_written_down():
    assert sorted(GOLDEN) == sorted(path.parent.name for path in released_dir().glob("*/model.json"))


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_from_files_to_the_mask(name, read, monkeypatch):
    monkeypatch.setattr(
        "metseg.inference.engines.multiplies", lambda number_format: False
    )  # the same on every CPU
    found, golden = measured(name, read), GOLDEN[name]
    assert found["network_sha256"] == golden["network_sha256"]
    np.testing.assert_allclose(found["input_mean"], golden["input_mean"], atol=2e-4)
    np.testing.assert_allclose(found["input_std"], golden["input_std"], atol=2e-4)
    np.testing.assert_allclose(found["input_places"], golden["input_places"], atol=1.5 / 255)
    np.testing.assert_allclose(found["probability_mean"], golden["probability_mean"], atol=1e-4)
    np.testing.assert_allclose(found["mask_px"], golden["mask_px"], atol=3)
    np.testing.assert_allclose(found["mask_centre"], golden["mask_centre"], atol=0.02)


@pytest.mark.parametrize("name", sorted(name for name in GOLDEN if name.startswith("lgg-")))
def test_what_is_written_down_is_the_lesion(name):
    """It is drawn as the abnormality of a glioma in FLAIR; of others no more is asked than what they gave."""
    lesion = draw_head()[1]
    golden = GOLDEN[name]
    np.testing.assert_allclose(golden["mask_px"], lesion.sum(axis=(1, 2)), atol=20)
    np.testing.assert_allclose(golden["mask_centre"], np.argwhere(lesion).mean(axis=0), atol=0.2)


def _rounded(found):
    if isinstance(found, list):
        return [_rounded(each) for each in found]
    return round(found, 6) if isinstance(found, float) else found


if __name__ == "__main__":
    from metseg.inference import engines

    engines.multiplies = lambda number_format: False
    head = Volume.of_slices(draw_head()[0])
    models = sorted(path.parent.name for path in released_dir().glob("*/model.json"))
    entries = []
    for model in models:
        lines = [f'  "{key}": {json.dumps(_rounded(value))}' for key, value in measured(model, head).items()]
        entries.append(f' "{model}": {{\n' + ",\n".join(lines) + "\n }")
    WRITTEN_DOWN.write_text("{\n" + ",\n".join(entries) + "\n}\n")
