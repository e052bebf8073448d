"""A trained Keras network becomes an ONNX file with a description that serving can rely on."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import cv2
import numpy as np

from metseg.base.backend import keras
from metseg.base.errors import MetsegError
from metseg.base.files import file_sha256, read_json, replacing, shown, write_json
from metseg.data.cases import CaseFiles, read_scan_of
from metseg.data.volume import CHANNELS, Volume
from metseg.inference.predictor import Predictor
from metseg.inference.probe import probe
from metseg.inference.sliding_window import Patch, sliding_window
from metseg.masks.postprocess import Postprocessing
from metseg.models.inspect import gate_names, inference_model
from metseg.preprocessing.pipeline import network_input, restore, view_of
from metseg.training.run_folder import RunFolder

TOLERANCE = 1e-3  # of a probability; float32 in another order of sums gives some 1e-5


def export_onnx(run: RunFolder, folder: Path, *, prune: int | None = None) -> keras.Model:
    """Writes a finished training's network as `model.onnx`, in float32, and `model.json`.

    Args:
        run: Folder of the training.
        folder: Where to; what is written there does not serve yet.
        prune: For a network with deep supervision: keep head k alone; None averages the heads.

    Returns:
        The Keras network that was written, without its gates.

    Raises:
        MetsegError: The network is missing or damaged, or carries code, or has no such head.
    """
    manifest, config = read_json(run.manifest), run.trained_config()
    try:
        network = inference_model(run.load_network(), prune=prune)
    except ValueError as error:
        raise MetsegError(f"{run} has no head to prune to: {error}") from error
    path = Path(folder) / "model.onnx"
    patch = config.network.patch_size if config.network.rank == 3 else None
    save_onnx(network, path, image_size=config.preprocessing.image_size, patch_size=patch)
    description = {
        "name": manifest["model"],
        **({"rank": 3, "patch_size": list(patch)} if patch else {}),
        "input": {"size": config.preprocessing.image_size, "channels": list(CHANNELS)},
        "preprocessing": config.preprocessing.model_dump(),
        "probe": probe(config.preprocessing),
        "opencv": cv2.__version__,
        "postprocessing": Postprocessing(threshold=config.learning.threshold).model_dump(),
        "tta_flip": False,
        "min_volume_share": 0.0,
        "encoder": config.network.encoder,
        "parameters": network.count_params(),
        "data": {name: manifest["data"].get(name, "") for name in ("name", "licence", "caution", "lesion")},
        "target": config.target,
        "never_missing": config.augmentation.never_missing,
        **({"targets": list(config.regions)} if len(config.regions) > 1 else {}),
        "seen": sorted(run.seen_patients()),
        "seen_slices": run.seen_slices(),
        "precision": "fp32",
        "prune": prune,
        "validation_dice": manifest["validation_dice"] if prune is None else None,
        "sha256": file_sha256(path),
    }
    write_json(Path(folder) / "model.json", description)
    return network


def save_onnx(network: keras.Model, path: Path, *, image_size: int, patch_size: Patch | None = None) -> None:
    """Writes a network as ONNX for (B, image_size, image_size, C) float32 in [0, 1], or (B, *patch_size, C).

    Its outputs are the probability, then the attention gates, coarsest first, so that serving can show them.
    """
    gates = [network.get_layer(name).output for name in gate_names(network)]
    model = keras.Model(network.input, [network.output, *gates]) if gates else network
    shape = (None, *(patch_size or (image_size, image_size)), model.input_shape[-1])
    signature = [keras.InputSpec(dtype="float32", shape=shape, name="image")]
    # tf2onnx prints and logs every pass it makes, and asks NumPy for what NumPy 3 will have.
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with replacing(path) as partial, contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model.export(partial, format="onnx", input_signature=signature, verbose=False)


def check_agreement(
    network: keras.Model, exported: Path, cases: Iterable[CaseFiles], *, slices: int
) -> float:
    """Returns the largest difference of a pixel's probability between an exported network and its origin.

    Args:
        network: What `export_onnx` returned.
        exported: Its folder.
        cases: Scans to compare on.
        slices: How many of their slices, evenly spaced; of a network of volumes as many as a patch has, of
            the first scan, from its middle.

    Raises:
        MetsegError: It is above `TOLERANCE`.
    """
    predictor, largest = Predictor(exported), 0.0
    if predictor.patch_size is not None:
        largest, cases = _patch_difference(network, predictor, next(iter(cases))), []
    for volume, places in spread_slices(cases, slices):
        for z in places:
            alone = Volume.of_slice(volume.channels_last[z], volume.channels)
            (maps,) = network.predict_on_batch(network_input(alone, predictor.preprocessing))
            view, found = view_of(alone, predictor.preprocessing), predictor.prob_maps(alone, tta_flip=False)
            for prob_map, own in zip(np.moveaxis(maps, -1, 0), found.values(), strict=True):
                difference = np.abs(own[0] - restore(prob_map, volume.grid[1:], view))
                largest = max(largest, float(difference.max()))
    if largest > TOLERANCE:
        raise MetsegError(
            f"{shown(exported)} differs from the trained network by {largest:.1e}; "
            "export it again, and do not use it if this stays"
        )
    return largest


def _patch_difference(network: keras.Model, predictor: Predictor, case: CaseFiles) -> float:
    whole, depth = read_scan_of(case), predictor.patch_size[0]
    first = max(0, (whole.grid[0] - depth) // 2)
    volume = Volume.of_slices(whole.channels_last[first : first + depth])
    small, view = network_input(volume, predictor.preprocessing), view_of(volume, predictor.preprocessing)

    def segment(window: np.ndarray) -> np.ndarray:
        return np.asarray(network.predict_on_batch(window[None]))[0]

    maps = np.moveaxis(sliding_window(small, predictor.patch_size, segment), -1, 0)
    found = predictor.prob_maps(volume, tta_flip=False).values()
    return max(
        float(np.abs(own - np.stack([restore(each, volume.grid[1:], view) for each in region])).max())
        for region, own in zip(maps, found, strict=True)
    )


def spread_slices(cases: Iterable[CaseFiles], most: int) -> Iterator[tuple[Volume, list[int]]]:
    """Yields volumes and slices of them, `most` at most, evenly spaced over all slices of some cases."""
    rows = [(case, z) for case in cases for z in range(len(case.slice_numbers))]
    chosen = [rows[k * len(rows) // most] for k in range(most)] if most < len(rows) else rows
    for case, places in groupby(chosen, key=itemgetter(0)):
        yield read_scan_of(case), [z for _, z in places]
