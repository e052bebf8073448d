"""The phantom's volumes, small, drawn once for all test files; and a network that marks what was drawn."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tiny_runs import DATA

from metseg.data.phantom.volumes import write_as_dicom, write_volumes
from metseg.data.volume import Volume
from metseg.masks.postprocess import Postprocessing, postprocess

FIRST, SECOND, OTHER = "PHANTOM-MET-00001-000", "PHANTOM-MET-00001-001", "PHANTOM-MET-00002-000"


def phantom_volumes(tmp_path_factory) -> Path:
    """Two patients, the first of them twice; the first patient's visits also as DICOM."""
    folder = write_volumes(tmp_path_factory.getbasetemp() / "phantom_volumes", patients=2, slices=12, size=56)
    write_as_dicom(folder, [FIRST, SECOND])
    return folder


@dataclass(frozen=True)
class Marker:
    """Passes for a `Predictor` and marks one mask, with a probability of 0.75."""

    marked: np.ndarray
    name: str = "unet"
    sha256: str = "0123456789abcdef" * 4
    precision: str = "fp32"
    postprocessing: Postprocessing = Postprocessing()
    operating_points: None = None
    lesion_calibration: None = None
    min_volume_share: float = 0.0

    @property
    def description(self) -> dict:
        return {"data": DATA}

    def doing_without(self, missing: tuple[str, ...]) -> "Marker":
        return self

    def prob_map(self, volume: Volume) -> np.ndarray:
        assert volume.grid == self.marked.shape
        return np.where(self.marked, np.float32(0.75), np.float32(0))

    def trusted_map(self, volume: Volume, name: str, **_) -> tuple[np.ndarray, list[str]]:
        return self.prob_map(volume), []

    def mask_of(self, prob_map: np.ndarray) -> np.ndarray:
        return postprocess(prob_map, self.postprocessing)
