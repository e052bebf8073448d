"""A case as a network sees it: read, preprocessed, and no more of them in memory than it holds."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from metseg.data.cases import CaseFiles, load_case
from metseg.data.content import slice_hash
from metseg.preprocessing.pipeline import (
    Preprocessing,
    network_affine,
    preprocess,
    preprocess_mask,
    view_of,
)

READ_AHEAD = 2**29  # bytes that cases read at once may take
_OF_A_VOXEL = 12  # bytes while a scan is read: three sequences in 8 bits, one as stored, one as it is scaled


class NetworkSlices(NamedTuple):
    """One case as it is kept, slices without neighbours."""

    images: np.ndarray  # (Z, S, S, 3) uint8
    masks: np.ndarray  # (Z, S, S) bool; (Z, S, S, T) of several regions, the main one first
    scan_lesion_px: np.ndarray  # (Z,) pixels of the main region in each slice, on the scan's own grid
    hashes: list[str]  # of each slice, see `content.slice_hash`
    labels: frozenset[float]  # the numbers by which the masks mark a lesion
    affine: np.ndarray | None = None  # of their grid, see `network_affine`


def network_slices(files: CaseFiles, config: Preprocessing) -> NetworkSlices:
    """Reads one case and preprocesses it."""
    case = load_case(files)
    view = view_of(case.volume, config)
    # One slice at a time, for in float32 a volume takes four times as much.
    images = [np.rint(preprocess(image, config, view) * 255).astype(np.uint8) for image in case.image]
    masks = [np.stack([preprocess_mask(each, config, view) for each in region]) for region in case.masks]
    return NetworkSlices(
        images=np.stack(images),
        masks=masks[0] if len(masks) == 1 else np.stack(masks, axis=-1),
        scan_lesion_px=np.count_nonzero(case.mask, axis=(1, 2)),
        hashes=[slice_hash(image) for image in case.image],
        labels=case.labels.stored,
        affine=network_affine(case.volume, config, view),
    )


def read_in_turn(
    cases: Iterable[CaseFiles], config: Preprocessing, *, most_bytes: int = READ_AHEAD
) -> Iterator[tuple[CaseFiles, NetworkSlices]]:
    """Yields each case with its `network_slices`, in order; the next ones are read meanwhile.

    So many are read at once that they take `most_bytes` at most, and one in any case.
    """
    pool, ahead, taken = ThreadPoolExecutor(os.cpu_count()), deque(), 0
    try:
        for case in cases:
            size = case.voxels * _OF_A_VOXEL + 4 * len(case.slice_numbers) * config.image_size**2
            while ahead and taken + size > most_bytes:
                first, its, reading = ahead.popleft()
                taken -= its
                yield first, reading.result()
            ahead.append((case, size, pool.submit(network_slices, case, config)))
            taken += size
        for first, _, reading in ahead:
            yield first, reading.result()
    finally:
        pool.shutdown(cancel_futures=True)
