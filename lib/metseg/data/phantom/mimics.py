"""What is bright in the phantom and no metastasis: white-matter disease in FLAIR, vessels after contrast."""

import numpy as np
from scipy.spatial import cKDTree

from metseg.data.phantom.anatomy import Anatomy, smooth_noise

VESSEL = (0.30, 0.22, 0.92)  # (T1, FLAIR, post-contrast T1): flow void before contrast
WHITE_MATTER_LESION = (0.46, 0.72, 0.48)
_BRANCHES = 60  # vessels that pass no lesion


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
