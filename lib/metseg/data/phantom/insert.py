"""Synthetic metastases in real brains, with their exact labels.

What they stand for: small to medium round, ringed or lobed lesions that take up contrast, at likely places,
in a real scanner's noise and point spread, among real vessels, plexus and dura.

What they cannot stand for: no tissue is displaced, while a metastasis of 2 cm pushes gyri and ventricles. No
cyst with a fluid level, no blooming, no calcification, no treated or resected lesion, none of dura,
leptomeninges or ventricles. Oedema knows no tracts beyond the edge of white matter. Contrasts are those of
glioma, and so are the brains. A network that finds them all may miss real ones: no figure made with them is
one of metastases.
"""

from dataclasses import dataclass, field

import numpy as np

from metseg.data.grid import voxel_to_mm
from metseg.data.layouts.volumes import LAYOUTS
from metseg.data.phantom.insert_paint import Painter, PlacedLesion
from metseg.data.phantom.insert_shapes import draw_count, draw_shapes
from metseg.data.phantom.insert_sites import InsertionSites, find_sites
from metseg.data.phantom.visits import ET, NETC, SNFH
from metseg.data.volume import Labels, Volume

REGIONS = next(layout.regions for layout in LAYOUTS if layout.name == "BraTS")
RESECTION_CAVITY = 4


@dataclass(frozen=True)
class InsertedLesion:
    """One metastasis that was inserted.

    Attributes:
        number: From 1, the largest by its drawn diameter first.
        kind: See `insert_shapes.KINDS`.
        diameter_mm: Of the ball of the volume that was drawn, before it was cut into voxels.
        volume_mm3: Of its voxels in the mask: those at least half tumour, or the one with most if none is.
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
    painter = Painter(volume, sites, rng, out, marks, number_of)
    placed = [each for shape in shapes if (each := painter.place(shape))]
    for each in placed:
        painter.paint_oedema(each)
    for each in placed:
        painter.paint_tumour(each)
    notes = list(sites.notes)
    if len(placed) < len(shapes):
        notes.append(f"{len(shapes) - len(placed)} of {len(shapes)} metastases found no room.")
    lesions = [_entry(each, volume, sites, marks) for each in placed]
    changed = Volume(out, volume.channels, affine=volume.affine, spacing_mm=volume.spacing_mm)
    return Insertion(changed, Labels(marks, REGIONS), number_of, lesions, notes)


def _own_marks(labels: Labels | None, grid: tuple[int, int, int]) -> np.ndarray:
    """Returns the own tumour as METS numbers it, (Z, Y, X) uint8."""
    marks = np.zeros(grid, np.uint8)
    if labels is not None:
        marks[labels.masks.any(axis=0)] = SNFH
        for name, number in (("TC", NETC), ("ET", ET), ("RC", RESECTION_CAVITY)):
            if name in labels.regions:
                marks[labels.region(name)] = number
    return marks


def _entry(placed: PlacedLesion, volume: Volume, sites: InsertionSites, marks: np.ndarray) -> InsertedLesion:
    """Returns a lesion's line of the table, measured on its mask."""
    voxel_mm3 = float(np.prod(volume.spacing_mm))
    at = np.argwhere(placed.mask) + [a.start + b.start for a, b in zip(sites.box, placed.box, strict=True)]
    centroid = at.mean(axis=0)
    return InsertedLesion(
        number=placed.number,
        kind=placed.shape.kind,
        diameter_mm=placed.shape.diameter_mm,
        volume_mm3=len(at) * voxel_mm3,
        voxels=len(at),
        core_mm3=int((marks[tuple(at.T)] == NETC).sum()) * voxel_mm3,
        centroid_mm=None if volume.affine is None else tuple(voxel_to_mm(centroid, volume).tolist()),
        centroid_voxel=tuple(centroid.tolist()),
        oedema_mm3=placed.oedema_voxels * voxel_mm3,
    )
