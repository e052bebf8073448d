"""Drawn anatomy of the phantom: head, folded cortex, ventricles, deep grey nuclei.

Every structure is a signed distance in mm, painted from the outside in with an edge one pixel wide. Signals
are T1, FLAIR and post-contrast T1; scalp fat in T1 is about 1. A cartoon of an adult head, no atlas.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

# (T1, FLAIR, post-contrast T1). The order is what matters: T1 white > grey > CSF; FLAIR grey > white > CSF.
SCALP_FAT = (0.92, 0.55, 0.95)
SKIN = (0.42, 0.42, 0.50)
CORTICAL_BONE = (0.05, 0.05, 0.05)
MARROW = (0.40, 0.20, 0.45)
DURA = (0.22, 0.20, 0.42)
CSF = (0.15, 0.09, 0.16)
GREY = (0.41, 0.54, 0.45)
WHITE = (0.64, 0.39, 0.66)
DEEP_GREY = (0.49, 0.47, 0.53)
CHOROID = (0.34, 0.36, 0.84)

# One lateral ventricle, x > 0, as balls (x, y, z, radius in mm) joined by cones: frontal horn, body, atrium,
# occipital horn; then the temporal horn from the atrium.
_VENTRICLE = np.array(
    [
        *((10, 36, 1, 3.0), (8, 27, 6, 5.0), (7, 12, 15, 5.0), (9, -6, 20, 5.0)),
        *((15, -24, 17, 6.0), (23, -37, 7, 7.0), (24, -49, 2, 4.0), (22, -58, 1, 2.0)),
    ]
)
_TEMPORAL_HORN = np.array([(23, -37, 7, 6.0), (29, -24, -9, 3.5), (29, -4, -20, 3.0)])


@dataclass
class Anatomy:
    """One drawn head. Arrays are (Z, H, W) float32 unless said otherwise; distances are negative inside."""

    points_mm: np.ndarray  # (Z, H, W, 3): x (left-right), y (to the front), z (to the vertex)
    pixel_mm: float  # edge of one pixel
    age: float  # 0 (young, tight sulci) to 1 (wide sulci and ventricles, more white-matter disease)
    depth_mm: np.ndarray = field(init=False)  # under the smooth hull of the brain, negative outside
    cortex_mm: np.ndarray = field(init=False)  # under the folded pial surface, sulci and fissures included
    lateral_mm: np.ndarray = field(init=False)  # distance from the lateral ventricles
    ventricle_mm: np.ndarray = field(init=False)  # distance from all ventricles and the basal cistern
    signal: np.ndarray = field(init=False)  # (Z, H, W, 3), painted
    brain: np.ndarray = field(init=False)  # bool, inside the hull

    def paint(self, inside_mm, tissue: tuple[float, float, float], opacity=1.0, where=...) -> None:
        """Paints a tissue over the signal, fading over one pixel at its edge (partial volume).

        Args:
            inside_mm: Distance into the structure, negative outside; of the shape that `where` selects.
            tissue: (T1, FLAIR, post-contrast T1) signal.
            opacity: 0 to 1, a number or an array like `inside_mm`.
            where: Index of the voxels concerned.
        """
        alpha = np.clip(0.5 + inside_mm / self.pixel_mm, 0, 1) * opacity
        under = self.signal[where]
        self.signal[where] = under + alpha[..., None] * (np.asarray(tissue, np.float32) - under)


def noise_lattice(rng: np.random.Generator) -> np.ndarray:
    """Draws the periodic (48, 48, 48) lattice of unit variance that `smooth_noise` looks up."""
    lattice = gaussian_filter(rng.standard_normal((48, 48, 48), dtype=np.float32), 1.6, mode="wrap")
    return lattice / lattice.std()


def smooth_noise(
    rng: np.random.Generator, points_mm: np.ndarray, scale_mm: float, lattice: np.ndarray | None = None
) -> np.ndarray:
    """Draws band-limited noise of unit variance at (Z, H, W, 3) points; `scale_mm` is the size of a bump.

    A `lattice` that is given is looked up, turned and moved anew, which is quicker than to draw another.
    """
    if lattice is None:
        lattice = noise_lattice(rng)
    else:
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0].astype(np.float32)
        points_mm = points_mm @ turn + np.float32(12 * scale_mm * rng.random(3))
    # Slow noise is looked up on every n-th pixel and enlarged: the same picture in a fraction of the time.
    pixel_mm = np.linalg.norm(points_mm[0, 0, 1] - points_mm[0, 0, 0])
    step = int(np.clip(scale_mm / 5 / pixel_mm, 1, 8))
    coarse = np.moveaxis(points_mm[:, ::step, ::step], -1, 0) * (4.0 / scale_mm)
    values = map_coordinates(lattice, coarse, order=1, mode="grid-wrap")
    if step == 1:
        return values
    height_width = points_mm.shape[2:0:-1]
    return np.stack([cv2.resize(plane, height_width, interpolation=cv2.INTER_CUBIC) for plane in values])


def _chain_mm(points: np.ndarray, balls: np.ndarray) -> np.ndarray:
    """Returns the distance (mm, negative inside) to balls (x, y, z, radius) joined by cones."""
    nearest = None
    for start, end in zip(balls[:-1].astype(np.float32), balls[1:].astype(np.float32), strict=True):
        axis = end[:3] - start[:3]
        along = np.clip((points - start[:3]) @ axis / (axis @ axis), 0, 1)
        distance = np.linalg.norm(points - start[:3] - along[..., None] * axis, axis=-1)
        distance -= start[3] + along * (end[3] - start[3])
        nearest = distance if nearest is None else np.minimum(nearest, distance)
    return nearest


def _ellipsoid_mm(points: np.ndarray, centre, axes) -> np.ndarray:
    """Returns an approximate distance (mm, positive inside) to an ellipsoid."""
    scaled = np.linalg.norm((points - np.float32(centre)) / np.float32(axes), axis=-1)
    return (1 - scaled) * np.float32(min(axes))


def _head_points(rng, size: int, slices: int, pixel_mm: float, slice_mm: float) -> np.ndarray:
    """Places the pixel grid in the head: from below the ventricles to the vertex, a little askew."""
    columns = (np.arange(size) - (size - 1) / 2) * pixel_mm
    levels = 20 + (np.arange(slices) - (slices - 1) / 2) * slice_mm + rng.uniform(-3, 3)
    z, y, x = np.meshgrid(levels, -columns, columns, indexing="ij")
    turn, nod, shift = np.radians(rng.uniform(-7, 7)), rng.uniform(-0.08, 0.08), rng.uniform(-2.5, 2.5, 2)
    x, y = x + shift[0], y + shift[1]
    x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    grid = np.stack([x, y, z + nod * y], axis=-1) / rng.uniform(0.95, 1.04, 3)
    return grid.astype(np.float32)


def _hull_depth_mm(points: np.ndarray) -> np.ndarray:
    """Returns the depth under an egg-shaped hull (124 x 154 x 128 mm), measured towards its centre."""
    x, y, z = np.moveaxis(points, -1, 0)
    width = 62 * (1 - 0.10 * np.sin(np.clip(y, -77, 77) / 77 * 1.5))
    radius = (np.abs(x / width) ** 2.3 + np.abs(y / 77) ** 2.3 + np.abs(z / 64) ** 2.3) ** (1 / 2.3)
    radius = np.maximum(radius, 0.05)
    return np.linalg.norm(points, axis=-1) * (1 - radius) / radius


def _pial_depth_mm(rng, anatomy: Anatomy) -> np.ndarray:
    """Returns the depth under the folded surface.

    A sulcus is the zero surface of a noise that varies along the brain's surface and hardly with depth.
    """
    points, depth, pixel_mm = anatomy.points_mm, anatomy.depth_mm, anatomy.pixel_mm
    x, y, z = np.moveaxis(points, -1, 0)
    wander = smooth_noise(rng, points, 22)
    # The interhemispheric fissure, closed where the corpus callosum and the deep nuclei join the halves.
    rim = np.hypot((y + 4) / 74, np.maximum(z + 8, 0) / 52)
    fissure = np.maximum(np.abs(x + 0.8 * wander) - 0.5 - 0.8 * anatomy.age, (0.56 - rim) * 60)
    # The Sylvian fissure, a deep oblique cleft of the side below the body of the ventricle.
    sylvian = np.abs(y - 12 + 0.25 * (np.abs(x) - 40) - 0.5 * z + 3 * wander) - 1.0 - anatomy.age
    sylvian = np.maximum.reduce([sylvian, depth - 25, z - 10])
    surface = np.minimum.reduce([depth, fissure, sylvian])

    hemisphere = np.stack([np.sign(x) * 29, 0.6 * y, 5 + 0.4 * z], axis=-1)
    outward = points - hemisphere
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True) + 1
    bend = np.stack([smooth_noise(rng, points, 13) for _ in range(3)], axis=-1)
    folds = smooth_noise(rng, hemisphere + 34 * outward + 1.8 * bend, 8)
    across = np.hypot(*np.gradient(folds, pixel_mm, axis=(1, 2)))
    from_cleft = np.abs(folds) / (across + 0.35 * across[anatomy.brain].mean()) - 0.35 - 0.5 * anatomy.age
    # Sulci are of unequal depth, shallow in the walls of the Sylvian fissure, absent from the closed middle.
    reach = np.clip(14 + 5 * smooth_noise(rng, points, 13), 7, 24)
    medial = fissure + np.clip((0.64 - rim) * 150, 0, 12)
    opening = np.minimum.reduce([depth, medial, np.maximum(sylvian, 0) + 8])
    return np.minimum(surface, np.maximum(from_cleft, opening - reach))


def make_anatomy(
    rng: np.random.Generator, size: int, slices: int, pixel_mm: float, slice_mm: float
) -> Anatomy:
    """Draws one healthy head without cerebellum or face, (slices, size, size), above the skull base."""
    anatomy = Anatomy(_head_points(rng, size, slices, pixel_mm, slice_mm), pixel_mm, age=rng.uniform(0, 1))
    points, age = anatomy.points_mm, anatomy.age
    depth = anatomy.depth_mm = _hull_depth_mm(points) + 1.2 * smooth_noise(rng, points, 45)
    anatomy.brain = depth > 0
    cortex = anatomy.cortex_mm = _pial_depth_mm(rng, anatomy)
    anatomy.signal = np.zeros((*depth.shape, 3), np.float32)  # air

    bone = 6 + 0.8 * smooth_noise(rng, points, 40)
    rim = 1.5 + 2 * age
    fat = 4.5 + 1.2 * smooth_noise(rng, points, 45)
    anatomy.paint(depth + rim + bone + fat + 1.5, SKIN)
    anatomy.paint(depth + rim + bone + fat, SCALP_FAT)
    anatomy.paint(depth + rim + bone, CORTICAL_BONE)
    anatomy.paint(bone / 5 - np.abs(depth + rim + bone / 2), MARROW, opacity=0.8)
    anatomy.paint(depth + rim + 0.8, DURA)
    anatomy.paint(depth + rim, CSF)
    anatomy.paint(cortex, GREY)
    anatomy.paint(cortex - 3.0 - 0.4 * smooth_noise(rng, points, 9), WHITE)

    # Deep structures lie the same on both sides but for a smooth warp.
    deep = depth > 8
    warp = np.stack([smooth_noise(rng, points, 40)[deep] for _ in range(3)], axis=-1)
    inner = points[deep] + 1.3 * warp
    inner[:, 0] = np.abs(inner[:, 0])
    caudate = np.array([(12, 27, 0, 5.0), (14, 16, 10, 4.0), (16, 0, 19, 2.5), (20, -16, 19, 1.5)])
    anatomy.paint(-_chain_mm(inner, caudate), DEEP_GREY, where=deep)
    anatomy.paint(_ellipsoid_mm(inner, (10, -11, 0), (8, 14, 13)), DEEP_GREY, where=deep)
    slanted = inner + inner[:, 1:2] * np.float32((0.25, 0, 0))
    anatomy.paint(_ellipsoid_mm(slanted, (26, 5, -1), (6, 16, 14)), DEEP_GREY, where=deep)

    plumpness = 0.55 + 0.75 * age + rng.uniform(-0.1, 0.2)
    ventricle = np.minimum(
        _chain_mm(inner, _VENTRICLE * (1, 1, 1, plumpness)),
        _chain_mm(inner, _TEMPORAL_HORN * (1, 1, 1, 0.7 * plumpness)),
    )
    third = _ellipsoid_mm(inner, (0, -2, -6), (1.4 + 2 * age, 14, 11))
    anatomy.paint(third, CSF, where=deep)
    cistern = _ellipsoid_mm(inner, (0, -18, -27), (17, 18, 20))
    anatomy.paint(cistern, CSF, where=deep)
    anatomy.paint(_ellipsoid_mm(inner, (0, -12, -34), (17, 17, 32)), WHITE, where=deep)  # midbrain
    anatomy.paint(-ventricle, CSF, where=deep)
    plexus = np.array([(9, -4, 17, 0.9), (15, -24, 14, 1.6), (23, -36, 5, 2.6)]) * (1, 1, 1, 0.8 + 0.3 * age)
    anatomy.paint(np.minimum(-_chain_mm(inner + 0.8 * warp, plexus), -ventricle), CHOROID, where=deep)
    anatomy.lateral_mm, anatomy.ventricle_mm = np.full((2, *depth.shape), 60, np.float32)
    anatomy.lateral_mm[deep] = ventricle
    anatomy.ventricle_mm[deep] = np.minimum.reduce([ventricle, -third, -cistern])
    return anatomy
