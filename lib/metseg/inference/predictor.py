"""A scan in, a probability map and a mask out: no TensorFlow, no Keras."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from metseg.base.errors import MetsegError
from metseg.base.hardware import cores
from metseg.data.readers.images import check_sequences
from metseg.data.volume import Volume
from metseg.inference.description import open_exported
from metseg.inference.sliding_window import map_ahead, plane_maps, sliding_window
from metseg.inference.trust import UNKNOWN, measure
from metseg.masks.postprocess import volume_mask
from metseg.masks.regions import region_masks
from metseg.preprocessing.neighbours import neighbour_rows, stacked
from metseg.preprocessing.pipeline import View, network_input, preprocess_volume, restore, view_of


class Predictor:
    """Segments volumes with an exported model.

    Attributes:
        description: The whole of `model.json`.
        name, preprocessing, postprocessing, tta_flip, min_volume_share: Of it; of a volume, `mask` drops
            lesions smaller than this share of the largest.
        targets: The regions that it tells apart; `prob_map`, `mask` and all scores are of the first.
        operating_points, lesion_calibration: What it found of validation volumes; None where nothing tells.
        trust: What the scans were like that it learned from; None where it does not tell.
        patch_size: (z, y, x) of the patches by which a network of volumes sees them; None of one of slices.
        precision: What the network computes in: the model's choice where it is native, else `fp32`.
        library: What computes it.
        onnx: The file that runs: `model.int8.onnx` in int8, else `model.onnx`.
        sha256: Its hash.
    """

    def __init__(self, model_dir: Path, *, threads: int | None = None):
        """Loads an exported model; see `open_exported` for what it refuses.

        Args:
            model_dir: Folder of an exported model.
            threads: Slices, or patches, of a volume that one call segments at once, each on a core of its
                own; all cores if left out. But for 1, a slice alone takes all of them, unless another call is
                at work.
        """
        found = open_exported(model_dir)
        known, self.description = found.known, found.description
        self.onnx, self.sha256, self.name = found.onnx, found.sha256, known.name
        self.preprocessing, self.postprocessing = known.preprocessing, known.postprocessing
        self.tta_flip, self.min_volume_share = known.tta_flip, known.min_volume_share
        self.operating_points, self.lesion_calibration = known.operating_points, known.lesion_calibration
        self.targets = tuple(known.targets or [known.target or "lesion"])
        self.trust, self.patch_size = known.trust, known.patch_size
        self._threads, self._engine = threads or cores(), found.engine
        self._at_work, self._lock = 0, threading.Lock()
        self.library, self.precision = self._engine.library, self._engine.precision
        self._output, *self._gates = self._engine.outputs

    def prob_map(
        self,
        volume: Volume,
        *,
        tta_flip: bool | None = None,
        look: Callable[[np.ndarray], None] | None = None,
    ) -> np.ndarray:
        """Returns the lesion probability of each voxel; of several regions that of the main one.

        Args:
            volume: A scan of any size, uint8 with the channels of `SEQUENCES`; a slice is a volume of one.
            tta_flip: Average with the mirrored slices, for twice the time; the model's own choice if left
                out.
            look: Called with (Z, S, S, 3), what the network is to see, before it runs.

        Returns:
            (Z, Y, X) float32 in [0, 1], on the volume's grid. A slice alone gets the same result as within
            its volume, unless `Preprocessing` looks at the volume as well.

        Raises:
            MetsegError: The volume is of another type or has other channels, or is a slice alone and the
                network one of volumes.
        """
        return self._prob_maps(volume, tta_flip, look, 1)[0]

    def prob_maps(
        self,
        volume: Volume,
        *,
        tta_flip: bool | None = None,
        look: Callable[[np.ndarray], None] | None = None,
    ) -> dict[str, np.ndarray]:
        """Returns {region: its `prob_map`}, the main one first, for the time of one."""
        maps = self._prob_maps(volume, tta_flip, look, len(self.targets))
        return dict(zip(self.targets, maps, strict=True))

    def _prob_maps(
        self,
        volume: Volume,
        tta_flip: bool | None,
        look: Callable[[np.ndarray], None] | None,
        count: int,
    ) -> np.ndarray:
        """Returns the first maps of the network, (count, Z, Y, X)."""
        check_sequences(volume, "the image")
        flipped = self.tta_flip if tta_flip is None else tta_flip
        depth, *shape = volume.grid
        view = view_of(volume, self.preprocessing)
        if self.patch_size is not None:
            return self._by_patches(volume, view, flipped, look, count)
        rows = neighbour_rows([depth], self.preprocessing.neighbours)

        def segment(slices: np.ndarray, z: int, *, all_cores: bool = False) -> np.ndarray:
            (small,) = stacked(slices, rows[z : z + 1])
            (found,) = self._engine.run([self._output], small, all_cores=all_cores)
            if flipped:
                (mirrored,) = self._engine.run([self._output], small[:, ::-1], all_cores=all_cores)
                found = (found + mirrored[:, ::-1]) / 2
            maps = [restore(found[..., k], tuple(shape), view) for k in range(count)]
            return np.clip(maps, 0, 1)

        with self._working() as alone:
            if min(self._threads, depth) == 1:
                all_cores = alone and self._threads > 1
                slices = preprocess_volume(volume, self.preprocessing, view)
                if look:
                    look(slices)
                return np.stack([segment(slices, z, all_cores=all_cores) for z in range(depth)], axis=1)
            with ThreadPoolExecutor(self._threads) as pool:
                slices = preprocess_volume(volume, self.preprocessing, view, over=pool.map)
                if look:
                    look(slices)
                return np.stack(list(pool.map(partial(segment, slices), range(depth))), axis=1)

    def trusted_maps(
        self, volume: Volume, name: str, *, tta_flip: bool | None = None, trust_anyway: bool = False
    ) -> tuple[dict[str, np.ndarray], list[str]]:
        """Returns the `prob_maps`, and a sentence on each way in which the scan is unlike the training's.

        Args:
            volume, tta_flip: As there.
            name: What to call the scan in an error.
            trust_anyway: Segment whatever it is; why it would be refused is the first of the sentences.

        Raises:
            Untrusted: A mask would mean nothing; the network did not run.
            MetsegError: As by `prob_map`.
        """
        if self.trust is None:
            return self.prob_maps(volume, tta_flip=tta_flip), [UNKNOWN]
        notes = []

        def look(slices: np.ndarray) -> None:
            how = {"oriented": volume.affine is not None, "trust_anyway": trust_anyway}
            notes.extend(self.trust.notes_on(measure(volume, slices), name, **how))

        return self.prob_maps(volume, tta_flip=tta_flip, look=look), notes

    def trusted_map(self, volume: Volume, name: str, **how) -> tuple[np.ndarray, list[str]]:
        """Returns the main one of the `trusted_maps`, and their sentences."""
        maps, notes = self.trusted_maps(volume, name, **how)
        return maps[self.targets[0]], notes

    def _by_patches(
        self,
        volume: Volume,
        view: View,
        flipped: bool,
        look: Callable[[np.ndarray], None] | None,
        count: int,
    ) -> np.ndarray:
        """Returns what `_prob_maps` does, of a network of volumes."""
        self._complain_of_slice(volume)

        def segment(patch: np.ndarray) -> np.ndarray:
            (found,) = self._engine.run([self._output], patch)
            if flipped:
                (mirrored,) = self._engine.run([self._output], patch[:, :, ::-1])
                found = (found + mirrored[:, :, ::-1]) / 2
            return found[..., :count]

        def on_scan(maps: np.ndarray) -> np.ndarray:
            return np.clip([restore(maps[..., k], volume.grid[1:], view) for k in range(count)], 0, 1)

        with self._working(), ThreadPoolExecutor(self._threads) as pool:
            slices = preprocess_volume(volume, self.preprocessing, view, over=pool.map)
            if look:
                look(slices)
            ahead = partial(map_ahead, pool, most=2 * self._threads)
            maps = sliding_window(slices, self.patch_size, segment, over=ahead)
            return np.stack(list(pool.map(on_scan, maps)), axis=1)

    def _complain_of_slice(self, volume: Volume) -> None:
        if volume.grid[0] == 1:
            raise MetsegError(
                f"{self.name} looks at {self.patch_size[0]} slices at once and knows no slice alone; give "
                "the whole scan, or take a network of slices"
            )

    def gate_maps(self, volume: Volume, z: int = 0) -> list[np.ndarray]:
        """Returns where the attention gates let features of slice `z` pass, coarsest gate first.

        For each gate (Y, X) float32 in [0, 1], on the grid of the slice; nothing for other networks.
        """
        if not self._gates:
            return []
        view = view_of(check_sequences(volume, "the image"), self.preprocessing)
        small = network_input(volume, self.preprocessing)
        if self.patch_size is not None:
            self._complain_of_slice(volume)
            with self._working():
                gates = plane_maps(small, self.patch_size, z, partial(self._engine.run, self._gates))
            return [np.clip(restore(gate, volume.grid[1:], view), 0, 1) for gate in gates]
        small = small[z]
        # On the network's own grid first: a coarse gate has no pixel just where a slice's margin ends.
        with self._working() as alone:
            found = self._engine.run(self._gates, small, all_cores=alone and self._threads > 1)
        gates = [restore(gate[..., 0], small.shape[:2]) for gate in found]
        return [np.clip(restore(gate, volume.grid[1:], view), 0, 1) for gate in gates]

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

    def mask(self, volume: Volume) -> np.ndarray:
        """Returns which voxels are lesion by the model's own postprocessing, (Z, Y, X) bool."""
        return self.mask_of(self.prob_map(volume))

    def masks(self, volume: Volume) -> dict[str, np.ndarray]:
        """Returns {region: its mask}, the main one first; see `masks_of`."""
        return self.masks_of(self.prob_maps(volume))

    def mask_of(self, prob_map: np.ndarray) -> np.ndarray:
        """Returns the mask that belongs to a `prob_map`; a slice alone has nothing to be small beside."""
        return volume_mask(prob_map, self.postprocessing, self.min_volume_share)

    def masks_of(self, prob_maps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the masks that belong to `prob_maps`, `nested`; the main one is that of `mask_of`."""
        return region_masks(prob_maps, self.postprocessing, self.min_volume_share)
