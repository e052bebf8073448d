"""Two released models whose lesions are known by hand, and a Predictor that counts its runs."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from tiny_runs import SIZE, write_bright_model

from metseg.inference.predictor import Predictor


def write_released(folder: Path) -> Path:
    """Writes `nested_unet`, the better one, for bright FLAIR, and `attention_unet`, for post-contrast."""
    write_bright_model(
        folder / "nested_unet",
        name="nested_unet",
        channels=(0, 1, 0),
        encoder="efficientnet_lite0",
        validation_dice=0.9,
    )
    settings = {"threshold": 0.25, "min_lesion_px": 5, "fill_holes": True}
    write_bright_model(
        folder / "attention_unet",
        name="attention_unet",
        channels=(0, 0, 1),
        gates=(8, 4),
        validation_dice=0.5,
        postprocessing=settings,
    )
    return folder


def slice_with_lesions() -> np.ndarray:
    """FLAIR: lesions of 16 and 4 px, and 9 px of probability 0.4. Post-contrast: a ring of 24 px."""
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[4:8, 4:8, 1] = 255
    image[20:22, 20:22, 1] = 255
    image[12:15, 12:15, 1] = 127
    image[10:15, 20:25, 2] = 255
    image[12, 22, 2] = 0
    return image


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


class CountingPredictor(Predictor):
    """Keeps the names of the networks in the order they ran, and of those that were loaded."""

    runs: list[str] = []
    loaded: list[str] = []

    def __init__(self, model_dir: Path):
        super().__init__(model_dir, threads=1)
        self.loaded.append(self.name)

    def prob_map(self, volume, **options):
        self.runs.append(self.name)
        return super().prob_map(volume, **options)

    def prob_maps(self, volume, **options):
        self.runs.append(self.name)
        return super().prob_maps(volume, **options)

    def gate_maps(self, volume):
        self.runs.append(f"gates of {self.name}")
        return super().gate_maps(volume)
