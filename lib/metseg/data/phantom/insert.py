"""Synthetic metastases in real brains, with their exact labels.

What they stand for: small to medium round, ringed or lobed lesions that take up contrast, at likely places, in
a real scanner's noise and point spread, among real vessels, plexus and dura. What they do not: no tissue is
displaced (a metastasis of 2 cm pushes gyri and ventricles); no real histology, no cysts with levels, no blooming,
no calcification, no treated or post-operative lesion, none in dura, leptomeninges or ventricles; oedema knows no
fibre tracts beyond the edge of white matter; contrasts are those of glioma; and they lie in the brains of glioma
patients. A network that finds them all may miss real ones: no figure made with them is one of metastases.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from metseg.data.grid import voxel_to_mm
from metseg.data.layouts.volumes import LAYOUTS
from metseg.data.phantom.anatomy import noise_lattice, smooth_noise
from metseg.data.phantom.insert_shapes import LesionShape, draw_count, draw_shapes, voxel_shares
from metseg.data.phantom.insert_sites import InsertionSites, find_sites
from metseg.data.phantom.visits import ET, NETC, SNFH
from metseg.data.volume import Labels, Volume
from metseg.masks.components import label_lesions

REGIONS = next(layout.regions for layout in LAYOUTS if layout.name == "BraTS")
RESECTION_CAVITY = 4
# Signal over that of white matter nearby, medians of 14 patients of BraTS 2018 (Menze et al. 2015, Bakas et al.
# 2017): (10th percentile, median, 90th percentile) over patients, by `find_sites`.
GLIOMA = {
    "ET": {"t1": (0.6, 0.8, 1.0), "t1c": (0.9, 1.3, 1.6), "t2": (1.4, 1.9, 2.5), "flair": (1.1, 1.8, 2.4)},
    "NETC": {
        "t1": (0.45, 0.7, 0.8),
        "t1c": (0.4, 0.55, 0.8),
        "t2": (1.8, 2.7, 3.3),
        "flair": (1.2, 1.7, 2.3),
    },
    "SNFH": {
        "t1": (0.7, 0.85, 0.98),
        "t1c": (0.63, 0.8, 0.98),
        "t2": (1.4, 1.7, 2.3),
        "flair": (1.35, 1.85, 2.5),
    },
}
_GAP_MM = 3.0  # between two lesions, at least
_TRIES = 40


@dataclass(frozen=True)
class InsertedLesion:
    """One metastasis that was inserted.

    Attributes:
        number: From 1, the largest by its drawn diameter first.
        kind: See `insert_shapes.KINDS`.
        diameter_mm: Of the ball of the volume that was drawn, before it was cut into voxels.
        volume_mm3: Of its voxels in the mask: those at least half of which are tumour, else the one with most.
        voxels: How many.
        core_mm3: Of these, the necrotic core.
        centroid_mm: Of these voxels, (x, y, z) in RAS+; None where the orientation is unknown.
        centroid_voxel: The same as (z, y, x) voxels.
        oedema_mm3: Of its oedema; where two meet, it counts for the larger lesion.
    """

    number: int
    kind: str
    diameter_mm: float
    volume_mm3: float
    voxels: int
    core_mm3: float
    centroid_mm: tuple[float, float, float] | None
    centroid_voxel: tuple[float, float, float]
    oedema_mm3: float


@dataclass(frozen=True, eq=False)
class Insertion:
    """A scan with synthetic metastases.

    Attributes:
        volume: On the grid, with the channels and in the dtype of the scan.
        labels: NETC 1, SNFH 2, ET 3 of own tumour and metastases, with the regions TC, ET, WT.
        inserted: (Z, Y, X) uint8, the number of each metastasis (core and enhancing tumour), else 0.
        lesions: Its table.
        notes: What could not be done or known, as sentences.
    """

    volume: Volume
    labels: Labels
    inserted: np.ndarray
    lesions: list[InsertedLesion]
    notes: list[str] = field(default_factory=list)


def insert_metastases(
    volume: Volume,
    labels: Labels | None,
    rng: np.random.Generator,
    *,
    sites: InsertionSites | None = None,
    count: int | None = None,
    within_mm: tuple[float, float] = (1.5, 30.0),
) -> Insertion:
    """Inserts metastases; the volume given is not changed.

    Args:
        volume: With `t1c`, and any of `t1`, `t2` and `flair`.
        labels: Its own tumour, or None. What is neither ET nor TC of it becomes SNFH.
        rng: Source of all randomness: the same state gives the same voxels.
        sites: By `find_sites` of the same volume; found if left out, which takes some seconds.
        count: How many, 1 to 30; drawn if left out. Fewer where there is no room.
        within_mm: Range of diameters.

    Raises:
        MetsegError: As by `find_sites`.
    """
    sites = sites or find_sites(volume, labels)
    shapes = draw_shapes(rng, draw_count(rng) if count is None else count, within_mm=within_mm)
    out, marks = volume.array.copy(), _own_marks(labels, volume.grid)
    number_of = np.zeros(volume.grid, np.uint8)
    painter = _Painter(volume, sites, rng, out, marks, number_of)
    placed = [each for shape in shapes if (each := painter.place(shape))]
    for each in placed:
        painter.paint_oedema(each)
    for each in placed:
        painter.paint_tumour(each)
    notes = list(sites.notes)
    if len(placed) < len(shapes):
        notes.append(f"{len(shapes) - len(placed)} of {len(shapes)} metastases found no room.")
    lesions = [painter.entry(number, each) for number, each in enumerate(placed, 1)]
    changed = Volume(out, volume.channels, affine=volume.affine, spacing_mm=volume.spacing_mm)
    return Insertion(changed, Labels(marks, REGIONS), number_of, lesions, notes)


def _own_marks(labels: Labels | None, grid: tuple[int, int, int]) -> np.ndarray:
    """Returns the own tumour as METS numbers it, (Z, Y, X) uint8."""
    marks = np.zeros(grid, np.uint8)
    if labels is not None:
        marks[labels.mask] = SNFH
        for name, number in (("TC", NETC), ("ET", ET), ("RC", RESECTION_CAVITY)):
            if name in labels.regions:
                marks[labels.region(name)] = number
    return marks


@dataclass(eq=False)
class _Placed:
    """A lesion at its place: `box` of the brain's box, shares of its voxels, number and oedema's volume."""

    number: int
    shape: LesionShape
    centre: np.ndarray
    box: tuple[slice, slice, slice]
    tumour: np.ndarray
    core: np.ndarray
    mask: np.ndarray
    oedema_voxels: int = 0


class _Painter:
    """Places and paints lesions in views of the brain's box."""

    def __init__(self, volume, sites, rng, out, marks, number_of):
        self.volume, self.sites, self.rng = volume, sites, rng
        self.spacing = np.array(volume.spacing_mm)
        self.images, self.marks, self.number_of = (
            out[(slice(None), *sites.box)],
            marks[sites.box],
            number_of[sites.box],
        )
        self.lattice = noise_lattice(rng)
        self.placed: list[_Placed] = []

    def place(self, shape: LesionShape) -> _Placed | None:
        """Finds a place and marks it; None where there is no room."""
        sites, rng = self.sites, self.rng
        weight = np.where(sites.room_mm >= 0.5 * shape.diameter_mm, sites.weight, 0).cumsum()
        half = np.ceil(shape.reach_mm / self.spacing + 1).astype(int)
        for _ in range(_TRIES if len(weight) and weight[-1] > 0 else 0):
            middle = sites.places[
                min(np.searchsorted(weight, rng.random() * weight[-1], "right"), len(weight) - 1)
            ]
            offset = rng.uniform(-0.5, 0.5, 3)
            centre = middle + offset
            gaps = [
                np.linalg.norm((centre - each.centre) * self.spacing) - 0.5 * each.shape.diameter_mm
                for each in self.placed
            ]
            if any(gap < 0.5 * shape.diameter_mm + _GAP_MM for gap in gaps):
                continue
            shares = voxel_shares(rng, shape, offset, half, self.spacing, self.lattice)
            box, cut = _within(middle, half, self.marks.shape)
            tumour, core = (share[cut] * sites.free[box] for share in shares)
            mask = tumour >= 0.5
            if not mask.any():
                if not tumour.any():
                    continue
                mask[np.unravel_index(tumour.argmax(), mask.shape)] = True
            pieces = label_lesions(mask)
            mask = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
            around = ndimage.binary_dilation(mask, np.ones((3, 3, 3)), iterations=2)
            if self.marks[box][around].any():
                continue
            tumour *= around
            placed = _Placed(len(self.placed) + 1, shape, centre, box, tumour, np.minimum(core, tumour), mask)
            self.marks[box][mask] = np.where(core[mask] >= 0.5 * tumour[mask], NETC, ET)
            self.number_of[box][mask] = placed.number
            self.placed.append(placed)
            return placed
        return None

    def paint_oedema(self, placed: _Placed) -> None:
        """Brightens FLAIR and T2 and darkens T1 in the white matter that is joined to the lesion."""
        reach_mm, rng, sites = placed.shape.oedema_mm, self.rng, self.sites
        if not reach_mm:
            return
        half = np.ceil((placed.shape.reach_mm + 1.6 * reach_mm + 2) / self.spacing).astype(int)
        box, _ = _within(np.rint(placed.centre).astype(int), half, self.marks.shape)
        mine = self.number_of[box] == placed.number
        away = ndimage.distance_transform_edt(~mine, self.spacing).astype(np.float32)
        points = self._points(box)
        edge = reach_mm * np.clip(1 + 0.45 * smooth_noise(rng, points, 14, self.lattice), 0.3, 1.6)
        swollen = (sites.white[box] > 0.5) & sites.free[box] & (away < edge) | mine
        joined = ndimage.label(swollen)[0]
        swollen = np.isin(joined, np.unique(joined[mine])) & sites.free[box]
        sigma = 0.7 / self.spacing
        share = ndimage.gaussian_filter(swollen.astype(np.float32), sigma) * sites.free[box]
        strength = (
            share
            * np.clip(1 - 0.4 * away / edge, 0.5, 1)
            * (1 + 0.1 * smooth_noise(rng, points, 6, self.lattice))
        )
        level = sites.white_matter(placed.centre)
        ratio = self._levels("SNFH", rng.uniform(0.75, 1.1))
        for k, image in enumerate(self.images):
            blurred = ndimage.gaussian_filter(strength, sites.blur[k] * 0.8)
            self._put(image, box, image[box] + blurred * ((ratio[k] - 1) * level[k]), blurred > 0.01)
        marks = self.marks[box]
        new = (share > 0.5) & (marks == 0)
        marks[new] = SNFH
        placed.oedema_voxels = int(new.sum())

    def paint_tumour(self, placed: _Placed) -> None:
        """Blends rim and core in, blurred by each sequence's point spread, with its noise."""
        rng, sites, shape = self.rng, self.sites, placed.shape
        margin = np.ceil(2.5 * sites.blur.max(axis=0)).astype(int)
        low = np.maximum([each.start for each in placed.box] - margin, 0)
        high = np.minimum([each.stop for each in placed.box] + margin, self.marks.shape)
        box = tuple(map(slice, low, high))
        pad = [(each.start - a, b - each.stop) for each, a, b in zip(placed.box, low, high, strict=True)]
        core = np.pad(placed.core, pad)
        rim = np.pad(placed.tumour, pad) - core
        points = self._points(box)
        patchy = smooth_noise(rng, points, max(4.0, 0.5 * shape.diameter_mm), self.lattice)
        grainy = smooth_noise(rng, points, 3.0, self.lattice)
        rim_level, core_level = self._tumour_levels(shape), self._levels("NETC", rng.uniform(0.8, 1.2))
        bled = np.clip(0.5 + patchy, 0, 1) if shape.kind == "haemorrhagic" else None
        texture = 1 + np.clip(0.07 * patchy + 0.05 * grainy, -0.25, 0.25)
        level = sites.white_matter(placed.centre)
        for k, (name, image) in enumerate(zip(self.volume.channels, self.images, strict=True)):
            signal = rim_level[k] * texture
            if bled is not None:
                blood = {"t1": 1.45, "t1c": max(1.5, rim_level[k]), "t2": 0.8, "flair": 1.1}[name]
                signal = signal + bled * (blood - signal)
            drawn = rim * signal + core * (core_level[k] * (1 + 0.06 * patchy))
            blur = sites.blur[k]
            share = ndimage.gaussian_filter(rim + core, blur, mode="nearest")
            drawn = ndimage.gaussian_filter(drawn, blur, mode="nearest")
            noise = ndimage.gaussian_filter(rng.standard_normal(share.shape, dtype=np.float32), blur)
            noise *= sites.noise[k] / max(float(noise.std()), 1e-6)
            value = image[box] * (1 - share) + drawn * level[k] + noise * share
            self._put(image, box, value, share > 0.01)

    def entry(self, number: int, placed: _Placed) -> InsertedLesion:
        """Returns a lesion's line of the table, measured on the mask."""
        voxel_mm3 = float(self.spacing.prod())
        start = [whole.start + own.start for whole, own in zip(self.sites.box, placed.box, strict=True)]
        centroid = np.argwhere(placed.mask).mean(axis=0) + start
        voxels = int(placed.mask.sum())
        core = int((placed.mask & (self.marks[placed.box] == NETC)).sum())
        known = self.volume.affine is not None
        return InsertedLesion(
            number=number,
            kind=placed.shape.kind,
            diameter_mm=placed.shape.diameter_mm,
            volume_mm3=voxels * voxel_mm3,
            voxels=voxels,
            core_mm3=core * voxel_mm3,
            centroid_mm=tuple(voxel_to_mm(centroid, self.volume).tolist()) if known else None,
            centroid_voxel=tuple(centroid.tolist()),
            oedema_mm3=placed.oedema_voxels * voxel_mm3,
        )

    def _levels(self, part: str, strength: float) -> np.ndarray:
        """Returns (C,) signal over white matter's: the own tumour's, else as measured; its contrast scaled."""
        own = self.sites.ratios.get(part)
        usual = [self.rng.uniform(*GLIOMA[part][name][::2]) for name in self.volume.channels]
        told = np.array(usual) if own is None else 0.7 * own + 0.3 * np.array(usual)
        return np.maximum(1 + (told - 1) * strength, 0.2)

    def _tumour_levels(self, shape: LesionShape) -> np.ndarray:
        """Returns (C,) signal of enhancing tumour over white matter's."""
        rng = self.rng
        levels = self._levels("ET", 1.0)
        # Solid metastases are less bright in T2 and FLAIR than the rim of a glioma in its oedema.
        water = rng.uniform(0.25, 0.95)
        uptake = rng.uniform(1.08, 1.22) if shape.kind == "faint" else rng.uniform(1.25, 1.85)
        for k, name in enumerate(self.volume.channels):
            if name == "t1c":
                own = levels[k] * rng.uniform(0.9, 1.2)
                levels[k] = uptake if shape.kind == "faint" else np.clip(0.5 * (own + uptake), 1.25, 2.1)
            elif name in ("t2", "flair"):
                levels[k] = 1 + (levels[k] - 1) * water
        return levels

    def _points(self, box) -> np.ndarray:
        axes = [np.arange(each.start, each.stop) * s for each, s in zip(box, self.spacing, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32)

    def _put(self, image: np.ndarray, box, value: np.ndarray, where: np.ndarray) -> None:
        """Writes values where asked, as the image's dtype."""
        if image.dtype.kind in "iu":
            limits = np.iinfo(image.dtype)
            value = np.clip(np.rint(value), limits.min, limits.max)
        where = where & self.sites.free[box]
        image[box][where] = value[where].astype(image.dtype)


def _within(middle: np.ndarray, half: np.ndarray, shape) -> tuple[tuple, tuple]:
    """Returns the box around a voxel that lies in the array, and the part of the whole box that it is."""
    low, high = middle - half, middle + half + 1
    first, last = np.maximum(low, 0), np.minimum(high, shape)
    return tuple(map(slice, first, last)), tuple(map(slice, first - low, last - low))
