"""A scan in, a probability map and a mask out, on ONNX Runtime: no TensorFlow, no Keras."""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from pydantic import ValidationError

from metseg.data.images import checked_image
from metseg.errors import MetsegError
from metseg.preprocess import Preprocessing, intensity_limits, preprocess, restore

_SLICES_A_CALL = 8


class Predictor:
    """Segments slices and volumes with an exported model.

    Attributes:
        name: The network's name.
        threshold: Probability from which a pixel is lesion.
        description: The whole of `model.json`.
    """

    def __init__(self, model_dir: Path):
        """Loads `model.onnx`, after its hash was found to be the one in `model.json`.

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
            self.threshold = float(self.description["threshold"])
            self._preprocessing = Preprocessing(**self.description["preprocessing"])
            expected = self.description["sha256"]
            if not 0 < self.threshold < 1:
                raise ValueError(f"threshold {self.threshold}")
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            reason = " ".join(repr(error).split())  # pydantic's takes several lines
            raise MetsegError(f"{description} is damaged ({reason:.80}); export the model again") from error
        content = onnx.read_bytes()
        if hashlib.sha256(content).hexdigest() != expected:
            raise MetsegError(
                f"{onnx} is not the file that {description.name} describes; export the model again"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has a kind of its own for each fault
            raise MetsegError(f"{onnx} is no model; export it again") from error
        self._input = self._session.get_inputs()[0].name

    def prob_map(self, image: np.ndarray) -> np.ndarray:
        """Returns the lesion probability of each pixel.

        Args:
            image: (H, W, 3) uint8 slice, or (Z, H, W, 3) volume, of any size.

        Returns:
            (H, W) or (Z, H, W) float32 in [0, 1], on the grid of the image. A slice alone gets the same
            result as within its volume, unless the model was trained with `intensity="volume"`.

        Raises:
            MetsegError: The image is of another type, has other channels, or no slice.
        """
        if image.ndim != 4:
            return self.prob_map(checked_image(image, "the image")[None])[0]
        if len(image) == 0:
            raise MetsegError("the image has no slice; give one or more")
        checked_image(image[0], "the image")
        limits = intensity_limits(image) if self._preprocessing.intensity == "volume" else None
        parts = []
        for start in range(0, len(image), _SLICES_A_CALL):
            some = image[start : start + _SLICES_A_CALL]
            batch = np.stack([preprocess(each, self._preprocessing, limits=limits) for each in some])
            small = self._session.run(None, {self._input: batch})[0][..., 0]
            parts += [np.clip(restore(each, image.shape[1:3]), 0, 1) for each in small]
        return np.stack(parts)

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
        """Returns where `prob_map` reaches the model's threshold, bool, of the same shape."""
        return self.prob_map(image) >= self.threshold
