"""A scan in three planes as a widget: what Python tells the browser and what a visitor chose.

All that a change of slice needs is in the browser, which draws it on Canvas2D; looks are in frontend/.
"""

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from anywidget import AnyWidget
from traitlets import Bool, Bytes, Dict, Enum, Float, Int, List, Tuple, Unicode

from metseg.data.grid import axial_order, obliqueness
from metseg.data.volume import SEQUENCES, Volume
from metseg.inference.operating_points import LesionCalibration, least_of
from metseg.masks.measure import measure_mask
from metseg.reports.lesion_report import UNKNOWN_SIDES
from metseg.serve.dashboard.lesion_rows import centre_of, rating_of, row_of

UNKNOWN_SIZE = "The size of a voxel is unknown: it is drawn as a cube, and nothing is in mm."
LISTED = 100  # lesions in the table; all are in the picture
_OBLIQUE_DEGREES = 3  # less does not show
_FRONTEND = Path(__file__).with_name("frontend")


def _source(*names: str) -> str:
    return "\n".join((_FRONTEND / name).read_text(encoding="utf-8") for name in names)


def _shared(trait):
    return trait.tag(sync=True, echo_update=False)


class VolumeViewer(AnyWidget):
    """Three planes with a common crosshair, a mask over them, and a table of its lesions.

    Voxels are compressed (gzip) uint8 in the order (Z, Y, X). Indices are (z, y, x).

    Attributes:
        number: How many scans were shown, so that a new one is told from the same anew.
        grid: (Z, Y, X); empty without a scan.
        spacing_mm: (z, y, x); empty where unknown.
        affine: Its first three rows, voxel (x, y, z, 1) → mm in RAS+; empty where unknown.
        notes: What is to be known of the planes, as sentences.
        sequences: {"name", "label"} of each.
        sequence: The one shown.
        image: {"number", "sequence", "voxels"} of the one that the browser asked for last.
        labels: Number of the lesion at each voxel, 0 outside, 255 for all from 255 on; empty without a mask.
        prob_map: Probabilities, 255 for 1; empty without.
        reference: 1 inside the reference mask; empty without.
        lesions: {"number", "voxels", "volume_mm3", "longest_mm", "longest_px", "mean_probability", "rated",
            "centre"}.
        rating: {"title", "told", "share"}: what "rated" is, in a word and in a sentence, and whether it is a
            share of lesions; empty where it is not there.
        more: How many lesions are not listed.
        selected: Number of the lesion picked; 0 for none.
        threshold: The one chosen; 0 where there is nothing to choose.
        points: {"threshold", "told"} of those that can be chosen; empty where all can.
        measured_at: The one that `labels` and `lesions` are of. While they differ, the browser draws the map
            cut at `threshold` and says that the table is not of it.
        cursor: The voxel under the crosshair.
        window, level: Grey values from black to white, and the one in their middle; for the eye alone.
        overlay: How the mask is drawn.
        opacity: Of its tint.
        show_reference: Whether its contour is drawn.
    """

    _esm, _css = (
        _source("dom.js", "slices.js", "plane.js", "lesion_table.js", "volume_viewer.js"),
        _source("page.css", "sources.css", "controls.css", "stage.css", "findings.css", "volume_viewer.css"),
    )

    number = _shared(Int())
    grid = _shared(List())
    spacing_mm = _shared(List())
    affine = _shared(List())
    notes = _shared(List())
    sequences = _shared(List())
    sequence = _shared(Unicode())
    image = _shared(Dict())
    labels = _shared(Bytes())
    prob_map = _shared(Bytes())
    reference = _shared(Bytes())
    lesions = _shared(List())
    rating = _shared(Dict())
    more = _shared(Int())
    selected = _shared(Int())
    threshold = _shared(Float())
    points = _shared(List())
    measured_at = _shared(Float())
    cursor = _shared(Tuple(Int(), Int(), Int(), default_value=(0, 0, 0)))
    window = _shared(Float(255, min=1, max=510))
    level = _shared(Float(127.5, min=0, max=255))
    overlay = _shared(Enum(["fill", "contour", "none"], "contour"))
    opacity = _shared(Float(0.35, min=0, max=1))
    show_reference = _shared(Bool(True))

    def __init__(self, volume: Volume | None = None, mask: np.ndarray | None = None):
        """Shows a scan and a mask on its grid, if they are given; see `show` and `mark`."""
        super().__init__()
        self._volume: Volume | None = None
        self._probabilities: np.ndarray | None = None
        self._mask_at: Callable[[float], np.ndarray] | None = None
        self._calibration: LesionCalibration | None = None
        self.on_msg(self._answer)
        self.observe(self._measure, "threshold")
        if volume is not None:
            self.show(volume)
        if mask is not None:
            self.mark(mask)

    def show(self, volume: Volume, sequence: str | None = None) -> None:
        """Shows a scan, without any mask yet.

        Args:
            volume: Axial (see `metseg.data.grid.to_axial`), uint8.
            sequence: The channel shown first; the post-contrast one if left out, else the first.

        Raises:
            ValueError: The volume is not axial or not uint8.
        """
        if volume.array.dtype != np.uint8 or (axial_order(volume) != np.eye(4)).any():
            raise ValueError(f"volume is {volume.array.dtype}, give uint8 of an axial grid, see to_axial")
        first = sequence or ("t1c" if "t1c" in volume.channels else volume.channels[0])
        self._volume, self._probabilities, self._mask_at = volume, None, None
        known = volume.affine is not None
        with self.hold_sync():
            self.number += 1
            self.grid, self.spacing_mm = list(volume.grid), list(volume.spacing_mm or ())
            self.affine = volume.affine[:3].tolist() if known else []
            self.notes = _notes(volume)
            self.sequences = [
                {"name": name, "label": SEQUENCES.get(name, name.upper())} for name in volume.channels
            ]
            self.sequence, self.cursor = first, tuple(size // 2 for size in volume.grid)
            self._give(first)
            self.labels = self.prob_map = self.reference = b""
            self.lesions, self.more, self.selected = [], 0, 0
            self.threshold = self.measured_at = 0.0
            self.window, self.level = 255, 127.5

    def mark(self, mask: np.ndarray) -> None:
        """Draws a mask and lists its lesions; the first time, the crosshair goes to the largest.

        Args:
            mask: (Z, Y, X) bool, on the scan's grid.
        """
        self._probabilities, self._mask_at = None, None
        with self.hold_sync():
            self.prob_map, self.threshold, self.points = b"", 0.0, []
            self._calibration, self.rating = None, {}
            self._list(mask, 0.0)

    def mark_at(
        self,
        threshold: float,
        mask_at: Callable[[float], np.ndarray],
        prob_map: np.ndarray,
        *,
        points: Sequence[dict] = (),
        calibration: LesionCalibration | None = None,
    ) -> None:
        """As `mark`, with a threshold to choose.

        Args:
            threshold: The first one.
            mask_at: Returns the mask at a threshold, with all that is done to it after it was cut.
            prob_map: (Z, Y, X) in [0, 1]. The browser cuts it while the mask is not there yet.
            points: See the attribute; the lowest threshold first.
            calibration: Of the probability that the table tells of each lesion.
        """
        with self.hold_sync():
            if prob_map is not self._probabilities:
                self._probabilities, self.prob_map = prob_map, _packed(np.rint(prob_map * 255))
            self._mask_at = None  # the threshold below is not a visitor's
            self.points, self._calibration, self.rating = list(points), calibration, rating_of(calibration)
            self.threshold, self._mask_at = threshold, mask_at
            self._list(mask_at(threshold), threshold)

    def compare(self, reference: np.ndarray | None) -> None:
        """Draws the contour of a reference mask, (Z, Y, X) bool, or of none any more."""
        self.reference = b"" if reference is None else _packed(self._fitting(reference))

    def go_to(self, place: Sequence[float], lesion: int = 0) -> None:
        """Takes the crosshair to a place (z, y, x), or the nearest one in the scan, and picks a lesion."""
        within = np.clip(np.rint(place), 0, np.array(self.grid) - 1).astype(int)
        with self.hold_sync():
            self.cursor, self.selected = tuple(within.tolist()), lesion if lesion <= LISTED else 0

    def _measure(self, change) -> None:
        if self._mask_at is not None:
            with self.hold_sync():
                self._list(self._mask_at(self.threshold), self.threshold)

    def _list(self, mask: np.ndarray, threshold: float) -> None:
        place = {"affine": self._volume.affine, "spacing_mm": self._volume.spacing_mm}
        place["scored_from"] = least_of(self._calibration)
        found, labels = measure_mask(self._fitting(mask), self._probabilities, **place)
        if not self.labels and found:  # the first mask of this scan
            self.cursor = centre_of(found[0])
            self.selected = 1
        elif self.labels and self.selected:
            voxels = np.bincount(labels[self._labels == self.selected], minlength=1)
            voxels[0] = 0
            number = int(voxels.argmax())  # what most of it has become
            self.selected = number if number <= LISTED else 0
        self._labels = labels  # (Z, Y, X) int32
        self.labels = _packed(np.minimum(labels, 255))
        self.lesions = [row_of(each, self._calibration) for each in found[:LISTED]]
        self.more = len(found) - len(self.lesions)
        self.measured_at = threshold

    def _fitting(self, mask: np.ndarray) -> np.ndarray:
        if self._volume is None or mask.shape != self._volume.grid:
            shown = None if self._volume is None else self._volume.grid
            raise ValueError(f"mask is {mask.shape} but the scan shown is {shown}; give both on one grid")
        return mask

    def _answer(self, _, content: dict, buffers: Sequence) -> None:
        """Gives a sequence to a browser that has not seen it yet."""
        if content.get("kind") == "sequence" and self._volume and content["name"] in self._volume.channels:
            self._give(content["name"])

    def _give(self, sequence: str) -> None:
        voxels = _packed(self._volume.array[self._volume.channels.index(sequence)])
        self.image = {"number": self.number, "sequence": sequence, "voxels": voxels}


def _packed(voxels: np.ndarray) -> bytes:
    # Level 1: a brain takes a third of its size in a third of the time of the usual level.
    return gzip.compress(np.ascontiguousarray(voxels, np.uint8).tobytes(), compresslevel=1, mtime=0)


def _notes(volume: Volume) -> list[str]:
    if volume.affine is None:
        return [UNKNOWN_SIDES, *([UNKNOWN_SIZE] if volume.spacing_mm is None else [])]
    angle = obliqueness(volume)
    turned = f"The planes follow the scan's own axes, up to {angle:.0f}° off the patient's."
    return [turned] if angle >= _OBLIQUE_DEGREES else []
