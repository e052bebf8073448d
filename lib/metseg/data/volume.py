"""The one data type from reader to writer: a scan on its file's grid, its reference, and whose it is."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

# The sequences that the networks take, and what a user reads for each.
SEQUENCES = {"t1": "pre-contrast", "flair": "FLAIR", "t1c": "post-contrast"}
CHANNELS = tuple(SEQUENCES.values())
STAND_INS = ("flair", "t1c")  # for a sequence that is missing, the first that there is
NEVER_MISSING = "flair"  # unless a training says another: in the LGG set it stands in for all others
_SAME_MM = 1e-3


def stand_in(present: Collection[str]) -> str:
    """Returns the sequence that stands in for those that are missing; "" where none can."""
    return next((each for each in STAND_INS if each in present), "")


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan; one picture is a volume of one slice. A `ValueError` tells what does not fit.

    Attributes:
        array: (C, Z, Y, X), in the file's own dtype and grid.
        channels: What each channel is: `t1`, `t1c`, `t2`, `flair`; as the reader calls it where it is none.
        affine: (4, 4), voxel (x, y, z, 1) → mm in RAS+; None where the files do not tell.
        spacing_mm: (z, y, x), from the affine if there is one; None where the files do not tell.
    """

    array: np.ndarray
    channels: tuple[str, ...] = tuple(SEQUENCES)
    affine: np.ndarray | None = None
    spacing_mm: tuple[float, float, float] | None = None

    def __post_init__(self):
        shape = self.array.shape
        if len(shape) != 4 or 0 in shape or self.array.dtype.kind not in "biuf":
            raise ValueError(f"array is {self.array.dtype} {shape}; give real numbers as (C, Z, Y, X)")
        if len(self.channels) != shape[0] or len(set(self.channels)) < shape[0]:
            raise ValueError(f"array has {shape[0]} channels, named {self.channels}; give each its own name")
        if self.affine is not None:
            affine = np.asarray(self.affine, float)
            if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.linalg.det(affine):
                raise ValueError(f"affine is {affine.tolist()}; give an invertible 4 × 4 matrix")
            told = tuple(np.linalg.norm(affine[:3, :3], axis=0)[::-1].tolist())
            if self.spacing_mm is not None and not np.allclose(self.spacing_mm, told, rtol=0, atol=_SAME_MM):
                raise ValueError(f"spacing_mm is {self.spacing_mm} but the affine says {told}")
            object.__setattr__(self, "affine", affine)
            object.__setattr__(self, "spacing_mm", told)
        elif self.spacing_mm is not None:
            spacing = tuple(map(float, self.spacing_mm))
            if len(spacing) != 3 or not all(0 < step < np.inf for step in spacing):
                raise ValueError(f"spacing_mm is {spacing}; give three positive numbers (z, y, x)")
            object.__setattr__(self, "spacing_mm", spacing)

    @classmethod
    def of_slices(cls, images: np.ndarray, channels: Sequence[str] = tuple(SEQUENCES), **known) -> "Volume":
        """Makes a volume of (Z, Y, X, C) pixels, which are not copied; `known` as the attributes."""
        return cls(np.moveaxis(images, -1, 0), tuple(channels), **known)

    @classmethod
    def of_slice(cls, image: np.ndarray, *args, **known) -> "Volume":
        """Makes a volume of one picture, (Y, X, C); see `of_slices`."""
        return cls.of_slices(image[None], *args, **known)

    @classmethod
    def of_grid(cls, grid: tuple[int, int, int], **known) -> "Volume":
        """Makes a volume that is a grid alone: its voxels are 0 and take no memory."""
        return cls(np.broadcast_to(np.uint8(0), (1, *grid)), ("grid",), **known)

    @classmethod
    def stacked(cls, volumes: Sequence["Volume"]) -> "Volume":
        """Lays volumes of one grid and the same channels on each other."""
        first = volumes[0]
        images = np.concatenate([each.channels_last for each in volumes])
        return cls.of_slices(images, first.channels, affine=first.affine, spacing_mm=first.spacing_mm)

    def without(self, missing: Collection[str]) -> "Volume":
        """Returns the scan as the networks would see it if these sequences were missing, see `stand_in`."""
        source = stand_in([each for each in self.channels if each not in missing])
        shown = [self.channels.index(source if each in missing else each) for each in self.channels]
        known = {"affine": self.affine, "spacing_mm": self.spacing_mm}
        return Volume(self.array[shown], self.channels, **known) if missing else self

    @property
    def channels_last(self) -> np.ndarray:
        """The same pixels as (Z, Y, X, C), as OpenCV and Keras take them; a view."""
        return np.moveaxis(self.array, 0, -1)

    @property
    def grid(self) -> tuple[int, int, int]:
        """(Z, Y, X)."""
        return self.array.shape[1:]


@dataclass(frozen=True, eq=False)
class Labels:
    """A reference on a volume's grid: (Z, Y, X) integers, 0 where nothing is marked.

    Attributes:
        regions: Which numbers make a region: {"lesion": {1}}, or TC, ET and WT of a tumour in parts. The
            first is the main one, of which lesions and scores are.
        stored: By which numbers the files mark a lesion.
    """

    array: np.ndarray
    regions: Mapping[str, frozenset[int]] = field(default_factory=lambda: {"lesion": frozenset({1})})
    stored: frozenset[float] = frozenset()

    def __post_init__(self):
        if self.array.ndim != 3 or self.array.dtype.kind not in "iu":
            raise ValueError(f"labels are {self.array.dtype} {self.array.shape}; give integers as (Z, Y, X)")

    @classmethod
    def of_mask(cls, mask: np.ndarray, stored: frozenset[float] = frozenset()) -> "Labels":
        """Makes labels of one (Z, Y, X) bool lesion mask, which is not copied."""
        return cls(mask.view(np.uint8), stored=stored)

    @cached_property
    def mask(self) -> np.ndarray:
        """(Z, Y, X) bool: the main region."""
        return self.region(next(iter(self.regions)))

    @property
    def masks(self) -> np.ndarray:
        """(T, Z, Y, X) bool: all regions, in order."""
        return np.stack([self.mask, *(self.region(name) for name in [*self.regions][1:])])

    def region(self, name: str) -> np.ndarray:
        """Returns a region, (Z, Y, X) bool; raises a `ValueError` that lists the regions if it is none."""
        if name not in self.regions:
            raise ValueError(f"there is no region {name!r}; the regions are {', '.join(self.regions)}")
        return np.isin(self.array, sorted(self.regions[name]))


@dataclass(frozen=True, eq=False)
class Case:
    """One scan with its reference."""

    volume: Volume
    labels: Labels
    case_id: str
    patient_id: str  # one person, who may have several cases
    visit: str | None = None  # which of the person's; None where nothing tells
    slice_index: tuple[int, ...] = ()  # the slices' numbers in the files' names

    def __post_init__(self):
        if self.labels.array.shape != self.volume.grid:
            sizes = f"labels are {self.labels.array.shape} but the volume is {self.volume.grid}"
            raise ValueError(f"{sizes} for case_id={self.case_id}; export both at one size")
        object.__setattr__(self, "slice_index", self.slice_index or tuple(range(self.volume.grid[0])))

    @property
    def image(self) -> np.ndarray:
        """The scan's (Z, Y, X, C) pixels."""
        return self.volume.channels_last

    @property
    def mask(self) -> np.ndarray:
        """The reference of the main region, (Z, Y, X) bool."""
        return self.labels.mask

    @property
    def masks(self) -> np.ndarray:
        """The reference of all regions, (T, Z, Y, X) bool."""
        return self.labels.masks
