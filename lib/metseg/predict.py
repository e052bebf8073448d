"""A scan in, a probability map and a mask out, on ONNX Runtime: no TensorFlow, no Keras."""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from pydantic import ValidationError

from metseg.data.images import checked_image
from metseg.errors import MetsegError
from metseg.postprocess import Postprocessing, postprocess
from metseg.preprocess import Preprocessing, intensity_limits, preprocess, restore

_SLICES_A_CALL = 8


class Predictor:
    """Segments slices and volumes with an exported model.

    Attributes:
        name: The network's name.
        postprocessing: How `mask` makes a mask of a probability map.
        flip_average: Whether `prob_map` averages a slice and its mirror image unless told.
        description: The whole of `model.json`.
    """

    def __init__(self, model_dir: Path, *, threads: int | None = None):
        """Loads `model.onnx`, after its hash was found to be the one in `model.json`.

        Args:
            model_dir: Folder of an exported model.
            threads: Cores that one call may use; all that this process may use if left out.

        Raises:
            MetsegError: A file is missing, or is not the one that was exported.
        """
        onnx, description = Path(model_dir) / "model.onnx", Path(model_dir) / "model.json"
        for path in (onnx, description):
            if not path.is_file():
                raise MetsegError(f"{path} is missing; train the model again or name another one")
        try:
            self.description = json.loads(description.read_text(encoding="utf-8"))
            self.name = self.description["name"]
            self.postprocessing = Postprocessing(**self.description["postprocessing"])
            self.flip_average = bool(self.description["flip_average"])
            self._preprocessing = Preprocessing(**self.description["preprocessing"])
            expected = self.description["sha256"]
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            reason = " ".join(repr(error).split())  # pydantic's takes several lines
            raise MetsegError(f"{description} is damaged ({reason:.80}); export the model again") from error
        content = onnx.read_bytes()
        if hashlib.sha256(content).hexdigest() != expected:
            raise MetsegError(
                f"{onnx} is not the file that {description.name} describes; export the model again"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or cores()
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has a kind of its own for each fault
            raise MetsegError(f"{onnx} is no model; export it again") from error
        self._input = self._session.get_inputs()[0].name
        self._output, *self._gates = [output.name for output in self._session.get_outputs()]

    def prob_map(self, image: np.ndarray, *, flip_average: bool | None = None) -> np.ndarray:
        """Returns the lesion probability of each pixel.

        Args:
            image: (H, W, 3) uint8 slice, or (Z, H, W, 3) volume, of any size.
            flip_average: Average with the mirrored slice, left and right exchanged, for twice the time; the
                model's own choice if left out.

        Returns:
            (H, W) or (Z, H, W) float32 in [0, 1], on the grid of the image. A slice alone gets the same
            result as within its volume, unless the model was trained with `intensity="volume"`.

        Raises:
            MetsegError: The image is of another type, has other channels, or no slice.
        """
        if image.ndim != 4:
            return self.prob_map(checked_image(image, "the image")[None], flip_average=flip_average)[0]
        flip_average = self.flip_average if flip_average is None else flip_average
        parts = []
        for batch in self._batches(image):
            small = self._run([self._output], batch)[0]
            if flip_average:
                mirrored = self._run([self._output], np.ascontiguousarray(batch[:, :, ::-1]))[0]
                small = (small + mirrored[:, :, ::-1]) / 2
            parts += [np.clip(restore(each, image.shape[1:3]), 0, 1) for each in small[..., 0]]
        return np.stack(parts)

    def gate_maps(self, image: np.ndarray) -> list[np.ndarray]:
        """Returns where the attention gates let features pass, coarsest gate first.

        Args:
            image: (H, W, 3) uint8 slice.

        Returns:
            For each gate (H, W) float32 in [0, 1], on the grid of the image; nothing for other networks.
        """
        if not self._gates:
            return []
        batch = next(self._batches(checked_image(image, "the image")[None]))
        # On the network's own grid first: a coarse gate has no pixel just where a slice's margin ends.
        gates = [restore(gate[0, ..., 0], batch.shape[1:3]) for gate in self._run(self._gates, batch)]
        return [np.clip(restore(gate, image.shape[:2]), 0, 1) for gate in gates]

    def _run(self, outputs: list[str], batch: np.ndarray) -> list[np.ndarray]:
        return self._session.run(outputs, {self._input: batch})

    def _batches(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the network input of a volume, some slices at a time."""
        if len(image) == 0:
            raise MetsegError("the image has no slice; give one or more")
        checked_image(image[0], "the image")
        limits = intensity_limits(image) if self._preprocessing.intensity == "volume" else None
        for start in range(0, len(image), _SLICES_A_CALL):
            some = image[start : start + _SLICES_A_CALL]
            yield np.stack([preprocess(each, self._preprocessing, limits=limits) for each in some])

    def masks(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the masks of one scan's slices, (H, W, 3) uint8 each; those of one size are a volume."""
        sizes: dict[tuple, list[int]] = defaultdict(list)
        for k, image in enumerate(images):
            sizes[image.shape].append(k)
        masks = dict[int, np.ndarray]()
        for alike in sizes.values():
            masks |= zip(alike, self.mask(np.stack([images[k] for k in alike])), strict=True)
        return [masks[k] for k in range(len(images))]

    def mask(self, image: np.ndarray) -> np.ndarray:
        """Returns which pixels are lesion by the model's own postprocessing, bool, shaped as `prob_map`."""
        return postprocess(self.prob_map(image), self.postprocessing)


def cores() -> int:
    """The cores that this process may use, which in a container are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
