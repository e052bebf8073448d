"""A trained Keras model becomes an ONNX file with a description that serving can rely on."""

import contextlib
import io
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2

from metseg.base.backend import keras
from metseg.base.errors import MetsegError
from metseg.base.files import file_sha256, read_json, replacing, shown, sole_writer
from metseg.data.volume import CHANNELS
from metseg.inference.description import install
from metseg.inference.probe import probe
from metseg.masks.postprocess import Postprocessing
from metseg.models.inspect import gate_names, inference_model
from metseg.training.run_folder import RunFolder

_DRAFTS = ".export-"


def export_onnx(model_dir: Path, *, prune: int | None = None, output: Path | None = None) -> Path:
    """Writes a finished training's network as `model.onnx`, in float32, and `model.json`.

    Args:
        model_dir: Folder of a finished training.
        prune: For a network with deep supervision: keep head k alone; None averages the heads.
        output: Folder for the two files; `model_dir` if left out.

    Returns:
        The path of `model.onnx`.

    Raises:
        MetsegError: `model.keras` is missing or damaged, or carries code, or has no such head.
    """
    model_dir = Path(model_dir)
    manifest = read_json(model_dir / "manifest.json")
    run = RunFolder(model_dir)
    config, network = run.trained_config(), run.load_network()
    try:
        model = inference_model(network, prune=prune)
    except ValueError as error:
        raise MetsegError(f"{shown(model_dir)} has no head to prune to: {error}") from error
    # The probability first, then the attention gates, coarsest first, so that serving can show them.
    gates = [model.get_layer(name).output for name in gate_names(model)]
    model = keras.Model(model.input, [model.output, *gates]) if gates else model
    size = config.preprocessing.image_size
    output = model_dir if output is None else Path(output)
    onnx = output / "model.onnx"
    description = {
        "name": manifest["model"],
        "input": {"size": size, "channels": list(CHANNELS)},
        "preprocessing": config.preprocessing.model_dump(),
        "probe": probe(config.preprocessing),
        "opencv": cv2.__version__,
        "postprocessing": Postprocessing(threshold=config.learning.threshold).model_dump(),
        "usual_threshold": config.learning.threshold,  # from which another is chosen
        "flip_average": False,
        "min_volume_share": 0.0,
        "parameters": model.count_params(),
        "data": {name: manifest["data"][name] for name in ("name", "licence", "caution")},
        "seen": sorted(run.seen_patients()),
        "seen_slices": run.seen_slices(),
        "precision": "fp32",
        "prune": prune,
        "validation_dice": manifest["validation_dice"] if prune is None else None,
    }
    with drafts_in(output) as drafts:
        draft = Path(drafts) / onnx.name
        save_onnx(model, draft, image_size=size)
        install({onnx.name: draft}, {**description, "sha256": file_sha256(draft)}, output)
    return onnx


@contextmanager
def drafts_in(folder: Path) -> Iterator[str]:
    """Yields an empty folder below one that nobody else writes to; what a killed export left there goes."""
    with sole_writer(folder):
        for leftover in Path(folder).glob(f"{_DRAFTS}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            drafts = TemporaryDirectory(prefix=_DRAFTS, dir=folder)
        except OSError as error:
            reason = error.strerror or error
            raise MetsegError(f"cannot write to {shown(folder)} ({reason}); make it writable") from error
        with drafts as path:
            yield path


def save_onnx(model: keras.Model, path: Path, *, image_size: int) -> None:
    """Writes a network as ONNX, whole or not at all, for (B, image_size, image_size, C) float32 in [0, 1]."""
    shape = (None, image_size, image_size, model.input_shape[-1])
    signature = [keras.InputSpec(dtype="float32", shape=shape, name="image")]
    # tf2onnx prints and logs every pass it makes, and asks NumPy for what NumPy 3 will have.
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with replacing(path) as partial, contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model.export(partial, format="onnx", input_signature=signature, verbose=False)
