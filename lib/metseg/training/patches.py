"""Patches of volumes, cut from a cache's slices and augmented anew in every epoch, as batches.

A case's slices lie one after the other in a cache: together they are its volume.
"""

from typing import NamedTuple

import numpy as np

from metseg.base.backend import keras
from metseg.base.errors import MetsegError
from metseg.inference.sliding_window import Patch, cut
from metseg.masks.components import label_lesions
from metseg.training.ahead import prepared_ahead
from metseg.training.augment import Augmentation, augment_patch
from metseg.training.cache import SliceCache
from metseg.training.config import TrainConfig

_KEPT = 256  # voxels of a lesion, evenly spaced, to centre patches on
_TRIES = 20  # at a voxel of the head
_AIR = 13  # grey values of 255 up to which a voxel is taken for air
_OFF_CENTRE = 4  # a lesion's voxel lies within a patch's side by this of the middle


class CaseVolume(NamedTuple):
    """One case in a cache."""

    patient_id: str
    first: int  # row
    depth: int  # slices
    lesions: list[np.ndarray]  # of each some voxels, (n, 3) as (z, y, x)


def case_volumes(cache: SliceCache, rows: np.ndarray) -> list[CaseVolume]:
    """Returns the cases of some rows of a cache, whole; of several regions the first one's lesions.

    Raises:
        MetsegError: A case is a slice alone.
    """
    found = []
    names = cache.slices.case_id.to_numpy()[rows]
    _, places, counts = np.unique(names, return_index=True, return_counts=True)
    for place, depth in sorted(zip(places, counts, strict=True)):
        first = int(rows[place])
        if depth == 1:
            raise MetsegError(f"{names[place]} is a slice alone, which is no volume; with slices set rank=2")
        mask = np.asarray(cache.masks[first : first + depth])
        numbers = label_lesions(mask if mask.ndim == 3 else mask[..., 0])
        voxels = np.argwhere(numbers)
        order = np.argsort(numbers[numbers > 0], kind="stable")
        each = (
            np.split(voxels[order], np.cumsum(np.bincount(numbers.ravel())[1:])[:-1]) if len(voxels) else []
        )
        few = [lesion[:: -(-len(lesion) // _KEPT)].astype(np.int16) for lesion in each]
        found.append(CaseVolume(str(cache.slices.patient_id.iloc[first]), first, int(depth), few))
    return found


class PatchBatches(keras.utils.PyDataset):
    """One epoch of patches of some cases.

    Every other patch holds a lesion near its middle: first a case is drawn, then a lesion of it, then a voxel
    of that, so that small lesions get their share. The others are from anywhere in a head. All follows from
    (seed, epoch, number of the patch) alone.
    """

    def __init__(
        self,
        cache: SliceCache,
        volumes: list[CaseVolume],
        *,
        patch_size: Patch,
        count: int,
        batch_size: int,
        augmentation: Augmentation | None,
        seed: int,
        epoch: int,
    ):
        super().__init__()
        self._cache, self._volumes, self._patch = cache, volumes, patch_size
        self._with_lesion = [each for each in volumes if each.lesions]
        self._count, self._batch_size = count, batch_size
        self._augmentation, self._seed = augmentation, (seed, epoch)

    def __len__(self) -> int:
        return -(-self._count // self._batch_size)

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns batch k: (B, Z, Y, X, 3) float32 in [0, 1] and (B, Z, Y, X, T) float32 in {0, 1}."""
        numbers = range(k * self._batch_size, min(self._count, (k + 1) * self._batch_size))
        images, masks = zip(*map(self._drawn, numbers), strict=True)
        return np.stack(images), np.stack(masks).astype(np.float32)

    def _drawn(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([*self._seed, number])
        if self._with_lesion and number % 2 == 0:
            case = self._with_lesion[rng.integers(len(self._with_lesion))]
            lesion = case.lesions[rng.integers(len(case.lesions))]
            off = [rng.integers(-(side // _OFF_CENTRE), side // _OFF_CENTRE + 1) for side in self._patch]
            middle = lesion[rng.integers(len(lesion))] + off
        else:
            case = self._volumes[rng.integers(len(self._volumes))]
            middle = self._of_head(case, rng)
        grid = np.array([case.depth, *self._cache.images.shape[1:3]])
        corner = np.clip(middle - np.array(self._patch) // 2, 0, np.maximum(grid - self._patch, 0))
        return self._cut(case, *map(int, corner), rng)

    def _of_head(self, case: CaseVolume, rng: np.random.Generator) -> np.ndarray:
        for _ in range(_TRIES):
            voxel = rng.integers([case.depth, *self._cache.images.shape[1:3]])
            if self._cache.images[case.first + voxel[0], voxel[1], voxel[2]].max() > _AIR:
                break
        return voxel

    def _cut(
        self, case: CaseVolume, z: int, y: int, x: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        depth, side, _ = self._patch
        rows = slice(case.first + z, case.first + min(z + depth, case.depth))
        images, masks = self._cache.images[rows], self._cache.masks[rows]
        if self._augmentation is None:
            images = images[:, y : y + side, x : x + side].astype(np.float32) / 255
            masks = masks[:, y : y + side, x : x + side]
        else:
            images, masks = augment_patch(images, masks, (y, x), side, self._augmentation, rng)
        masks = masks if masks.ndim == 4 else masks[..., None]
        return cut(images, (0, 0, 0), self._patch), cut(masks, (0, 0, 0), self._patch)

    def prepared_ahead(self):
        """Returns what `fit` takes, see `prepared_ahead`."""
        depths = 3, *(self._cache.masks.shape[3:] or (1,))
        return prepared_ahead(self, [(None, *self._patch, depth) for depth in depths])


def patch_batches(
    cache: SliceCache, volumes: list[CaseVolume], config: TrainConfig, *, epoch: int, most: int | None = None
) -> PatchBatches:
    """Returns an epoch of a training, or its first `most` patches, as many for each device."""
    learning = config.learning
    count = min(learning.epoch_patches, most or learning.epoch_patches)
    return PatchBatches(
        cache,
        volumes,
        patch_size=config.network.patch_size,
        count=max(learning.devices, count - count % learning.devices),
        batch_size=learning.batch_size,
        augmentation=config.augmentation if config.augmentation.augment else None,
        seed=learning.seed,
        epoch=epoch,
    )
