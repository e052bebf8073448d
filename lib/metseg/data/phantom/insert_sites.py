"""Where in a real brain a metastasis may grow, and what its scanner and tissue are like; once a volume.

Tissue is told from T1 (else post-contrast T1): smoothed, freed of slow shading, three classes by k-means.
CSF more than 12 mm below the brain's surface counts as ventricle. The grey-white junction is the surface of
white matter within 25 mm of the brain's. No atlas is used; the border zones are boxes in the head's own
proportions.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from metseg.base.errors import MetsegError
from metseg.data.grid import voxel_to_mm
from metseg.data.phantom.point_spread import noise_level, point_spread
from metseg.data.volume import Labels, Volume
from metseg.masks.components import label_lesions

# Hwang et al. 1996, Cancer 77:1551: 64 % of 210 metastases at the grey-white junction, and 62 % in border
# zones, which are 29 % of the area: a place in them is 4 times as likely. Deep white matter is spared.
_SHARES = {"junction": 0.68, "deep white matter": 0.10, "grey matter": 0.22}
_BORDER_ZONE = 4.0
_MOST_PLACES = 60_000
_VENTRICLE_DEPTH_MM, _JUNCTION_DEPTH_MM = 12.0, 25.0
_COARSE_MM, _SHADING_MM = 4.0, 18.0
_ENOUGH = 500  # voxels, for a median


@dataclass(frozen=True, eq=False)
class InsertionSites:
    """What `insert_metastases` needs of a volume; arrays are those of the brain's box.

    Attributes:
        box: The brain's box in the volume.
        places: (N, 3) int voxels (z, y, x) of the box at which a lesion may lie.
        weight: (N,) how likely each is.
        room_mm: (N,) the radius that fits there: within the brain, beside ventricles, falx and own tumour.
        white: (Z, Y, X) float16, the share of white matter.
        free: (Z, Y, X) bool: brain that is neither ventricle nor near the own tumour.
        fluid: (Z, Y, X) bool: CSF, that of sulci and cisterns included.
        level: (C, z, y, x) the sequences' signal in white matter nearby, every `step` voxels.
        step: (3,) voxels.
        ratios: {"ET", "NETC", "SNFH": (C,)} median signal of the own tumour's parts over white matter's;
            a part of less than 500 voxels is left out.
        blur: (C, 3) voxels: standard deviation of each sequence's point spread along z, y, x.
        noise: (C,) standard deviation in even white matter.
        notes: What could not be known, as sentences.
    """

    box: tuple[slice, slice, slice]
    places: np.ndarray
    weight: np.ndarray
    room_mm: np.ndarray
    white: np.ndarray
    free: np.ndarray
    fluid: np.ndarray
    level: np.ndarray
    step: np.ndarray
    ratios: dict[str, np.ndarray]
    blur: np.ndarray
    noise: np.ndarray
    notes: list[str] = field(default_factory=list)

    def white_matter(self, voxel: np.ndarray) -> np.ndarray:
        """Returns (C,): the signal of white matter around a voxel of the box."""
        z, y, x = np.minimum(np.asarray(voxel) / self.step, np.array(self.level.shape[1:]) - 1).astype(int)
        return self.level[:, z, y, x]


def find_sites(
    volume: Volume, labels: Labels | None = None, *, brain: np.ndarray | None = None, margin_mm: float = 10.0
) -> InsertionSites:
    """Finds where metastases may be inserted.

    Args:
        volume: With `t1c`, and any of `t1`, `t2` and `flair`.
        labels: Its own tumour, if any. It, `margin_mm` around it and its mirror image are kept free.
        brain: (Z, Y, X) bool; if left out, what is not 0, of a skull-stripped scan.
        margin_mm: Least distance from the own tumour's edge.

    Raises:
        MetsegError: There is no post-contrast T1, the skull is in the scan, or the voxels' size is unknown.
    """
    if "t1c" not in volume.channels or volume.spacing_mm is None:
        missing = "voxel size" if "t1c" in volume.channels else "post-contrast T1 (t1c)"
        raise MetsegError(f"metastases cannot be inserted into a scan of unknown {missing}; give it")
    if brain is None:
        brain = (volume.array != 0).any(axis=0)
        if brain.mean() > 0.9:
            raise MetsegError("the scan is not skull-stripped; give a brain mask, or the stripped scan")
    if not brain.any():
        raise MetsegError("the scan shows no brain; give another scan or brain mask")
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    found = label_lesions(brain[box])
    brain = ndimage.binary_fill_holes(found == 1 + np.bincount(found.ravel())[1:].argmax())
    spacing, images = np.array(volume.spacing_mm), volume.array[(slice(None), *box)]
    own = np.zeros(brain.shape, bool) if labels is None else labels.array[box] > 0
    from_own = _distance(~own, spacing)
    depth = _distance(np.pad(brain, 1), spacing)[1:-1, 1:-1, 1:-1]  # a cut slab ends where its slices do

    structural = images[volume.channels.index("t1" if "t1" in volume.channels else "t1c")]
    normal = brain & (from_own > margin_mm)
    if not (normal & (depth > 3)).any():
        raise MetsegError("the own tumour leaves no brain to insert metastases into; give another scan")
    white, csf = _tissue(structural, normal & (depth > 3), spacing)
    fluid, count = ndimage.label(csf & (depth > _VENTRICLE_DEPTH_MM))
    large = np.bincount(fluid.ravel(), minlength=count + 1) * spacing.prod() > 150
    ventricle = large[fluid] & (fluid > 0)
    sure = ndimage.binary_erosion(white > 0.8) & normal
    if sure.sum() < _ENOUGH:
        raise MetsegError("white matter cannot be told in the scan; give its brain mask or another scan")
    step = np.maximum(np.rint(_COARSE_MM / spacing), 1).astype(int)
    level = np.stack([_local_level(image, sure, step, spacing) for image in images])

    free = normal & ~ventricle
    room = np.minimum.reduce([depth, _distance(~ventricle, spacing) - 2, from_own - margin_mm])
    notes, zone = [], np.zeros(brain.shape, bool)
    if volume.affine is None:
        notes.append("Unknown orientation: neither the falx nor border zones were respected.")
    else:
        beside, zone = _head_places(volume, box, brain)
        room = np.minimum(room, beside)
        room[_mirrored(own, volume, brain)] = 0
    near = depth < _JUNCTION_DEPTH_MM
    sized = np.maximum(np.rint(1.2 / spacing), 1).astype(int)
    edge = ndimage.grey_dilation(white, sized * 2 + 1) - ndimage.grey_erosion(white, sized * 2 + 1) > 0.6
    kinds = {
        "junction": edge & near & (white > 0.2) & (depth > 2),
        "deep white matter": (white > 0.8) & ~near,
        "grey matter": (white < 0.4) & ~csf & (depth > 1),
    }
    weight = np.zeros(brain.shape, np.float32)
    for name, mask in kinds.items():
        mask &= free & (room > 0.5)
        raw = np.where(zone, _BORDER_ZONE, 1.0)[mask]
        weight[mask] += _SHARES[name] * raw / max(raw.sum(), 1e-9)
    places = np.argwhere(weight > 0)
    if not len(places):
        raise MetsegError("no place is left for a metastasis in the scan; give another scan")
    places = places[:: -(-len(places) // _MOST_PLACES)]
    return InsertionSites(
        box=box,
        places=places,
        weight=weight[tuple(places.T)].astype(float),
        room_mm=room[tuple(places.T)],
        white=white.astype(np.float16),
        free=free,
        fluid=csf,
        level=level,
        step=step,
        ratios=_own_ratios(images, labels, box, level, step),
        blur=np.stack([point_spread(image, brain, spacing) for image in images]),
        noise=np.array([noise_level(image, sure) for image in images]),
        notes=notes,
    )


def _distance(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Returns the mm to the nearest voxel outside a mask; 1000 where the mask is the whole array."""
    if mask.all():
        return np.full(mask.shape, 1e3, np.float32)
    return ndimage.distance_transform_edt(mask, spacing).astype(np.float32)


def _local_level(image: np.ndarray, mask: np.ndarray, step, spacing: np.ndarray) -> np.ndarray:
    """Returns the mean of the image over a mask nearby, every `step` voxels."""
    every = tuple(slice(None, None, each) for each in step)
    sigma = _SHADING_MM / (spacing * step)
    share = ndimage.gaussian_filter(mask[every].astype(np.float32), sigma)
    total = ndimage.gaussian_filter(np.where(mask, image, 0)[every].astype(np.float32), sigma)
    usual = np.median(image[mask])
    return ((total + 1e-3 * usual) / (share + 1e-3)).astype(np.float32)


def _tissue(image: np.ndarray, normal: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the share of white matter, (Z, Y, X) float32 in [0, 1], and where CSF is, bool."""
    smooth = ndimage.gaussian_filter(image.astype(np.float32), 0.6 / spacing)
    step = np.maximum(np.rint(_COARSE_MM / spacing), 1).astype(int)
    bright = normal & (smooth > np.median(smooth[normal])) & (smooth < np.percentile(smooth[normal], 99))
    shading = _local_level(smooth, bright, step, spacing)
    smooth /= ndimage.affine_transform(shading, 1 / step, output_shape=image.shape, order=1, mode="nearest")
    values = smooth[normal][::7]
    centres = np.percentile(values, (5, 35, 75))
    for _ in range(20):
        nearest = np.abs(values[:, None] - centres).argmin(axis=1)
        centres = np.array([np.median(values[nearest == k]) if (nearest == k).any() else c
                            for k, c in enumerate(centres)])  # fmt: skip
    fluid, grey, bright = centres
    white = np.clip(1.5 * (smooth - grey) / max(bright - grey, 1e-6) - 0.25, 0, 1)
    return white, smooth < (fluid + grey) / 2


def _head_places(volume: Volume, box, brain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns each voxel's distance from the median plane in mm, and whether it lies in a border zone.

    The plane is sagittal, through the brain's middle. Zones, as rough as that: between the anterior and the
    middle cerebral artery a parasagittal strip of the convexity, between middle and posterior the parieto-
    occipital wedge.
    """
    start = np.array([each.start for each in box])
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in brain.shape), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(voxel_to_mm(grid + start, volume).astype(np.float32), -1, 0)
    low, high = np.percentile(np.stack([x, y, z])[:, brain][:, ::11], (1, 99), axis=1)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, 1e-3)
    aside, ahead, above = (
        np.abs(x - middle[0]) / half[0],
        (y - middle[1]) / half[1],
        (z - middle[2]) / half[2],
    )
    strip = (np.abs(aside - 0.42) < 0.16) & (above > 0.05)
    wedge = (np.abs(aside - 0.62) < 0.25) & (np.abs(ahead + 0.6) < 0.25) & (np.abs(above) < 0.5)
    return np.abs(x - middle[0]) - 1, strip | wedge


def _mirrored(own: np.ndarray, volume: Volume, brain: np.ndarray) -> np.ndarray:
    """Returns a mask mirrored across the brain's middle, along the voxel axis nearest to left-right."""
    axis = 2 - int(np.abs(volume.affine[0, :3]).argmax())
    filled = np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis})))
    turned = np.flip(own, axis)
    return np.roll(turned, int(filled[0] + filled[-1] - own.shape[axis] + 1), axis)


def _own_ratios(images, labels: Labels | None, box, level: np.ndarray, step) -> dict[str, np.ndarray]:
    if labels is None or not {"ET", "TC", "WT"} <= labels.regions.keys():
        return {}
    enhancing, core, whole = (labels.region(name)[box] for name in ("ET", "TC", "WT"))
    ratios = {}
    for name, mask in {"ET": enhancing, "NETC": core & ~enhancing, "SNFH": whole & ~core}.items():
        inner = ndimage.binary_erosion(mask)
        if inner.sum() >= _ENOUGH:
            at = np.minimum(np.argwhere(inner) // step, np.array(level.shape[1:]) - 1)
            ratios[name] = np.median(images[:, inner] / level[(slice(None), *at.T)], axis=1)
    return ratios
