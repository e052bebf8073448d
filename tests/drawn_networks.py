"""Volumes of cubes whose grey values are a network's probabilities."""

from pathlib import Path

import numpy as np

from metseg.data.cases import CaseFiles, find_cases
from metseg.data.volume import Volume
from metseg.data.writers.nifti import write_image, write_mask
from metseg.masks.postprocess import Postprocessing, postprocess

SHAPE = (9, 12, 40)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])  # of the axial display, 1 mm
# (row, column, side, probability, in the reference) of each patient's cubes, from slice 2 on
BOXES = {
    "BraTS-MET-00001-000": ((2, 4, 2, 0.6, True), (2, 20, 5, 0.8, True)),
    "BraTS-MET-00002-000": ((2, 4, 3, 1.0, True), (2, 30, 2, 0.55, False)),
}


def write_boxes(folder: Path) -> list[CaseFiles]:
    """Writes a scan a patient in the layout of BraTS-METS, all sequences alike."""
    for case_id, boxes in BOXES.items():
        pixels, mask = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
        for row, column, side, probability, real in boxes:
            place = np.s_[2 : 2 + side, row : row + side, column : column + side]
            pixels[place], mask[place] = round(255 * probability), 3 * real
        pixels[-1] = 255  # by the brightest the reader scales
        (folder / case_id).mkdir(parents=True)
        volume = Volume(pixels[None], ("t1c",), affine=AFFINE)
        for kind in ("t1n", "t1c", "t2f"):
            write_image(volume, folder / case_id / f"{case_id}-{kind}.nii.gz")
        write_mask(mask, volume, folder / case_id / f"{case_id}-seg.nii.gz")
    return find_cases(folder)


class DrawnPredictor:
    """A network whose probabilities are the grey values, but for the last slice."""

    name, tta_flip, min_volume_share = "drawn", False, 0.0
    description, sha256 = {"parameters": 7}, "1234abcd"
    library, precision, targets = "abacus", "fp32", ("TC",)

    def __init__(self, threshold: float = 0.5, gain: float = 1.0, *, incomplete: float | None = None):
        """`incomplete` is the threshold for scans that lack a sequence, if another."""
        self.postprocessing = Postprocessing(threshold=threshold)
        self.gain, self.incomplete = gain, incomplete

    def doing_without(self, missing: tuple[str, ...]) -> "DrawnPredictor":
        return DrawnPredictor(self.incomplete, self.gain) if missing and self.incomplete else self

    def prob_maps(self, volume: Volume) -> dict[str, np.ndarray]:
        prob_map = self.gain * volume.array[0] / np.float32(255)
        prob_map[-1] = 0
        return {"TC": prob_map}

    def masks_of(self, maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: postprocess(each, self.postprocessing) for name, each in maps.items()}

    def masks(self, volume: Volume) -> dict[str, np.ndarray]:
        return self.masks_of(self.prob_maps(volume))
