"""Scans with synthetic metastases inserted anew for each epoch; those of the next are made meanwhile.

They are inserted into the slices that a cache holds, on the network's grid: no file is read again.
"""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError, MetsegWarning
from metseg.data.phantom.insert import REGIONS, insert_metastases
from metseg.data.phantom.insert_sites import InsertionSites, find_sites
from metseg.data.phantom.visits import ET, NETC, SNFH
from metseg.data.volume import Labels, Volume
from metseg.training.batches import by_region
from metseg.training.cache import SliceCache

_SITES_KEPT = 64  # of so many scans, about 15 MB each; finding them takes some seconds

# More than a patient has: a slice costs the same with one lesion as with five.
_LESIONS = (5, 25)


class _Scan(NamedTuple):
    case_id: str
    first: int  # row in the cache
    depth: int  # slices


class InsertedScans:
    """Epochs of a few scans each, drawn from those that a network learns from, with metastases inserted.

    What is drawn follows from the seed, the epoch and the scan alone. A scan that takes no metastases, such
    as one with its skull, is learned from as it is, and a warning names it.

    Raises:
        MetsegError: The place of a scan's slices in the head is unknown, or no scan takes metastases.
    """

    def __init__(
        self,
        cache: SliceCache,
        rows: np.ndarray,
        *,
        regions: Sequence[str],
        count: int,
        seed: int,
        epochs: int,
    ):
        """Draws from the scans of some rows of a cache, which are whole.

        Args:
            cache, rows: Which scans.
            regions: Names of the cache's masks, of `insert.REGIONS`.
            count: Scans an epoch; all where there are fewer.
            seed: Of the training.
            epochs: After the last one no other is made.
        """
        names = cache.slices.case_id.to_numpy()[rows]
        _, places, depths = np.unique(names, return_index=True, return_counts=True)
        whole = sorted(zip(places, depths, strict=True))
        self._scans = [_Scan(names[k], int(rows[k]), int(depth)) for k, depth in whole]
        if unknown := [scan.case_id for scan in self._scans if cache.affines.get(scan.case_id) is None]:
            raise MetsegError(
                f"metastases cannot be inserted into {unknown[0]}, whose voxels have an unknown size; set "
                "inserted_scans=0, or give volumes"
            )
        self._cache, self._regions, self._seed, self._epochs = cache, tuple(regions), seed, epochs
        self._count = min(count, len(self._scans))
        self._pool, self._next = ThreadPoolExecutor(1), {}
        self._sites = lru_cache(_SITES_KEPT)(self._find_sites)
        self._refused: set[str] = set()

    def epoch(self, epoch: int) -> tuple[SliceCache, np.ndarray]:
        """Returns an epoch's scans, with the new lesions in images, masks and table, and all their rows."""
        made = self._next.pop(epoch, None) or self._pool.submit(self._made, epoch)
        found = made.result()
        if epoch + 1 < self._epochs:
            self._next = {epoch + 1: self._pool.submit(self._made, epoch + 1)}
        return found, np.arange(len(found.slices))

    def close(self) -> None:
        """Makes no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _made(self, epoch: int) -> SliceCache:
        rng = np.random.default_rng([self._seed, epoch])
        drawn = np.sort(rng.choice(len(self._scans), self._count, replace=False))
        images, masks, tables = [], [], []
        for k in drawn.tolist():
            scan = self._scans[k]
            image, mask = self._inserted(scan, np.random.default_rng([self._seed, epoch, k]))
            table = self._cache.slices.iloc[scan.first : scan.first + scan.depth]
            images.append(image)
            masks.append(mask)
            tables.append(table.assign(lesion_px=by_region(mask)[..., 0].sum((1, 2)).astype(np.int32)))
        made = {"images": np.concatenate(images), "masks": np.concatenate(masks)}
        return replace(self._cache, **made, slices=pd.concat(tables, ignore_index=True))

    def _inserted(self, scan: _Scan, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        volume, labels = self._read(scan)
        try:
            _complain_of_stand_in(volume)
            count = int(rng.integers(*_LESIONS, endpoint=True))
            made = insert_metastases(volume, labels, rng, sites=self._sites(scan), count=count)
        except MetsegError as error:
            if scan.case_id not in self._refused:
                self._refused.add(scan.case_id)
                warnings.warn(f"{scan.case_id} takes no metastases: {error}", MetsegWarning, stacklevel=2)
            if len(self._refused) == len(self._scans):
                raise MetsegError(f"no scan takes metastases: {error}; or set inserted_scans=0") from None
            rows = slice(scan.first, scan.first + scan.depth)
            return np.array(self._cache.images[rows]), np.array(self._cache.masks[rows])
        masks = np.stack([made.labels.region(name) for name in self._regions], axis=-1)
        return made.volume.channels_last, masks if len(self._regions) > 1 else masks[..., 0]

    def _find_sites(self, scan: _Scan) -> InsertionSites:
        return find_sites(*self._read(scan))

    def _read(self, scan: _Scan) -> tuple[Volume, Labels]:
        """Returns a scan and its own tumour on the network's grid."""
        rows = slice(scan.first, scan.first + scan.depth)
        images, affine = np.asarray(self._cache.images[rows]), self._cache.affines[scan.case_id]
        volume = Volume.of_slices(images, affine=affine)
        marks = np.zeros(volume.grid, np.uint8)
        known = by_region(np.asarray(self._cache.masks[rows]))
        for name, number in {"WT": SNFH, "TC": NETC, "ET": ET}.items():  # each lies within the one before
            if name in self._regions:
                marks[known[..., self._regions.index(name)]] = number
        return volume, Labels(marks, {name: REGIONS[name] for name in self._regions})


def _complain_of_stand_in(volume: Volume) -> None:
    """In one picture for two sequences a lesion would be drawn in two ways, one of them wrong."""
    for (one, picture), (other, same) in combinations(zip(volume.channels, volume.array, strict=True), 2):
        if np.array_equal(picture, same):
            raise MetsegError(f"{one} and {other} are one picture, for a sequence is missing")
