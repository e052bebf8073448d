"""Which lesions of two visits are the same."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.grid import same_grid
from metseg.data.volume import Volume
from metseg.masks.measure import MeasuredLesion, measure_mask, to_mm

_LEAST_SHARE = 0.1  # of the smaller lesion; neighbours that a small shift lets touch are not one
_LEAST_SHOWN = 0.9  # of a lesion; of less it cannot be told what became of it
_LEAST_HEAD_OVERLAP = 0.9  # Dice; the same head in the same place has more, even by another scanner


@dataclass(frozen=True, eq=False)
class Visit:
    """One scan of the patient with its lesions.

    Attributes:
        name: What the user calls it: a date, or the scan's name.
        volume: The scan, on an axial grid.
        lesions: As measured.
        numbers: (Z, Y, X) int32: 0 outside, else the number of the lesion.
    """

    name: str
    volume: Volume
    lesions: tuple[MeasuredLesion, ...]
    numbers: np.ndarray

    @classmethod
    def of_mask(
        cls,
        name: str,
        volume: Volume,
        mask: np.ndarray,
        prob_map: np.ndarray | None = None,
        *,
        scored_from: float = 0,
    ) -> "Visit":
        """Measures a (Z, Y, X) bool mask on a volume's grid, see `measure_mask`.

        Raises:
            ValueError: It has another grid.
        """
        if mask.shape != volume.grid:
            raise ValueError(f"mask is {mask.shape} but the volume is {volume.grid}; give both on one grid")
        known = {"affine": volume.affine, "spacing_mm": volume.spacing_mm, "scored_from": scored_from}
        lesions, numbers = measure_mask(mask, prob_map, **known)
        return cls(name, volume, tuple(lesions), numbers)

    @property
    def slice_mm(self) -> float | None:
        """Distance of the slices; None where unknown."""
        return None if self.volume.spacing_mm is None else self.volume.spacing_mm[0]

    @property
    def affine(self) -> np.ndarray | None:
        """Voxel (x, y, z, 1) → mm; without orientation where the files tell the voxel size alone."""
        if self.volume.affine is not None or self.volume.spacing_mm is None:
            return self.volume.affine
        return np.diag([*self.volume.spacing_mm[::-1], 1.0])


class Matched(NamedTuple):
    """Lesions of two visits that are the same, and those whose place one of the visits does not show.

    Attributes:
        same: (former lesions, lesions now) bool.
        unseen_now: (former lesions,) bool: more than a tenth of it lies outside of the later scan.
        unseen_before: (lesions now,) bool: the same of the former scan.
    """

    same: np.ndarray
    unseen_now: np.ndarray
    unseen_before: np.ndarray


def match_visits(former: Visit, now: Visit, register: bool, margin_mm: float, notes: list[str]) -> Matched:
    """Tells the lesions of two visits that are the same, or parts of the same.

    They overlap, by a tenth of the smaller one at least, or lie beside each other and nothing else matches.

    Args:
        former, now: The visits.
        register: Align them by their pictures (rigid), not by their files' coordinates alone.
        margin_mm: How far apart, edge to edge, lesions that overlap none may lie.
        notes: What was assumed is added here, as sentences.

    Raises:
        MetsegError: The visits have neither coordinates nor one grid, or cannot be registered.
    """
    names = f"Visits {former.name} and {now.name}"
    if register:
        from metseg.reports.registration import register_rigid  # here, for it takes SimpleITK

        try:
            in_now = register_rigid(former.volume, now.volume)
        except MetsegError as error:
            raise MetsegError(f"{names}: {error}") from error
        in_now = np.linalg.inv(now.volume.affine) @ in_now @ former.volume.affine
        notes.append(f"{names} were registered by a rigid transform; check the pictures.")
    elif former.volume.affine is not None and now.volume.affine is not None:
        in_now = np.linalg.inv(now.affine) @ former.affine
        notes.append(
            f"{names} are aligned by their files' coordinates alone; ask for registration if the patient may "
            "have lain differently."
        )
    elif same_grid(former.volume, now.volume):  # neither has coordinates
        in_now = np.eye(4)
        notes.append(f"{names} have one grid and no coordinates; they are taken as aligned.")
    else:
        raise MetsegError(
            f"{names} have no common coordinates, nor one grid without any ({former.volume.grid}, "
            f"{now.volume.grid}); export both with their orientation, or on one grid"
        )
    overlap = _head_overlap(former.volume, now.volume, in_now)
    if overlap < _LEAST_HEAD_OVERLAP:
        notes.append(
            f"So aligned, the heads of {former.name} and {now.name} overlap by {100 * overlap:.0f} % only "
            "(Dice): lesions may be matched wrongly, and called new or gone."
        )
    there, shown_now = _shares(former.numbers, now.numbers, in_now)
    back, shown_before = _shares(now.numbers, former.numbers, np.linalg.inv(in_now))
    same = np.maximum(there, back.T) >= _LEAST_SHARE
    if now.affine is not None:
        _link_nearest(same, former, now, now.affine @ in_now, margin_mm, notes)
    return Matched(same, shown_now < _LEAST_SHOWN, shown_before < _LEAST_SHOWN)


def _head_overlap(former: Volume, now: Volume, in_now: np.ndarray) -> float:
    """Returns the Dice overlap of what is brighter than the mean, where both grids are; 1 without a head."""
    common = [name for name in now.channels if name in former.channels]
    if not common:
        return 1.0
    images = [each.array[each.channels.index(common[0])] for each in (former, now)]
    heads = [image > image.mean(dtype=np.float64) for image in images]
    coarse = tuple(slice(0, side, max(1, side // 64)) for side in former.grid)
    voxels = np.stack(np.mgrid[coarse], -1).reshape(-1, 3)
    there, within = _fall_into(voxels, in_now, now.grid)
    before, after = heads[0][tuple(voxels[within].T)], heads[1][tuple(there.T)]
    total = int(before.sum()) + int(after.sum())
    if total:
        return 2 * int((before & after).sum()) / total
    return 0.0 if any(head.any() for head in heads) else 1.0  # the grids share no place with a head


def _fall_into(voxels: np.ndarray, in_others: np.ndarray, grid: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Returns into which voxels of another grid these (n, 3) fall, and which of them fall within it."""
    there = np.rint(to_mm(voxels, in_others)[:, ::-1]).astype(int)
    within = ((there >= 0) & (there < grid)).all(axis=1)
    return there[within], within


def _shares(numbers: np.ndarray, others: np.ndarray, in_others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns which share of a lesion's voxels falls into each other one, and which into the others' grid."""
    voxels = np.argwhere(numbers)
    there, within = _fall_into(voxels, in_others, others.shape)
    hit = np.zeros(len(voxels), int)
    hit[within] = others[tuple(there.T)]
    of = numbers[tuple(voxels.T)]
    counts = np.zeros((int(numbers.max()) + 1, int(others.max()) + 1))
    np.add.at(counts, (of, hit), 1)
    voxels_of = counts[1:].sum(axis=1)
    shown = np.bincount(of[within], minlength=len(counts))[1:]
    return counts[1:, 1:] / voxels_of[:, None], shown / voxels_of


def _link_nearest(
    same: np.ndarray, former: Visit, now: Visit, to_now_mm: np.ndarray, margin_mm: float, notes: list[str]
) -> None:
    """Links each lesion now that has no former one to the nearest former one without successor."""
    from scipy.spatial import KDTree

    lost = np.flatnonzero(~same.any(axis=1)) + 1
    voxels = np.argwhere(np.isin(former.numbers, lost))
    if not len(voxels):
        return
    # Between corners, not centres: those of slices 5 mm apart that touch are never nearer than 5 mm.
    tree = KDTree(to_mm(_corners(voxels), to_now_mm))
    for found in np.flatnonzero(~same.any(axis=0)) + 1:
        corners = to_mm(_corners(np.argwhere(now.numbers == found)), now.affine)
        distance, nearest = tree.query(corners)
        if distance.min() <= margin_mm:
            before = former.numbers[tuple(voxels[nearest[distance.argmin()] // 8])]
            same[before - 1, found - 1] = True
            notes.append(
                f"Lesion {found} of {now.name} lies {distance.min():.1f} mm beside lesion {before} of "
                f"{former.name}, without overlap; they are taken as the same."
            )


def _corners(voxels: np.ndarray) -> np.ndarray:
    """Returns (8 n, 3): the corners of (n, 3) voxels, those of each one after the other."""
    around = np.stack(np.meshgrid(*[(-0.5, 0.5)] * 3), axis=-1).reshape(-1, 3)
    return (voxels[:, None] + around).reshape(-1, 3)
