"""Whether an exported network gives the numbers of the one that was trained."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metseg.base.errors import MetsegError
from metseg.base.files import shown
from metseg.data.volume import Volume
from metseg.inference.predictor import Predictor
from metseg.models.inspect import inference_model
from metseg.preprocessing.pipeline import network_input, restore, view_of
from metseg.training.run_folder import RunFolder

TOLERANCE = 1e-3  # of a probability; float32 in another order of sums gives some 1e-5


def check_agreement(model_dir: Path, slices: Sequence[Volume], *, exported: Path | None = None) -> float:
    """Compares `model.onnx`, in float32, with `model.keras` on slices, each by itself.

    Args:
        model_dir: Folder of a finished training.
        slices: Volumes of one slice, uint8.
        exported: Folder of its exported model; `model_dir` if left out.

    Returns:
        The largest difference of a pixel's probability.

    Raises:
        MetsegError: It is above `TOLERANCE`.
    """
    exported = Path(model_dir if exported is None else exported)
    predictor = Predictor(exported)
    network = inference_model(RunFolder(model_dir).load_network(), prune=predictor.description["prune"])
    largest = 0.0
    for alone in slices:
        prob_map = network.predict_on_batch(network_input(alone, predictor.preprocessing))[0, ..., 0]
        expected = restore(prob_map, alone.grid[1:], view_of(alone, predictor.preprocessing))
        difference = np.abs(predictor.prob_map(alone, flip_average=False)[0] - expected)
        largest = max(largest, float(difference.max()))
    if largest > TOLERANCE:
        raise MetsegError(
            f"{shown(exported / 'model.onnx')} differs from the trained network by {largest:.1e}; "
            "export it again, and do not use it if this stays"
        )
    return largest
