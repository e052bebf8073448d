"""A trained Keras model becomes an ONNX file with a description that serving can rely on."""

import contextlib
import hashlib
import io
import logging
import warnings
from pathlib import Path

from metseg.backend import keras
from metseg.config import TrainConfig
from metseg.data.images import CHANNELS
from metseg.data.split import read_split
from metseg.errors import MetsegError
from metseg.files import read_json, replacing, write_json
from metseg.models.inspect import gate_names, inference_model
from metseg.postprocess import Postprocessing


def export_onnx(model_dir: Path, *, prune: int | None = None) -> Path:
    """Writes `model.onnx` and `model.json` beside a finished training's `model.keras`.

    Args:
        model_dir: Folder of a finished training.
        prune: For a network with deep supervision: keep head k alone; None averages the heads.

    Returns:
        The path of `model.onnx`.

    Raises:
        MetsegError: `model.keras` is missing or damaged, or carries code.
    """
    model_dir = Path(model_dir)
    manifest = read_json(model_dir / "manifest.json")
    config = TrainConfig(**manifest["config"])
    model = inference_model(_load(model_dir / "model.keras"), prune=prune)
    # The probability first, then the attention gates, coarsest first, so that serving can show them.
    gates = [model.get_layer(name).output for name in gate_names(model)]
    model = keras.Model(model.input, [model.output, *gates]) if gates else model
    split, size = read_split(model_dir / "split.json"), config.image_size
    onnx = model_dir / "model.onnx"
    with replacing(onnx) as partial:
        signature = [keras.InputSpec(dtype="float32", shape=(None, size, size, 3), name="image")]
        # tf2onnx prints and logs every pass it makes, and asks NumPy for what NumPy 3 will have.
        logging.getLogger("tf2onnx").setLevel(logging.ERROR)
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            model.export(partial, format="onnx", input_signature=signature, verbose=False)
    description = {
        "name": config.model,
        "input": {"size": size, "channels": list(CHANNELS)},
        "sha256": hashlib.sha256(onnx.read_bytes()).hexdigest(),
        "preprocessing": config.preprocessing.model_dump(),
        "postprocessing": Postprocessing(threshold=config.threshold).model_dump(),
        "flip_average": False,
        "parameters": model.count_params(),
        "data": {name: manifest["data"][name] for name in ("name", "licence", "caution")},
        "seen": sorted({*split.train, *split.validation}),
        "prune": prune,
        "validation_dice": manifest["validation_dice"] if prune is None else None,
    }
    write_json(model_dir / "model.json", description)
    return onnx


def _load(path: Path) -> keras.Model:
    try:
        # Safe mode: a .keras file may carry code, and none of it is run.
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras and the readers of ZIP, JSON and HDF5 have kinds of their own
        raise MetsegError(
            f"{path} is missing, is damaged, or carries code, which is never run; train the network again"
        ) from error
