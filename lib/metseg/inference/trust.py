"""Whether a scan is like those that a network learned from: measured, and held against their ranges.

What is measured was found to tell scans from what is none (`outputs/reference/methods.md`). It costs a
prediction hardly anything, for it looks at some pixels of what the network sees anyway.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, Field

from metseg.base.errors import MetsegError
from metseg.data.volume import Volume

UNKNOWN = "The network does not tell what its scans were like: this one was not held against them."
WIDENED, FAR = 0.1, 0.5  # of a range's width: by so much beyond is unlike, and far off
OUTLIERS = 0.01  # of slices alone, at each end of a range: some show hardly any brain
_LEAST_WIDTH = 0.2  # of a range of shares and grey values
_PIXELS, _SLICES = 64, 12  # along each side, and of a volume, that are looked at
_AIR = 0.1  # the mean of the sequences in what is darker than any tissue
_LEAST_HEAD = 50  # pixels looked at; fewer have no statistics
_ALIKE = 0.02  # mean difference of two sequences that are hardly two
_CORNER = 10  # parts of a side

Range = tuple[float, float]


class Untrusted(MetsegError):
    """A scan is so unlike those of the training that a mask would mean nothing."""


class Measure(NamedTuple):
    """What is told where a measure is too low and too high, what it may mean, and where it is no brain."""

    low: str
    high: str
    may_mean: str = ""
    refuses: Literal["low", "high", ""] = ""


_GEOMETRY = {
    "slices": Measure("It has fewer slices", "It has more slices"),
    "slice_spacing_mm": Measure("Its slices lie closer together (mm)", "Its slices lie further apart (mm)"),
    "pixel_spacing_mm": Measure("Its pixels are smaller (mm)", "Its pixels are larger (mm)"),
    "field_of_view_mm": Measure("Its slices show less (mm)", "Its slices show more (mm)"),
}
_TURNED = "It may lie turned or in another plane."
_AGENT = "It may lack the agent, or be one sequence twice."
MEASURES = {
    **_GEOMETRY,
    "head": Measure("The head fills less of its slices", "The head fills more of its slices"),
    "upright": Measure("The head is wider for its height", "The head is narrower for its height", _TURNED),
    "contrast": Measure("The contrast agent changes less", "The contrast agent changes more", _AGENT),
    "corners": Measure("Its corners are darker", "Its corners are brighter", "Around a head is air.", "high"),
    # Refuses nothing: drawn heads and parts of real ones are as dark as a head with its greys inverted.
    "bright": Measure("Its brightest tissue is darker", "Its brightest tissue is brighter"),
    "smooth": Measure("It is noisier", "It is smoother", refuses="low"),
}


class Trust(BaseModel):
    """What the scans of a training were like, as `model.json` keeps it.

    Attributes:
        patients: How many were measured.
        oriented: Whether all files told their orientation.
        volume: {measure: its lowest and highest value in their volumes}.
        slice: {measure: its 1st and 99th percentile in single slices, each as if it came alone}.
    """

    patients: int = Field(ge=0)
    oriented: bool = False
    volume: dict[str, Range]
    slice: dict[str, Range]

    @classmethod
    def of(cls, volumes: Sequence[Mapping], slices: Sequence[Mapping], **known) -> "Trust":
        """Takes what `measure` returned of volumes and of slices alone; `known` as the attributes."""
        return cls(volume=_ranges(volumes), slice=_ranges(slices, OUTLIERS), **known)

    def notes_on(
        self, measured: Mapping[str, float], name: str, *, oriented: bool = True, trust_anyway: bool = False
    ) -> list[str]:
        """Returns a sentence on each way in which a scan is unlike those of the training.

        Args:
            measured: From `measure`.
            name: What to call the scan in an error.
            oriented: Whether its file tells its orientation.
            trust_anyway: Let why it would be refused be the first of the sentences.

        Raises:
            Untrusted: By its grey values it is no brain.
        """
        is_volume = measured["slices"] > 1
        notes, far = [], ["There is nothing but black."] if is_volume and measured["head"] == 0 else []
        for key, (low, high) in (self.volume if is_volume else self.slice).items():
            if key not in measured or key not in MEASURES:
                continue
            value, known = measured[key], MEASURES[key]
            side = "low" if value < low else "high"
            beyond = max(low - value, value - high)
            width = max(high - low, high if key in _GEOMETRY else _LEAST_WIDTH)
            if beyond > WIDENED * width:
                told = f"{getattr(known, side)} than in the scans the network learned from"
                note = f"{told}: {value:.3g}, there {low:.3g} to {high:.3g}. {known.may_mean}".rstrip()
                (far if known.refuses == side and beyond > FAR * width else notes).append(note)
        if self.oriented and not oriented:
            notes.append("Its orientation is unknown; that of the scans the network learned from was known.")
        if far and not trust_anyway:
            why = " ".join(far).rstrip(".")
            raise Untrusted(f"{name} is like no scan of the training. {why}; check it, or use --trust-anyway")
        return [f"A mask of this may mean nothing. {each}" for each in far] + notes


def rows_seen(depth: int) -> np.ndarray:
    """Returns the slices of a volume of so many that `measure` looks at."""
    return np.unique(np.linspace(0, depth - 1, _SLICES).round().astype(int))


def measure(volume: Volume, slices: np.ndarray) -> dict[str, float]:
    """Measures a scan.

    Args:
        volume: The scan.
        slices: (Z, S, S, 3) float32 in [0, 1], what preprocessing makes of it, or of its `rows_seen` alone.

    Returns:
        {name of `MEASURES`: value}; always `slices` and `head`, and of the others those that can be told:
        in mm where the scan tells its voxel size, of grey values where there is a head, `contrast` of
        a volume.
    """
    depth, height, width = volume.grid
    found = {"slices": float(depth)}
    if volume.spacing_mm is not None:
        z, y, x = volume.spacing_mm
        found["pixel_spacing_mm"], found["field_of_view_mm"] = max(y, x), max(height * y, width * x)
        if depth > 1:
            found["slice_spacing_mm"] = z
    step, rows = max(1, slices.shape[1] // (2 * _PIXELS)), rows_seen(len(slices))
    seen, below = slices[rows, : -step : 2 * step, :: 2 * step], slices[rows, step :: 2 * step, :: 2 * step]
    mean = seen @ np.full(3, 1 / 3, np.float32)
    head = mean > _AIR
    found["head"] = float(head.mean())
    if np.count_nonzero(head) < _LEAST_HEAD:
        return found
    side = max(1, mean.shape[1] // _CORNER)
    ends = np.concatenate([mean[:, :side], mean[:, -side:]], axis=1)
    found["corners"] = float((ends[..., :side].mean() + ends[..., -side:].mean()) / 2)
    found["upright"] = _extent(mean.sum(axis=(0, 2))) / max(_extent(mean.sum(axis=(0, 1))), 1e-6)
    pixels, beside = (np.ascontiguousarray(each[head].T) for each in (seen, below))
    most = int(0.99 * (pixels.shape[1] - 1))
    found["bright"] = float(np.partition(pixels, most)[:, most].max())
    if depth > 1:
        unlike, enhanced = np.abs(pixels[0] - pixels[1:]).mean(axis=1)
        found |= {"contrast": float(enhanced / unlike)} if unlike > _ALIKE else {}
    pixels -= pixels.mean(axis=1, keepdims=True)
    beside -= beside.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.vecdot(pixels, pixels) * np.vecdot(beside, beside))
    found["smooth"] = float((np.vecdot(pixels, beside) / np.maximum(spread, 1e-6)).mean())
    return found


def _extent(profile: np.ndarray) -> float:
    """Returns the standard deviation of places along a side, weighted by what lies there."""
    places = np.arange(len(profile))
    places = places - places @ profile / profile.sum()
    return float(np.sqrt(places**2 @ profile / profile.sum()))


def _ranges(measured: Iterable[Mapping[str, float]], outliers: float = 0.0) -> dict[str, Range]:
    values: dict[str, list[float]] = {}
    for each in measured:
        for key, value in each.items():
            values.setdefault(key, []).append(value)
    ends = {key: np.quantile(each, (outliers, 1 - outliers)) for key, each in values.items()}
    return {key: (round(float(low), 4), round(float(high), 4)) for key, (low, high) in ends.items()}
