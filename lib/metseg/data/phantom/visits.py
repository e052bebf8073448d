"""The phantom as volumes: the scans of one drawn patient, with all that is true of the lesions in them known.

Four sequences and the reference a visit, skull-stripped, in thick slices, turned in the scanner. A lesion is
a ball about the middle of a voxel and is cut by nothing, so that the centroid of its voxels is its centre.
"""

from dataclasses import dataclass, replace
from itertools import count

import cv2
import numpy as np

from metseg.data.grid import mm_to_voxel, voxel_to_mm
from metseg.data.phantom.anatomy import Anatomy, make_anatomy, smooth_noise
from metseg.data.phantom.lesions import OEDEMA, RING_FROM_MM, paint_vessels, paint_white_matter_disease
from metseg.data.volume import Volume

NETC, SNFH, ET = 1, 2, 3  # non-enhancing tumour core, FLAIR hyperintensity (oedema), enhancing tumour
SEQUENCES = ("t1", "t1c", "t2", "flair")
SMALLEST_MM = 1.5
WIDTH_MM, HEIGHT_MM = 168.0, 100.0  # of the field of view: the brain in a slice, and above the skull base
_GROWTH = 1.25  # of the largest lesion's diameter from visit to visit
_ROOM = 0.66  # of its diameter, that it has on each side: it may grow
_GAP_MM = 5.0  # between two lesions


@dataclass(frozen=True)
class TrueLesion:
    """One metastasis as it was drawn: a ball."""

    number: int  # of a patient's lesion, the same at each visit
    centre_mm: tuple[float, float, float]  # (x, y, z) in RAS+
    diameter_mm: float
    is_ring: bool  # with a necrotic core
    oedema_mm: float  # how far its oedema reaches into white matter; 0 without


@dataclass(frozen=True)
class PhantomVisit:
    """One scan: `volume`, int16, its channels `SEQUENCES`; `labels`, (Z, Y, X) uint8; and its lesions."""

    volume: Volume
    labels: np.ndarray
    lesions: list[TrueLesion]


def draw_visits(
    index: int,
    *,
    seed: int = 0,
    visits: int = 1,
    slices: int = 20,
    size: int = 112,
    tilt_degrees: float = 12.0,
) -> list[PhantomVisit]:
    """Draws one patient.

    From visit to visit the largest lesion grows by a quarter of its diameter, the smallest goes, the others
    stay and a new one comes. The head lies as it lay.

    Args:
        index: The patient's number. A patient depends on it and on `seed`, not on how many others are made.
        seed: Of the whole set.
        visits: How many.
        slices: How many axial slices; they span 100 mm.
        size: Height and width in voxels; they span 168 mm.
        tilt_degrees: By how much the head may be turned in the scanner about each axis.
    """
    rng, numbers = np.random.default_rng([seed, index, 3]), count(1)
    spacing_mm = np.array([HEIGHT_MM / slices, WIDTH_MM / size, WIDTH_MM / size])
    anatomy = make_anatomy(rng, size, slices, spacing_mm[2], spacing_mm[0])
    paint_white_matter_disease(rng, anatomy)
    paint_vessels(rng, anatomy, np.empty((0, 3)))
    healthy = anatomy.signal
    grid = Volume(
        anatomy.depth_mm[None], ("depth",), affine=_turned(rng, spacing_mm, slices, size, tilt_degrees)
    )
    smaller = np.clip(rng.lognormal(1.6, 0.5, rng.integers(1, 5)), 2, 11)
    wanted = sorted([SMALLEST_MM, *smaller, rng.uniform(12, 20)])
    lesions: list[TrueLesion] = []
    drawn = []
    for visit in range(visits):
        if visit:
            largest, *others = lesions
            lesions = [replace(largest, diameter_mm=_GROWTH * largest.diameter_mm), *others[:-1]]
            wanted = [rng.uniform(4, 8)]
        for diameter in reversed(wanted):
            lesions += _place(rng, anatomy, grid, diameter, lesions, next(numbers))
        lesions.sort(key=lambda lesion: -lesion.diameter_mm)
        anatomy.signal = healthy.copy()
        labels = _paint(rng, anatomy, grid, lesions)
        volume = Volume(_acquire(rng, anatomy), SEQUENCES, affine=grid.affine)
        drawn.append(PhantomVisit(volume, labels, list(lesions)))
    return drawn


def _turned(rng, spacing_mm: np.ndarray, slices: int, size: int, tilt_degrees: float) -> np.ndarray:
    """Returns an affine whose axes run to the left, the back and the head, turned and moved a little."""
    from scipy.spatial.transform import Rotation

    angles = rng.uniform(-tilt_degrees, tilt_degrees, 3)
    affine = np.eye(4)
    affine[:3, :3] = (
        Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * (-1, -1, 1) * spacing_mm[::-1]
    )
    middle = (np.array([size, size, slices]) - 1) / 2
    affine[:3, 3] = rng.uniform(-15, 15, 3) - affine[:3, :3] @ middle
    return affine


def _place(
    rng, anatomy: Anatomy, grid: Volume, diameter: float, others: list[TrueLesion], number: int
) -> list[TrueLesion]:
    """Draws a lesion apart from the others and from the brain's surfaces; none where there is no room.

    Most lie at the junction of grey and white matter.
    """
    room = _ROOM * diameter
    inside = (anatomy.depth_mm > room) & (anatomy.ventricle_mm > room)
    inside &= np.abs(anatomy.points_mm[..., 0]) > room  # it keeps to its side of the falx
    edge = int(np.ceil(room / grid.spacing_mm[0]))
    inside[:edge] = inside[-edge:] = False
    junction = inside & (np.abs(anatomy.cortex_mm - 3) < 1.2)
    places = np.argwhere(junction if junction.any() else inside)
    for centre in voxel_to_mm(rng.permutation(places)[:50], grid):
        gaps = [np.linalg.norm(centre - each.centre_mm) - _ROOM * each.diameter_mm for each in others]
        if all(gap > room + _GAP_MM for gap in gaps):
            ring = bool(diameter >= RING_FROM_MM)
            oedema = rng.uniform(4, 9) if ring or rng.random() < 0.3 else 0.0
            return [TrueLesion(number, tuple(centre.tolist()), float(diameter), ring, float(oedema))]
    return []


def _paint(rng, anatomy: Anatomy, grid: Volume, lesions: list[TrueLesion]) -> np.ndarray:
    """Paints oedema, tumour and necrotic core, and returns their labels, (Z, Y, X) uint8."""
    labels = np.zeros(grid.grid, np.uint8)
    fingers = smooth_noise(rng, anatomy.points_mm, 15)
    # Vasogenic oedema spreads along white matter and spares the cortex.
    white = np.clip((anatomy.cortex_mm - 2.2) / 1.5, 0, 1) * (anatomy.ventricle_mm > 0) * anatomy.brain
    inside = {}
    for lesion in lesions:
        middle = np.rint(mm_to_voxel(lesion.centre_mm, grid)).astype(int)
        reach_mm = lesion.diameter_mm / 2 + 1.6 * lesion.oedema_mm + 3
        reach = np.ceil(reach_mm / np.array(grid.spacing_mm)).astype(int)
        low, high = np.maximum(middle - reach, 0), np.minimum(middle + reach + 1, grid.grid)
        box = tuple(map(slice, low, high))
        steps_mm = (np.stack(np.mgrid[box], axis=-1) - middle) * grid.spacing_mm
        within = np.float32(lesion.diameter_mm / 2 - np.linalg.norm(steps_mm, axis=-1))
        inside[lesion] = box, within
        if lesion.oedema_mm:
            edge = lesion.oedema_mm * (1 + 0.4 * fingers[box])
            share = np.clip((edge + within) / 3 + 0.5, 0, 1) * white[box]
            anatomy.paint(np.float32(anatomy.pixel_mm), OEDEMA, opacity=0.9 * share, where=box)
            labels[box][share > 0.5] = SNFH
    for lesion, (box, within) in inside.items():
        enhancing = rng.uniform(0.40, 0.54), rng.uniform(0.45, 0.68), rng.uniform(0.82, 1.02)
        anatomy.paint(within, enhancing, where=box)
        labels[box][within >= 0] = ET
        if lesion.is_ring:
            core = within - (1.6 + 0.05 * lesion.diameter_mm)
            necrosis = 0.30, rng.uniform(0.28, 0.60), rng.uniform(0.26, 0.38)
            anatomy.paint(core, necrosis, where=box)
            labels[box][core >= 0] = NETC
    return labels


def _acquire(rng, anatomy: Anatomy) -> np.ndarray:
    """Returns (4, Z, Y, X) int16 images: blur, coil shading, a gain for each, Rician noise, and no skull."""
    t1, flair, t1c = np.moveaxis(anatomy.signal, -1, 0)
    # T2 is as FLAIR but for fluid, which shines; vessels are dark in both, and not in T1c.
    fluid = np.clip((0.36 - flair) / 0.27, 0, 1) * np.clip((0.6 - t1c) / 0.3, 0, 1)
    sharp = (t1, t1c, flair + 0.85 * fluid, flair)
    blurred = np.array([[cv2.GaussianBlur(plane, (0, 0), 0.5) for plane in each] for each in sharp])
    gain = rng.uniform(300, 500, (4, 1, 1, 1)).astype(np.float32)
    image = gain * blurred * np.exp(0.08 * smooth_noise(rng, anatomy.points_mm, 110))
    real, imaginary = rng.standard_normal((2, *image.shape), dtype=np.float32) * (0.02 * gain)
    return (np.hypot(image + real, imaginary) * anatomy.brain).round().astype(np.int16)
