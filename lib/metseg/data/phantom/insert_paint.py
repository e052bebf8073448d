"""Puts one synthetic metastasis after the other into a brain: place, oedema, tumour, in boxes around them."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from metseg.data.phantom.anatomy import noise_lattice, smooth_noise
from metseg.data.phantom.insert_shapes import LesionShape, voxel_shares
from metseg.data.phantom.insert_sites import InsertionSites
from metseg.data.phantom.visits import ET, NETC, SNFH
from metseg.data.volume import Volume
from metseg.masks.components import label_lesions

# Signal over that of white matter nearby, as `find_sites` measures it in the own tumour's parts: 10th
# percentile, median and 90th percentile of 14 glioma patients of BraTS 2018 (Menze et al. 2015, IEEE TMI
# 34:1993; Bakas et al. 2017, Sci Data 4:170117). T1c / T1 in enhancing tumour is 1.5 (1.2 to 2.3) times that
# of white matter.
GLIOMA = {
    "ET": {
        "t1": (0.66, 0.85, 0.95),
        "t1c": (0.92, 1.35, 1.65),
        "t2": (1.39, 1.77, 2.04),
        "flair": (1.17, 1.67, 2.24),
    },
    "NETC": {
        "t1": (0.48, 0.72, 0.79),
        "t1c": (0.45, 0.61, 0.83),
        "t2": (1.85, 2.40, 2.98),
        "flair": (1.20, 1.71, 2.11),
    },
    "SNFH": {
        "t1": (0.75, 0.87, 0.95),
        "t1c": (0.66, 0.83, 0.98),
        "t2": (1.43, 1.72, 2.12),
        "flair": (1.26, 1.66, 2.30),
    },
}
_GAP_MM = 3.0  # between two lesions, at least
_MOST_FLUID = 0.15  # of a lesion may lie where CSF was, so that none floats in a sulcus or cistern
_TRIES = 60
_LEAST_CONTRAST, _BRIGHTEST = 0.2, 2.3  # in T1c: of the brightest voxel over white matter's; vessels' signal


@dataclass(eq=False)
class PlacedLesion:
    """A lesion at its place: `box` of the brain's box, shares of its voxels, number and oedema's volume."""

    number: int
    shape: LesionShape
    centre: np.ndarray
    box: tuple[slice, slice, slice]
    tumour: np.ndarray
    core: np.ndarray
    mask: np.ndarray
    oedema_voxels: int = 0


class Painter:
    """Places and paints lesions in views of the brain's box."""

    def __init__(
        self,
        volume: Volume,
        sites: InsertionSites,
        rng: np.random.Generator,
        out: np.ndarray,
        marks: np.ndarray,
        number_of: np.ndarray,
    ):
        self.sites, self.rng = sites, rng
        self.channels, self.spacing = volume.channels, np.array(volume.spacing_mm)
        self.images = out[(slice(None), *sites.box)]
        self.marks, self.number_of = marks[sites.box], number_of[sites.box]
        self.lattice = noise_lattice(rng)
        self.placed: list[PlacedLesion] = []

    def place(self, shape: LesionShape) -> PlacedLesion | None:
        """Finds a place and marks it; None where there is no room."""
        sites, rng = self.sites, self.rng
        radius = 0.5 * shape.diameter_mm
        weight = np.where(sites.room_mm >= shape.room_mm, sites.weight, 0).cumsum()
        half = np.ceil(shape.reach_mm / self.spacing + 1).astype(int)
        for _ in range(_TRIES if weight[-1] > 0 else 0):
            at = np.searchsorted(weight, rng.random() * weight[-1], "right")
            middle, offset = sites.places[min(at, len(weight) - 1)], rng.uniform(-0.5, 0.5, 3)
            centre = middle + offset
            apart = [(np.linalg.norm((centre - each.centre) * self.spacing), each) for each in self.placed]
            if any(mm < radius + 0.5 * each.shape.diameter_mm + _GAP_MM for mm, each in apart):
                continue
            inner, _ = _within(middle, (0.8 * radius / self.spacing).astype(int), self.marks.shape)
            if sites.fluid[inner].mean() > _MOST_FLUID:  # before the shape is drawn, which takes longer
                continue
            shares = voxel_shares(rng, shape, offset, half, self.spacing, self.lattice)
            box, cut = _within(middle, half, self.marks.shape)
            tumour, core = (share[cut] * sites.free[box] for share in shares)
            if (tumour * sites.fluid[box]).sum() > _MOST_FLUID * tumour.sum():
                continue
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
            placed = PlacedLesion(
                len(self.placed) + 1, shape, centre, box, tumour, np.minimum(core, tumour), mask
            )
            self.marks[box][mask] = np.where(core[mask] >= 0.5 * tumour[mask], NETC, ET)
            self.number_of[box][mask] = placed.number
            self.placed.append(placed)
            return placed
        return None

    def paint_oedema(self, placed: PlacedLesion) -> None:
        """Brightens FLAIR and T2 and darkens T1 in the white matter that is joined to the lesion."""
        reach_mm, rng, sites = placed.shape.oedema_mm, self.rng, self.sites
        if not reach_mm:
            return
        half = np.ceil((placed.shape.reach_mm + 1.9 * reach_mm + 2) / self.spacing).astype(int)
        box, _ = _within(np.rint(placed.centre).astype(int), half, self.marks.shape)
        mine = self.number_of[box] == placed.number
        away = ndimage.distance_transform_edt(~mine, self.spacing).astype(np.float32)
        points = self._points(box)
        fingers = smooth_noise(rng, points, max(7.0, 0.7 * reach_mm), self.lattice)
        edge = reach_mm * np.clip(0.95 + 0.55 * fingers, 0.1, 1.9)
        swollen = (sites.white[box] > 0.5) & sites.free[box] & (away < edge) | mine
        joined = ndimage.label(ndimage.binary_opening(swollen) | mine)[0]
        swollen = np.isin(joined, np.unique(joined[mine])) & sites.free[box]
        # It fades towards its edge, and what is half as strong as next to the lesion still counts.
        fading = swollen * np.clip((edge - away) / (0.3 * edge), 0, 1)
        share = ndimage.gaussian_filter(fading.astype(np.float32), 0.7 / self.spacing) * sites.free[box]
        strength = share * (1 + 0.12 * smooth_noise(rng, points, 6, self.lattice))
        level = sites.white_matter(placed.centre)
        ratio = self._levels("SNFH", rng.uniform(0.75, 1.1))
        for k, image in enumerate(self.images):
            blurred = ndimage.gaussian_filter(strength, sites.blur[k] * 0.8)
            self._put(image, box, image[box] + blurred * ((ratio[k] - 1) * level[k]), blurred > 0.01)
        marks = self.marks[box]
        new = (share > 0.5) & (marks == 0)
        marks[new] = SNFH
        placed.oedema_voxels = int(new.sum())

    def paint_tumour(self, placed: PlacedLesion) -> None:
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
        texture = 1 + np.clip(0.10 * patchy + 0.06 * grainy, -0.3, 0.3)
        # The middle of a large solid lesion takes up less.
        middle = ndimage.gaussian_filter(rim + core, 0.2 * shape.diameter_mm / self.spacing)
        texture -= min(shape.diameter_mm / 80, 0.3) * middle
        bright = rng.uniform(1.1, 1.4)  # T1 of methaemoglobin
        level = sites.white_matter(placed.centre)
        for k, (name, image) in enumerate(zip(self.channels, self.images, strict=True)):
            blur = sites.blur[k]
            share = ndimage.gaussian_filter(rim + core, blur, mode="nearest")
            if name == "t1c":  # what no one could see is in no reference
                least = 0.08 if shape.kind == "faint" else _LEAST_CONTRAST
                rim_level[k] = max(rim_level[k], min(1 + least / max(float(share.max()), 0.05), _BRIGHTEST))
            signal = rim_level[k] * texture
            if bled is not None:
                blood = {"t1": bright, "t1c": max(bright, rim_level[k]), "t2": 0.8, "flair": 1.1}[name]
                signal = signal + bled * (blood - signal)
            drawn = rim * signal + core * (core_level[k] * (1 + 0.06 * patchy))
            drawn = ndimage.gaussian_filter(drawn, blur, mode="nearest")
            noise = ndimage.gaussian_filter(rng.standard_normal(share.shape, dtype=np.float32), blur)
            noise *= sites.noise[k] / max(float(noise.std()), 1e-6)
            value = image[box] * (1 - share) + drawn * level[k] + noise * share
            self._put(image, box, value, share > 0.01)

    def _levels(self, part: str, strength: float) -> np.ndarray:
        """Returns (C,) signal over white matter's: of the own tumour and as in glioma; contrast scaled."""
        own = self.sites.ratios.get(part)
        usual = [self.rng.uniform(*GLIOMA[part][name][::2]) for name in self.channels]
        told = np.array(usual) if own is None else 0.7 * own + 0.3 * np.array(usual)
        return np.maximum(1 + (told - 1) * strength, 0.2)

    def _tumour_levels(self, shape: LesionShape) -> np.ndarray:
        """Returns (C,) signal of enhancing tumour over white matter's."""
        rng = self.rng
        levels = self._levels("ET", 1.0)
        # Solid metastases are less bright in T2 and FLAIR than the rim of a glioma in its oedema.
        water = rng.uniform(0.25, 0.95)
        uptake = rng.uniform(1.08, 1.22) if shape.kind == "faint" else rng.uniform(1.25, 1.85)
        for k, name in enumerate(self.channels):
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
