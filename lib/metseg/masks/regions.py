"""The regions of a tumour, each within the next: enhancing tumour, tumour core, whole tumour."""

from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np

from metseg.base.errors import MetsegError
from metseg.masks.postprocess import Postprocessing, volume_mask

NESTED = ("ET", "TC", "WT")  # from the innermost outward
# The parts of a label map by their number, as BraTS-METS has them since 2023.
PARTS = {
    1: "NETC, non-enhancing tumour core: TC without ET",
    2: "SNFH, surrounding non-enhancing FLAIR hyperintensity: WT without TC",
    3: "ET, enhancing tumour",
}


def region_for(wanted: str, known: Iterable[str]) -> str:
    """Returns which of a network's regions is held against a reference of this one: it, or the first."""
    known = list(known)
    return wanted if wanted in known else known[0]


def nested(masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns masks of regions that contain each other: ET lies in TC, TC in WT.

    A network's channels know nothing of each other. The first of the three stays as it is, so that the main
    region's lesions are the same wherever they are told; what it contains is cut to it, what contains it
    grows by it. Regions of other names stay as they are.

    Args:
        masks: {region: bool}, all of one shape, the main one first.
    """
    found, order = dict(masks), [name for name in NESTED if name in masks]
    place = order.index(next(name for name in masks if name in NESTED)) if order else 0
    for inner, outer in [*pairwise(order[: place + 1])][::-1]:
        found[inner] = found[inner] & found[outer]
    for inner, outer in pairwise(order[place:]):
        found[outer] = found[outer] | found[inner]
    return found


def region_masks(
    prob_maps: Mapping[str, np.ndarray], config: Postprocessing, min_share: float
) -> dict[str, np.ndarray]:
    """Returns the `nested` masks of (Z, H, W) probability maps, the main region's first.

    Lesions are those of the main region, so that `lesion_threshold` is for it alone.
    """
    extents = config.model_copy(update={"lesion_threshold": None})
    each = {name: volume_mask(prob_map, extents, min_share) for name, prob_map in prob_maps.items()}
    if config.lesion_threshold is not None:
        main = next(iter(prob_maps))
        each[main] = volume_mask(prob_maps[main], config, min_share)
    return nested(each)


def label_map(masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns `nested` masks of ET, TC and WT as one map, uint8: the numbers of `PARTS`, 0 elsewhere.

    Raises:
        MetsegError: Other regions are given.
    """
    complain_of_other_regions(masks)
    return np.select([masks["ET"], masks["TC"], masks["WT"]], [np.uint8(n) for n in (3, 1, 2)], np.uint8(0))


def complain_of_other_regions(names: Iterable[str]) -> None:
    """Raises a `MetsegError` unless these are the regions of a label map."""
    if set(names) != set(NESTED):
        text = f"a map of regions needs {', '.join(NESTED)}, but the network finds {', '.join(names)}"
        raise MetsegError(f"{text}; leave the map out, or train one with target=TC+ET+WT")
