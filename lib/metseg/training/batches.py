"""Training slices, shuffled and augmented anew in every epoch, as batches."""

import cv2
import numpy as np

from metseg.base.backend import keras
from metseg.training.ahead import prepared_ahead
from metseg.training.augment import Augmentation, augment_pair
from metseg.training.cache import SliceCache
from metseg.training.config import Learning
from metseg.training.copy_paste import paste_lesion

_TRIES = 20  # at a pixel of the head
_AIR = 0.05  # grey up to which a pixel is taken for air


def drawn_rows(cache: SliceCache, rows: np.ndarray, config: Learning, *, epoch: int) -> np.ndarray:
    """Returns those of some rows of a cache that one epoch learns from.

    These are all slices with lesion, and of those without: none (`exclude_empty`), as many as there are
    with, drawn anew in each epoch (`balance_empty`), or all.
    """
    has_lesion = cache.slices.lesion_px.to_numpy()[rows] > 0
    lesion, empty = rows[has_lesion], rows[~has_lesion]
    if config.exclude_empty:
        return lesion
    if config.balance_empty and 0 < len(lesion) < len(empty):
        empty = np.random.default_rng([config.seed, epoch]).choice(empty, len(lesion), replace=False)
    return np.concatenate([lesion, empty])


def resized(images: np.ndarray, masks: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Shrinks (B, S, S, C) slices with their (B, S, S) or (B, S, S, T) masks to a side that divides S.

    Images become the means over the pixels that become one; masks are true where at least half of them are.
    """
    factor = images.shape[1] // size
    if factor == 1:
        return images, masks
    places = [(y, x) for y in range(factor) for x in range(factor)]
    mean = sum(images[:, y::factor, x::factor] for y, x in places) / np.float32(len(places))
    count = sum(masks[:, y::factor, x::factor].astype(np.uint8) for y, x in places)
    return mean, 2 * count >= len(places)


def by_region(masks: np.ndarray) -> np.ndarray:
    """Returns the masks of a cache as (B, S, S, T), also where there is one region."""
    return masks if masks.ndim == 4 else masks[..., None]


class EpochBatches(keras.utils.PyDataset):
    """One epoch over some slices of a cache.

    Order and augmentation follow from (seed, epoch, slice) alone, so an epoch is the same whether or not
    the training was interrupted before it.
    """

    def __init__(
        self,
        cache: SliceCache,
        rows: np.ndarray,
        *,
        size: int | None = None,
        patch: int = 0,
        batch_size: int,
        augmentation: Augmentation | None,
        seed: int,
        epoch: int,
        devices: int = 1,
    ):
        super().__init__()
        self._cache = cache
        order = np.random.default_rng([seed, epoch]).permutation(rows)
        self._order = order[: len(order) - len(order) % devices]  # a device without a slice has no loss
        self._size = cache.masks.shape[1] if size is None else size
        self._patch = patch or self._size
        self._batch_size, self._augmentation, self._seed = batch_size, augmentation, (seed, epoch)
        self._donors = self._order[cache.slices.lesion_px.to_numpy()[self._order] > 0]

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns batch k: (B, S, S, C) float32 in [0, 1] and (B, S, S, T) float32 in {0, 1}.

        S is `patch`, or else `size`; T is the number of regions.
        """
        rows = self._order[k * self._batch_size : (k + 1) * self._batch_size]
        images, masks = self._slices(rows)
        if self._augmentation is not None or self._patch < self._size:
            made = [self._made(*each) for each in zip(images, masks, rows, strict=True)]
            images, masks = map(np.stack, zip(*made, strict=True))
        return images, by_region(masks).astype(np.float32)

    def _made(self, image: np.ndarray, mask: np.ndarray, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns one pair as it is learned from, augmented and cut."""
        rng = np.random.default_rng([*self._seed, row])
        if self._augmentation is not None:
            image, mask = self._pasted_into(image, mask, rng)
        y, x = self._corner(image, mask, rng) if self._patch < self._size else (0, 0)
        if self._augmentation is not None:
            return augment_pair(image, mask, self._augmentation, rng, corner=(y, x), side=self._patch)
        window = slice(y, y + self._patch), slice(x, x + self._patch)
        return image[window], mask[window]

    def _corner(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draws a patch's first row and column: every other one holds a lesion near its middle, if there is
        any, and lesions small and large are drawn alike; the others are from anywhere in the head."""
        count, numbers = cv2.connectedComponents(by_region(mask[None])[0, ..., 0].astype(np.uint8))
        if count > 1 and rng.random() < 0.5:
            pixels = np.argwhere(numbers == rng.integers(1, count))
            off = self._patch // 4
            middle = pixels[rng.integers(len(pixels))] + rng.integers(-off, off + 1, 2)
        else:
            for _ in range(_TRIES):
                middle = rng.integers(self._size, size=2)
                if image[tuple(middle)].max() > _AIR:
                    break
        return np.clip(middle - self._patch // 2, 0, self._size - self._patch)

    def _slices(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Shrunk before they are augmented, which costs less the smaller they are.
        return resized(self._cache.network_input(rows), np.array(self._cache.masks[rows]), self._size)

    def _pasted_into(
        self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        # A number is drawn only where it is needed: without pasting an epoch stays what it was.
        wanted = self._augmentation.copy_paste
        if wanted == 0 or rng.random() >= wanted or not len(self._donors):
            return image, mask
        [donor], [donor_mask] = self._slices(self._donors[[rng.integers(len(self._donors))]])
        return paste_lesion(image, mask, *augment_pair(donor, donor_mask, self._augmentation.moves, rng), rng)

    def prepared_ahead(self):
        """Returns what `fit` takes, see `prepared_ahead`."""
        channels = self._cache.images.shape[-1] * (1 + 2 * self._cache.neighbours)
        depths, side = (channels, *(self._cache.masks.shape[3:] or (1,))), (None, self._patch, self._patch)
        return prepared_ahead(self, [(*side, depth) for depth in depths])
