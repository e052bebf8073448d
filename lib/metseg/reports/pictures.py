"""The picture of a lesion: its slice, and closer with outline and both diameters."""

from functools import cached_property
from io import BytesIO

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from metseg.masks.colours import PREDICTION_COLOUR
from metseg.masks.measure import MeasuredLesion
from metseg.reports.matching import Visit

_SIDE, _FINE = 420, 2  # pixels of a panel; drawn finer by this factor, for smooth lines
_GAP = 12
_WHITE, _DARK, _OTHERS = "#FFFFFF", "#000000", "#9A9A9A"
_WINDOW_PERCENTILES = 0.5, 99.8
_CLOSE_SIDES, _LEAST_CLOSE = 2.2, 20  # of the longest diameter; mm
_DIRECTIONS = ("LR", "PA", "IS")  # the ends of the axes x, y and z in RAS+


class LesionPictures:
    """Pictures of the lesions of a visit, shown as radiologists look at slices where the sides are known.

    Attributes:
        channel: The sequence shown.
        unit: Of lengths: mm, or px where the voxels' size is unknown.
        sides: The letters of the left, right and upper edge, RLA but for a scan turned by 45° and more; ""
            where the files do not tell.
    """

    def __init__(self, visit: Visit, channel: str | None = None):
        """Takes the post-contrast sequence if there is one and none is named, or else the first one."""
        names = visit.volume.channels
        self.channel = channel or ("t1c" if "t1c" in names else names[0])
        self._image = visit.volume.array[names.index(self.channel)]
        self._numbers = visit.numbers
        spacing = visit.volume.spacing_mm
        self.unit = "px" if spacing is None else "mm"
        self._step = np.array((1.0, 1.0) if spacing is None else spacing[:0:-1])  # (x, y)
        self.sides, self._mirrored = _sides_of(visit.volume.affine)

    @cached_property
    def window(self) -> tuple[float, float]:
        """Grey values shown black and white: percentiles of all that is not 0."""
        values = self._image[(self._image != 0) & np.isfinite(self._image)]
        low, high = np.percentile(values, _WINDOW_PERCENTILES) if values.size else (0.0, 1.0)
        return float(low), float(high if high > low else low + 1)

    def jpeg(self, lesion: MeasuredLesion) -> bytes:
        """Returns a lesion's picture: its axial slice, and closer what a frame in it marks."""
        z = lesion.axial_slice
        ends = np.array(lesion.longest.ends)[:, ::-1]
        close = ends.mean(axis=0), self._close_side(lesion)
        whole = self._whole
        left = self._panel(z, *whole)
        right = self._panel(z, *close)
        at = self._place(np.array([close[0]]), *whole)[0]
        half = close[1] / whole[1] * _SIDE * _FINE / 2
        pen = ImageDraw.Draw(left)
        pen.rectangle(
            [*np.clip([*(at - half), *(at + half)], 0, _SIDE * _FINE - 1)],
            outline=PREDICTION_COLOUR,
            width=_FINE,
        )
        self._letters(pen)
        self._close_up(right, lesion, close)
        shown = Image.new("RGB", (2 * _SIDE + _GAP, _SIDE), _WHITE)
        for k, panel in enumerate((left, right)):
            shown.paste(panel.resize((_SIDE, _SIDE), Image.Resampling.BOX), (k * (_SIDE + _GAP), 0))
        buffer = BytesIO()
        shown.save(buffer, "JPEG", quality=90, subsampling=0)
        return buffer.getvalue()

    @cached_property
    def _whole(self) -> tuple[np.ndarray, float]:
        """Centre (x, y) in pixels and side in mm of a square that holds whatever is not 0 in any slice."""
        filled = (self._image != 0).any(axis=0)
        if not filled.any():
            filled[:] = True
        x, y = (np.flatnonzero(filled.any(axis=axis))[[0, -1]] for axis in (0, 1))
        extent = np.array([np.ptp(x) + 1, np.ptp(y) + 1]) * self._step
        return np.array([x.mean(), y.mean()]), float(extent.max()) * 1.12

    def _close_side(self, lesion: MeasuredLesion) -> float:
        longest = lesion.longest.px if lesion.longest.mm is None else lesion.longest.mm
        return max(_CLOSE_SIDES * longest, _LEAST_CLOSE)

    def _place(self, points: np.ndarray, centre: np.ndarray, side: float) -> np.ndarray:
        """Returns where (n, 2) points (x, y) of a slice lie in a panel's fine pixels."""
        fine = _SIDE * _FINE
        return (points - centre) * self._step * self._mirrored * fine / side + (fine - 1) / 2

    def _sample(self, pixels: np.ndarray, centre: np.ndarray, side: float, interpolation: int) -> np.ndarray:
        fine = _SIDE * _FINE
        scale = side / fine / self._step * self._mirrored
        matrix = np.column_stack([np.diag(scale), centre - scale * (fine - 1) / 2])
        flags = interpolation | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(pixels.astype(np.float32), matrix, (fine, fine), flags=flags)

    def _panel(self, z: int, centre: np.ndarray, side: float) -> Image.Image:
        low, high = self.window
        shown = np.clip((np.nan_to_num(self._image[z].astype(np.float32)) - low) / (high - low), 0, 1)
        grey = np.rint(255 * np.clip(self._sample(shown, centre, side, cv2.INTER_CUBIC), 0, 1))
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")

    def _close_up(self, panel: Image.Image, lesion: MeasuredLesion, close: tuple[np.ndarray, float]) -> None:
        pen = ImageDraw.Draw(panel)
        numbers = self._numbers[lesion.axial_slice]
        for inside, colour, width in (
            ((numbers > 0) & (numbers != lesion.number), _OTHERS, 1),
            (numbers == lesion.number, PREDICTION_COLOUR, 2),
        ):
            fine = self._sample(inside, *close, cv2.INTER_LINEAR) >= 0.5
            found = cv2.findContours(fine.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
            for contour in found:
                line = [tuple(point) for point in contour[:, 0].tolist()]
                pen.line([*line, line[0]], fill=colour, width=width * _FINE, joint="curve")
        for diameter in (lesion.perpendicular, lesion.longest):
            ends = self._place(np.array(diameter.ends)[:, ::-1], *close)
            line = [tuple(end) for end in ends.tolist()]
            pen.line(line, fill=_DARK, width=4 * _FINE)
            pen.line(line, fill=_WHITE, width=2 * _FINE)
        self._letters(pen)
        bar = 10 * _SIDE * _FINE / close[1]
        low = _SIDE * _FINE - 14 * _FINE
        left = 14 * _FINE
        pen.rectangle([left - _FINE, low - 3 * _FINE, left + bar + _FINE, low + _FINE], fill=_DARK)
        pen.rectangle([left, low - 2 * _FINE, left + bar, low], fill=_WHITE)
        self._text(pen, (left, low - 6 * _FINE), f"10 {self.unit}", "ls")

    def _letters(self, pen: ImageDraw.ImageDraw) -> None:
        if self.sides:
            end, middle, edge = _SIDE * _FINE, _SIDE * _FINE / 2, 8 * _FINE
            places = ((edge, middle), "lm"), ((end - edge, middle), "rm"), ((middle, edge), "ma")
            for letter, (place, anchor) in zip(self.sides, places, strict=False):
                self._text(pen, place, letter, anchor)

    @staticmethod
    def _text(pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str, anchor: str) -> None:
        font = ImageFont.load_default(17 * _FINE)
        pen.text(place, text, _WHITE, font, anchor=anchor, stroke_width=_FINE, stroke_fill=_DARK)


def _sides_of(affine: np.ndarray | None) -> tuple[str, np.ndarray]:
    """Returns the letters of a picture's left, right and upper edge, and (x, y): −1 where it is mirrored.

    The patient's right is shown left and anterior up, as radiologists do; only where the affine tells.
    """
    if affine is None:
        return "", np.ones(2)
    along = affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)
    axis = np.abs(along).argmax(axis=0)
    mirrored = np.ones(2)
    if axis.tolist() == [0, 1]:
        mirrored = np.where(along[axis, [0, 1]] > 0, -1.0, 1.0)
    forward = along[axis, [0, 1]] * mirrored > 0
    x, y = (_DIRECTIONS[k] if ahead else _DIRECTIONS[k][::-1] for k, ahead in zip(axis, forward, strict=True))
    return x[0] + x[1] + y[0], mirrored
