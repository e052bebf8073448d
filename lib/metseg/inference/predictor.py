"""A scan in, a probability map and a mask out: no TensorFlow, no Keras."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from metseg.base.errors import MetsegError
from metseg.base.hardware import cores
from metseg.data.readers.images import checked_image
from metseg.inference.description import open_exported
from metseg.masks.postprocess import drop_minor, postprocess
from metseg.preprocessing.neighbours import neighbour_rows, stacked
from metseg.preprocessing.pipeline import network_input, preprocess_volume, restore, view_of


class Predictor:
    """Segments slices and volumes with an exported model.

    Attributes:
        name: The network's name.
        precision: What the network computes in: the model's own choice where the CPU multiplies that
            natively, else `fp32`.
        library: What computes it.
        onnx: The file that runs: `model.int8.onnx` in int8, else `model.onnx`.
        sha256: Its hash.
        preprocessing: Of the network input.
        postprocessing: How `mask` makes a mask of a probability map.
        flip_average: Whether `prob_map` averages a slice and its mirror image unless told.
        min_volume_share: Of a volume, `mask` drops lesions smaller than this share of the largest one.
        description: The whole of `model.json`.
    """

    def __init__(self, model_dir: Path, *, threads: int | None = None):
        """Loads an exported model, see `open_exported`.

        Args:
            model_dir: Folder of an exported model.
            threads: Slices of a volume that one call segments at once, each on a core of its own; as many as
                this process has cores if left out. With 1, a slice that comes alone takes one core as well;
                else it takes all of them, unless another call of this object is at work.

        Raises:
            MetsegError: A file is missing or damaged, or is not the one that was exported.
        """
        found = open_exported(model_dir)
        self.description, self.onnx, self.sha256 = found.description, found.onnx, found.sha256
        self.name, self.preprocessing = found.known.name, found.known.preprocessing
        self.postprocessing = found.known.postprocessing
        self.flip_average, self.min_volume_share = found.known.flip_average, found.known.min_volume_share
        self._threads, self._engine = threads or cores(), found.engine
        self._at_work, self._lock = 0, threading.Lock()
        self.library, self.precision = self._engine.library, self._engine.precision
        self._output, *self._gates = self._engine.outputs

    def prob_map(self, image: np.ndarray, *, flip_average: bool | None = None) -> np.ndarray:
        """Returns the lesion probability of each pixel.

        Args:
            image: (H, W, 3) uint8 slice, or (Z, H, W, 3) volume, of any size.
            flip_average: Average with the mirrored slice, left and right exchanged, for twice the time; the
                model's own choice if left out.

        Returns:
            (H, W) or (Z, H, W) float32 in [0, 1], on the grid of the image. A slice alone gets the same
            result as within its volume, unless the model looks at the volume as well (`Preprocessing`: what
            becomes of grey values, the head's box, neighbours).

        Raises:
            MetsegError: The image is of another type, has other channels, or no slice.
        """
        flip_average = self.flip_average if flip_average is None else flip_average
        return self._maps(image, flip_average=flip_average)[0]

    def doubted(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the lesion probability of each pixel, and how far the mirrored slice speaks against it.

        The second is a measure of uncertainty by test-time augmentation (Wang et al. 2019, Neurocomputing
        338:34-45), with the mirror image alone.

        Args:
            image: As for `prob_map`.

        Returns:
            `prob_map`, and float32 in [0, 1] of the same shape: the distance between the probabilities of the
            slice and of its mirror image, left and right exchanged.
        """
        prob_map, disagreement = self._maps(image, flip_average=self.flip_average, disagreement=True)
        return prob_map, disagreement

    def _maps(
        self, image: np.ndarray, *, flip_average: bool, disagreement: bool = False
    ) -> Sequence[np.ndarray]:
        """Returns `prob_map` and, if wanted, the distance of `doubted`."""
        if image.ndim != 4:
            alone = checked_image(image, "the image")[None]
            found = self._maps(alone, flip_average=flip_average, disagreement=disagreement)
            return [each[0] for each in found]
        if len(image) == 0:
            raise MetsegError("the image has no slice; give one or more")
        checked_image(image[0], "the image")
        view = view_of(image, self.preprocessing)
        rows = neighbour_rows([len(image)], self.preprocessing.neighbours)

        def segment(slices: np.ndarray, z: int, *, all_cores: bool = False) -> list[np.ndarray]:
            (small,) = stacked(slices, rows[z : z + 1])
            (plain,) = self._engine.run([self._output], small, all_cores=all_cores)
            found = [plain]
            if flip_average or disagreement:
                (mirrored,) = self._engine.run([self._output], small[:, ::-1], all_cores=all_cores)
                mirrored = mirrored[:, ::-1]
                found = [(plain + mirrored) / 2 if flip_average else plain]
                found += [np.abs(plain - mirrored)] if disagreement else []
            return [np.clip(restore(each[..., 0], image.shape[1:3], view), 0, 1) for each in found]

        with self._working() as alone:
            if min(self._threads, len(image)) == 1:
                all_cores = alone and self._threads > 1
                slices = preprocess_volume(image, self.preprocessing, view)
                found = [segment(slices, z, all_cores=all_cores) for z in range(len(image))]
            else:
                with ThreadPoolExecutor(self._threads) as pool:
                    slices = preprocess_volume(image, self.preprocessing, view, over=pool.map)
                    found = list(pool.map(partial(segment, slices), range(len(image))))
        return [np.stack(each) for each in zip(*found, strict=True)]

    def gate_maps(self, image: np.ndarray, z: int = 0) -> list[np.ndarray]:
        """Returns where the attention gates let features pass, coarsest gate first.

        Args:
            image: (H, W, 3) uint8 slice, or (Z, H, W, 3) volume.
            z: Which slice of the volume.

        Returns:
            For each gate (H, W) float32 in [0, 1], on the grid of the slice; nothing for other networks.
        """
        if not self._gates:
            return []
        volume = image if image.ndim == 4 else checked_image(image, "the image")[None]
        image = checked_image(volume[z], "the image")
        view = view_of(volume, self.preprocessing)
        small = network_input(volume, self.preprocessing)[z]
        # On the network's own grid first: a coarse gate has no pixel just where a slice's margin ends.
        with self._working() as alone:
            found = self._engine.run(self._gates, small, all_cores=alone and self._threads > 1)
        gates = [restore(gate[..., 0], small.shape[:2]) for gate in found]
        return [np.clip(restore(gate, image.shape[:2], view), 0, 1) for gate in gates]

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

    def masks(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the masks of one scan's slices, (H, W, 3) uint8 each; those of one size are a volume."""
        sizes: dict[tuple, list[int]] = defaultdict(list)
        for k, image in enumerate(images):
            sizes[image.shape].append(k)
        masks = dict[int, np.ndarray]()
        for alike in sizes.values():
            if len(alike) == 1:  # no volume
                masks[alike[0]] = self.mask(images[alike[0]])
            else:
                masks |= zip(alike, self.mask(np.stack([images[k] for k in alike])), strict=True)
        return [masks[k] for k in range(len(images))]

    def mask(self, image: np.ndarray) -> np.ndarray:
        """Returns which pixels are lesion by the model's own postprocessing, bool, shaped as `prob_map`."""
        return self.mask_of(self.prob_map(image))

    def mask_of(self, prob_map: np.ndarray) -> np.ndarray:
        """Returns the mask that belongs to a `prob_map`."""
        mask = postprocess(prob_map, self.postprocessing)
        return drop_minor(mask, self.min_volume_share) if mask.ndim == 3 else mask
