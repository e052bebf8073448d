"""An engine as a network of scans: volumes in, probabilities on the volume's grid out."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.readers.images import check_sequences
from metseg.data.volume import Volume
from metseg.inference.engines import Engine
from metseg.inference.sliding_window import map_ahead, plane_maps, sliding_window
from metseg.preprocessing.neighbours import neighbour_rows, stacked
from metseg.preprocessing.pipeline import (
    Preprocessing,
    View,
    network_input,
    preprocess_volume,
    restore,
    view_of,
)


class Network:
    """Gives the probabilities of volumes, slice by slice or patch by patch."""

    def __init__(
        self,
        engine: Engine,
        preprocessing: Preprocessing,
        *,
        name: str,
        patch_size: tuple[int, int, int] | None,
        threads: int,
    ):
        """Takes an engine.

        Args:
            engine: What runs.
            preprocessing: What its input is.
            name: The network's, for an error.
            patch_size: (z, y, x) of the patches by which a network of volumes sees them; None of one of
                slices.
            threads: Slices, or patches, of a volume that one call segments at once.
        """
        self.engine, self._preprocessing, self._name = engine, preprocessing, name
        self._patch_size, self._threads = patch_size, threads
        self._output, *self._gates = engine.outputs
        self._at_work, self._lock = 0, threading.Lock()

    def prob_maps(
        self,
        volume: Volume,
        count: int,
        *,
        tta_flip: bool,
        look: Callable[[np.ndarray], None] | None,
    ) -> np.ndarray:
        """Returns the first `count` probability maps, (count, Z, Y, X) float32; see `Predictor.prob_map`."""
        check_sequences(volume, "the image")
        depth, *shape = volume.grid
        view = view_of(volume, self._preprocessing)
        if self._patch_size is not None:
            return self._by_patches(volume, view, tta_flip, look, count)
        rows = neighbour_rows([depth], self._preprocessing.neighbours)

        def segment(slices: np.ndarray, z: int, *, all_cores: bool = False) -> np.ndarray:
            (small,) = stacked(slices, rows[z : z + 1])
            (found,) = self.engine.run([self._output], small, all_cores=all_cores)
            if tta_flip:
                (mirrored,) = self.engine.run([self._output], small[:, ::-1], all_cores=all_cores)
                found = (found + mirrored[:, ::-1]) / 2
            maps = [restore(found[..., k], tuple(shape), view) for k in range(count)]
            return np.clip(maps, 0, 1)

        with self._working() as alone:
            if min(self._threads, depth) == 1:
                all_cores = alone and self._threads > 1
                slices = preprocess_volume(volume, self._preprocessing, view)
                if look:
                    look(slices)
                return np.stack([segment(slices, z, all_cores=all_cores) for z in range(depth)], axis=1)
            with ThreadPoolExecutor(self._threads) as pool:
                slices = preprocess_volume(volume, self._preprocessing, view, over=pool.map)
                if look:
                    look(slices)
                return np.stack(list(pool.map(partial(segment, slices), range(depth))), axis=1)

    def _by_patches(
        self,
        volume: Volume,
        view: View,
        tta_flip: bool,
        look: Callable[[np.ndarray], None] | None,
        count: int,
    ) -> np.ndarray:
        """Returns what `prob_maps` does, of a network of volumes."""
        self._complain_of_slice(volume)

        def segment(patch: np.ndarray) -> np.ndarray:
            (found,) = self.engine.run([self._output], patch)
            if tta_flip:
                (mirrored,) = self.engine.run([self._output], patch[:, :, ::-1])
                found = (found + mirrored[:, :, ::-1]) / 2
            return found[..., :count]

        def on_scan(maps: np.ndarray) -> np.ndarray:
            return np.clip([restore(maps[..., k], volume.grid[1:], view) for k in range(count)], 0, 1)

        with self._working(), ThreadPoolExecutor(self._threads) as pool:
            slices = preprocess_volume(volume, self._preprocessing, view, over=pool.map)
            if look:
                look(slices)
            ahead = partial(map_ahead, pool, most=2 * self._threads)
            maps = sliding_window(slices, self._patch_size, segment, over=ahead)
            return np.stack(list(pool.map(on_scan, maps)), axis=1)

    def gate_maps(self, volume: Volume, z: int) -> list[np.ndarray]:
        """Returns the attention gates of slice `z`, the coarsest first; see `Predictor.gate_maps`."""
        if not self._gates:
            return []
        view = view_of(check_sequences(volume, "the image"), self._preprocessing)
        small = network_input(volume, self._preprocessing)
        if self._patch_size is not None:
            self._complain_of_slice(volume)
            with self._working():
                gates = plane_maps(small, self._patch_size, z, partial(self.engine.run, self._gates))
            return [np.clip(restore(gate, volume.grid[1:], view), 0, 1) for gate in gates]
        small = small[z]
        # On the network's own grid first: a coarse gate has no pixel just where a slice's margin ends.
        with self._working() as alone:
            found = self.engine.run(self._gates, small, all_cores=alone and self._threads > 1)
        gates = [restore(gate[..., 0], small.shape[:2]) for gate in found]
        return [np.clip(restore(gate, volume.grid[1:], view), 0, 1) for gate in gates]

    def _complain_of_slice(self, volume: Volume) -> None:
        if volume.grid[0] == 1:
            raise MetsegError(
                f"{self._name} looks at {self._patch_size[0]} slices at once and knows no slice alone; give "
                "the whole scan, or take a network of slices"
            )

    @contextmanager
    def _working(self) -> Iterator[bool]:
        """Yields whether no other call is at work as this one begins."""
        with self._lock:
            alone = self._at_work == 0
            self._at_work += 1
        try:
            yield alone
        finally:
            with self._lock:
                self._at_work -= 1
