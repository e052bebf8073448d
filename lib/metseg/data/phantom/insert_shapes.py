"""The shape of a synthetic metastasis: how much of each voxel is tumour, and how much necrotic core."""

from dataclasses import dataclass

import numpy as np

from metseg.data.phantom.anatomy import smooth_noise
from metseg.data.phantom.lesions import draw_diameters_mm

KINDS = ("solid", "ring", "irregular", "haemorrhagic", "faint")
SMALLEST_MM, LARGEST_MM = 1.5, 30.0
MOST_LESIONS = 30


@dataclass(frozen=True, eq=False)
class LesionShape:
    """One metastasis before it is cut into voxels.

    Attributes:
        kind: One of `KINDS`.
        diameter_mm: Of the ball of the same volume.
        lobes: (L, 4) balls (z, y, x, radius), in radii of that ball; the lesion is their union.
        frame: (3, 3) turns and stretches space, at constant volume.
        roughness: Of the surface, in radii.
        rim_mm: Thickness of the enhancing rim around the core; infinite without a core.
        oedema_mm: How far oedema reaches; 0 without.
    """

    kind: str
    diameter_mm: float
    lobes: np.ndarray
    frame: np.ndarray
    roughness: float
    rim_mm: float
    oedema_mm: float

    @property
    def reach_mm(self) -> float:
        """The farthest that the surface may lie from the centre."""
        return (0.62 if len(self.lobes) == 1 else 0.8) * self.diameter_mm * 1.2

    @property
    def room_mm(self) -> float:
        """How far from the brain's surface, ventricles and own tumour its centre must lie."""
        return (0.5 if len(self.lobes) == 1 else 0.65) * self.diameter_mm


def draw_count(rng: np.random.Generator) -> int:
    """Draws how many metastases a brain has, 1 to 30: median 5, mean 6.4, one alone in 15 %."""
    return int(min(1 + rng.negative_binomial(1, 1 / 6.5), MOST_LESIONS))


def draw_shapes(
    rng: np.random.Generator, count: int, *, within_mm: tuple[float, float] = (SMALLEST_MM, LARGEST_MM)
) -> list[LesionShape]:
    """Draws metastases, the largest first.

    Diameters are log-normal with a median of 5 mm and a spread of 0.65: 21 % are smaller than 3 mm, 61 %
    than 6 mm, 14 % larger than 10 mm. Oedema comes with size: half of those of 9.4 mm have it.

    Reference:
        Dikici et al. 2020, IEEE JBHI 24:2883 (arXiv:1908.04701): 932 metastases below 15 mm, of 5.5 ± 2.7
        mm, median 4.6. Schneider et al. 2017, PLoS ONE 12:e0177217: oedema of 1416 metastases, threshold
        9.4 mm, its volume grows with the lesion's.
    """
    diameters = draw_diameters_mm(rng, count, median_mm=5.0, spread=0.65, within_mm=within_mm)
    return [_draw_shape(rng, float(diameter)) for diameter in np.sort(diameters)[::-1]]


def _draw_shape(rng: np.random.Generator, diameter: float) -> LesionShape:
    # Necrosis and lobulation come with size; bleeding and faint uptake hardly do.
    large = np.clip((diameter - 6) / 10, 0, 1)
    odds = np.array(
        [1 - 0.6 * large, 1.6 * large, 0.15 + 0.7 * large, 0.1, 0.16 * (1 - 0.8 * large) * (diameter > 4)]
    )
    kind = KINDS[rng.choice(len(KINDS), p=odds / odds.sum())]
    lobes = np.array([[0, 0, 0, 1.0]])
    if kind == "irregular":
        count = rng.integers(2, 5)
        ways = rng.normal(size=(count, 3))
        ways *= rng.uniform(0.6, 0.95, (count, 1)) / np.linalg.norm(ways, axis=1, keepdims=True)
        lobes = np.vstack([[0, 0, 0, 0.7], np.column_stack([ways, rng.uniform(0.35, 0.6, count)])])
    frame = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    stretch = np.exp(rng.normal(0, 0.16, 3))
    rim = min(rng.uniform(1.3, 2.6) + rng.uniform(0.02, 0.09) * diameter, 0.3 * diameter)
    cored = kind == "ring" or (kind == "irregular" and diameter > 10 and rng.random() < 0.6)
    swollen = rng.random() < 0.04 + 0.94 / (1 + np.exp(-(diameter - 9.4) / 2.2))
    reach = min(rng.uniform(2, 5) + rng.uniform(0.2, 0.8) * diameter, 18.0)
    return LesionShape(
        kind=kind,
        diameter_mm=diameter,
        lobes=lobes,
        frame=frame * (stretch / np.cbrt(stretch.prod())),
        roughness=rng.uniform(0.06, 0.13) * (1.5 if kind == "irregular" else 1),
        rim_mm=float(rim) if cored else np.inf,
        oedema_mm=float(reach) if swollen else 0.0,
    )


def voxel_shares(
    rng: np.random.Generator,
    shape: LesionShape,
    offset: np.ndarray,
    half: np.ndarray,
    spacing_mm: np.ndarray,
    lattice: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what share of each voxel is tumour, and what share is core, both (Z, Y, X) float32 in [0, 1].

    The lesion is drawn on points at most an eighth of its diameter apart and averaged over each voxel. Its
    surface is moved so that it encloses the volume of the ball of its diameter.

    Args:
        rng: Source of randomness.
        shape: What to draw.
        offset: (3,) the lesion's centre, in voxels from the middle voxel's centre.
        half: (3,) voxels on each side of the middle one.
        spacing_mm: (3,) z, y, x.
        lattice: See `smooth_noise`.
    """
    fine = np.clip(np.ceil(8 * spacing_mm / shape.diameter_mm), 2, 16).astype(int)
    axes = [
        ((np.arange((2 * h + 1) * n) + 0.5) / n - h - 0.5 - o) * s
        for h, n, o, s in zip(half, fine, offset, spacing_mm, strict=True)
    ]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32)
    radius = shape.diameter_mm / 2
    turned = points @ shape.frame.astype(np.float32) / np.float32(radius)
    inside = np.max([r - np.linalg.norm(turned - np.float32(c), axis=-1)
                     for *c, r in shape.lobes.astype(np.float32)], axis=0)  # fmt: skip
    for scale, part in ((0.8, 1.0), (0.35, 0.6)):
        bumps = smooth_noise(rng, points, max(2.5, scale * shape.diameter_mm), lattice)
        inside += part * shape.roughness * bumps
    inside *= radius  # mm below the surface
    point_mm3 = float(np.prod(spacing_mm / fine))
    wanted = int(round(np.pi / 6 * shape.diameter_mm**3 / point_mm3))
    wanted = min(max(wanted, 1), inside.size - 1)
    inside -= np.partition(inside.ravel(), -wanted)[-wanted]
    edge = float(np.min(spacing_mm / fine))

    def averaged(depth: np.ndarray) -> np.ndarray:
        share = np.clip(depth / edge + 0.5, 0, 1)
        blocks = [n for h, f in zip(half, fine, strict=True) for n in (2 * h + 1, f)]
        return share.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32)

    tumour = averaged(inside)
    if not np.isfinite(shape.rim_mm):
        return tumour, np.zeros_like(tumour)
    wavy = 1 + 0.4 * smooth_noise(rng, points, max(4.0, 0.7 * shape.diameter_mm), lattice)
    wavy += 0.25 * smooth_noise(rng, points, max(3.0, 0.25 * shape.diameter_mm), lattice)
    return tumour, averaged(inside - shape.rim_mm * np.clip(wavy, 0.5, 2.5))
