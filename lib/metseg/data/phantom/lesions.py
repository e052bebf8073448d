"""What is bright in the phantom: metastases, and what is none, white-matter disease and vessels."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from metseg.data.phantom.anatomy import Anatomy, smooth_noise

MIN_DIAMETER_MM = 3.0
MAX_DIAMETER_MM = 25.0
MAX_LESIONS = 8
RING_FROM_MM = 8.0
# (T1, FLAIR, post-contrast T1)
OEDEMA = (0.47, 0.78, 0.49)
VESSEL = (0.30, 0.22, 0.92)  # flow void before contrast
WHITE_MATTER_LESION = (0.46, 0.72, 0.48)
_BRANCHES = 60  # vessels that pass no lesion


@dataclass(frozen=True)
class Lesion:
    """One metastasis."""

    centre_mm: np.ndarray  # (3,) in the head's frame
    diameter_mm: float  # of the ball of equal volume, before the surface is roughened
    frame: np.ndarray  # (3, 3) turns and stretches space so that the ellipsoid becomes that ball
    enhancing: tuple[float, float, float]  # signal in T1, FLAIR and post-contrast T1
    rim_mm: float  # thickness of the enhancing rim; infinite for a solid lesion
    oedema_mm: float  # how far the oedema reaches from the surface


def draw_diameters_mm(
    rng: np.random.Generator,
    count: int,
    *,
    median_mm: float = 7.5,
    spread: float = 0.6,
    within_mm: tuple[float, float] = (MIN_DIAMETER_MM, MAX_DIAMETER_MM),
) -> np.ndarray:
    """Draws lesion diameters: log-normal, redrawn into the stated range."""
    diameters = np.exp(rng.normal(np.log(median_mm), spread, (count, 50)))
    within = (diameters >= within_mm[0]) & (diameters <= within_mm[1])
    first = diameters[np.arange(count), within.argmax(1)]
    return np.where(within.any(1), first, np.clip(median_mm, *within_mm))


def place_lesions(rng: np.random.Generator, anatomy: Anatomy, slice_mm: float) -> list[Lesion]:
    """Draws the lesions of one patient, most near the grey-white junction, the others in deep white matter.

    Reference:
        Hwang et al. 1996, Cancer 77:1551: metastases gather at the grey-white junction.
    """
    slab = min(1.0, len(anatomy.depth_mm) * slice_mm / 80)
    count = min(1 + rng.negative_binomial(2.5, 2.5 / (2.5 + 5.5 * slab)), MAX_LESIONS)
    smallest = max(MIN_DIAMETER_MM, 2 * anatomy.pixel_mm)
    lesions: list[Lesion] = []
    for diameter in np.sort(np.maximum(draw_diameters_mm(rng, count), smallest))[::-1]:
        radius = diameter / 2
        if rng.random() < 0.8:
            suited = np.abs(anatomy.cortex_mm - 3.0) < 1.2
        else:
            suited = (anatomy.cortex_mm > 5) & (anatomy.ventricle_mm < 18)
        suited &= (anatomy.depth_mm > 0.75 * radius) & (anatomy.ventricle_mm > 0.8 * radius)
        suited &= np.abs(anatomy.points_mm[..., 0]) > 0.7 * radius  # it keeps to its side of the falx
        candidates = anatomy.points_mm[suited]
        for _ in range(20 if len(candidates) else 0):
            # Slices lie several mm apart: a lesion is centred so that the middle of a slice cuts through it.
            centre = candidates[rng.integers(len(candidates))].astype(float)
            centre[2] += rng.uniform(-0.5, 0.5) * min(slice_mm, 0.9 * radius)
            gaps = [np.linalg.norm(centre - each.centre_mm) - each.diameter_mm / 2 for each in lesions]
            if all(gap > radius + 5 for gap in gaps):
                lesions.append(_draw_lesion(rng, centre, diameter))
                break
    return lesions


def _draw_lesion(rng: np.random.Generator, centre: np.ndarray, diameter: float) -> Lesion:
    """Draws shape, enhancement, rim and oedema of one lesion."""
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    stretch = np.exp(rng.normal(0, 0.14, 3))
    frame = turn * (stretch / np.cbrt(stretch.prod()))
    post = rng.uniform(0.74, 0.82) if rng.random() < 0.3 else rng.uniform(0.82, 1.02)
    enhancing = (rng.uniform(0.40, 0.54), rng.uniform(0.45, 0.68), post)
    ring = diameter > RING_FROM_MM and rng.random() < 0.85
    rim = rng.uniform(1.6, 2.2) + 0.05 * diameter if ring else np.inf
    # Oedema bears little relation to the size of the lesion, and small lesions often have none.
    swollen = rng.random() < np.clip(0.25 + 0.06 * diameter, 0, 0.85)
    reach = rng.uniform(4, 9) + 0.5 * diameter * rng.random() if swollen else 0.0
    return Lesion(centre, float(diameter), frame.astype(np.float32), enhancing, float(rim), float(reach))


def paint_lesions(rng: np.random.Generator, anatomy: Anatomy, lesions: list[Lesion]) -> np.ndarray:
    """Paints oedema, then enhancing tumour and necrotic core; returns these two as a (Z, H, W) bool mask."""
    points, shape = anatomy.points_mm, anatomy.depth_mm.shape
    rough, fingers = smooth_noise(rng, points, 6), smooth_noise(rng, points, 15)
    # Vasogenic oedema spreads along white matter and spares the cortex.
    spread = np.clip((anatomy.cortex_mm - 2.2) / 1.5, 0.08, 1) * (anatomy.ventricle_mm > 0) * anatomy.brain
    inside, oedema = [], np.zeros(shape, np.float32)
    for lesion in lesions:
        reach = lesion.diameter_mm + 2.5 * lesion.oedema_mm + 3
        box = _box_around(points, lesion.centre_mm, reach)
        radius = lesion.diameter_mm / 2
        distance = np.linalg.norm((points[box] - np.float32(lesion.centre_mm)) @ lesion.frame, axis=-1)
        inside.append((lesion, box, radius * (1 + 0.10 * rough[box]) - distance))
        if lesion.oedema_mm:
            edge = lesion.oedema_mm * (1 + 0.5 * fingers[box]) + 1.3 * rough[box]
            share = np.clip((edge + inside[-1][2]) / 3 + 0.5, 0, 1)
            oedema[box] = np.maximum(oedema[box], share * spread[box])
    swollen = oedema > 0
    anatomy.paint(np.float32(anatomy.pixel_mm), OEDEMA, opacity=0.9 * oedema[swollen], where=swollen)

    mask = np.zeros(shape, bool)
    for lesion, box, within in inside:
        # The tumour pushes neither bone nor ventricle: what would lie there is cut off.
        within = np.minimum.reduce([within, anatomy.depth_mm[box] - 0.5, anatomy.ventricle_mm[box]])
        anatomy.paint(within, lesion.enhancing, where=box)
        if np.isfinite(lesion.rim_mm):
            necrosis = (0.30, rng.uniform(0.28, 0.60), rng.uniform(0.26, 0.38))
            anatomy.paint(within - lesion.rim_mm * (1 + 0.22 * fingers[box]), necrosis, where=box)
        mask[box] |= within >= 0
    return mask


def _box_around(points: np.ndarray, centre: np.ndarray, reach_mm: float) -> tuple[slice, slice, slice]:
    """Returns the smallest index box that holds all points within `reach_mm` along each axis of the head."""
    near = (np.abs(points - np.float32(centre)) < reach_mm).all(axis=-1)
    box = []
    for axis in range(3):
        hit = np.flatnonzero(near.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(hit[0], hit[-1] + 1) if len(hit) else slice(0, 0))
    return tuple(box)


def paint_white_matter_disease(rng: np.random.Generator, anatomy: Anatomy) -> None:
    """Paints FLAIR-bright periventricular caps and punctate spots, which grow with age.

    Reference:
        Fazekas et al. 1987, AJR 149:351: caps around the horns and punctate to confluent foci.
    """
    burden = np.clip(anatomy.age + rng.normal(0, 0.25), 0, 1.2)
    patchy = smooth_noise(rng, anatomy.points_mm, 16)
    deep = np.minimum(anatomy.ventricle_mm, anatomy.cortex_mm - 3)
    caps = np.minimum(0.5 + 2.5 * burden + 1.5 * patchy - anatomy.lateral_mm, anatomy.ventricle_mm)
    anatomy.paint(caps, WHITE_MATTER_LESION, opacity=0.65)
    spots = smooth_noise(rng, anatomy.points_mm, 9)
    anatomy.paint(np.minimum((spots - 3.1 + 0.9 * burden) * 4, deep), WHITE_MATTER_LESION, opacity=0.85)


def paint_vessels(rng: np.random.Generator, anatomy: Anatomy, touched_mm: np.ndarray) -> None:
    """Paints the sagittal sinus and vessels that run in from the surface, bright after contrast.

    Some pass the (N, 3) points `touched_mm`, which are the edges of lesions.
    """
    points, depth = anatomy.points_mm, anatomy.depth_mm
    x, y, z = np.moveaxis(points, -1, 0)
    sinus = np.where(y < 0, 3.2, 1.4 + 0.02 * np.maximum(z, 0)) - np.hypot(x, (depth + 1) * 0.8)
    anatomy.paint(sinus, VESSEL)

    starts = np.concatenate(
        [rng.permutation(points[np.abs(anatomy.cortex_mm) < 1.2])[:_BRANCHES], touched_mm]
    )
    heading = -starts * (1, 0.8, 0.5) / np.linalg.norm(starts, axis=1, keepdims=True)
    paths, position = [], starts.copy()
    for _ in range(40):  # steps of 0.8 mm
        heading += rng.normal(0, 0.22, heading.shape)
        heading /= np.linalg.norm(heading, axis=1, keepdims=True)
        position = position + 0.8 * heading
        paths.append(position)
    length, calibre = rng.integers(12, 40, len(starts)), rng.uniform(0.6, 1.25, len(starts))
    kept = np.arange(40)[:, None] < length
    radius = (calibre * np.linspace(1, 0.6, 40)[:, None])[kept]
    # A slice is thick: a vessel shows although it runs a little above or below the slice's middle.
    thick = np.float32((1, 1, 0.5))
    near = (depth > -1) & (anatomy.ventricle_mm > 0)
    tree = cKDTree(np.stack(paths)[kept] * thick)
    distance, which = tree.query(points[near] * thick, distance_upper_bound=3.0)
    tubes = np.append(radius, 0)[which] - np.minimum(distance, 9)  # with no vessel near, distance is infinite
    anatomy.paint(tubes.astype(np.float32), VESSEL, opacity=0.95, where=near)
