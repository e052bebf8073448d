"""An ONNX model that marks bright pixels, and runs whose scores are known by hand; no TensorFlow."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

from metseg.base.files import read_json, write_json
from metseg.data.provenance import INSERTED, LGG
from metseg.data.split import Split, write_split
from metseg.data.volume import CHANNELS
from metseg.metrics.case_scores import evaluate_case

SIZE = 32
DATA = {"name": "test scans", "licence": "none", "caution": "Test scans: nothing follows from them."}


def write_bright_model(
    folder: Path,
    *,
    name: str = "unet",
    channels: tuple[float, ...] | tuple[tuple[float, ...], ...] = (1 / 3, 1 / 3, 1 / 3),
    gates: tuple[int, ...] = (),
    seen: tuple[str, ...] = (),
    **changes,
) -> Path:
    """Writes `model.onnx` and `model.json`: lesion is where the channels' weighted sum is 128 or more.

    Args:
        folder: Folder of the model.
        name: The network it passes for.
        channels: Their weights; of several regions those of each.
        gates: Sides in px of blocks; each is a further output, the blocks' mean weighted sum in [0, 1].
        seen: Patients that it has seen.
        **changes: Other entries for `model.json`.
    """
    size = SIZE
    # sigmoid(200 · (weighted sum in [0, 1] − 0.5)) is 0 or 1 but for a few grey values around 127.5
    constants = {"weight": np.float32(channels).reshape(-1, 3).T, "slope": np.float32([200])}
    constants["bias"] = np.float32([-100])
    nodes = [
        helper.make_node("MatMul", ["image", "weight"], ["grey"]),
        helper.make_node("Mul", ["grey", "slope"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["prob"]),
    ]
    sides = {"image": (size, 3), "prob": (size, constants["weight"].shape[1])}
    for k, block in enumerate(gates):
        n = size // block
        constants[f"blocks_{k}"], constants[f"map_{k}"] = (
            np.int64([-1, *shape]) for shape in ((n, block, n, block), (n, n, 1))
        )
        nodes += [
            helper.make_node("Reshape", ["grey", f"blocks_{k}"], [f"split_{k}"]),
            helper.make_node("ReduceMean", [f"split_{k}"], [f"mean_{k}"], axes=[2, 4], keepdims=0),
            helper.make_node("Reshape", [f"mean_{k}", f"map_{k}"], [f"gate_{k}"]),
        ]
        sides[f"gate_{k}"] = n, 1
    image, *outputs = (
        helper.make_tensor_value_info(key, TensorProto.FLOAT, ["n", side, side, depth])
        for key, (side, depth) in sides.items()
    )
    tensors = [numpy_helper.from_array(array, key) for key, array in constants.items()]
    graph = helper.make_graph(nodes, "bright", [image], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    description = {
        "name": name,
        "input": {"size": size, "channels": list(CHANNELS)},
        "sha256": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest(),
        "preprocessing": {"image_size": size, "clip_limit": 0.0, "tile_grid": 8, "intensity": "stored"},
        "postprocessing": {"threshold": 0.5, "min_lesion_px": 0, "fill_holes": False},
        "tta_flip": False,
        "parameters": 4,
        "seen": list(seen),
        "data": DATA,
        "validation_dice": 0.5,
        "trust": {"patients": 0, "volume": {}, "slice": {}},  # nothing to hold a scan against
    }
    write_json(folder / "model.json", {**description, **changes})
    return folder


def write_both_kinds(folder: Path) -> dict[str, Path]:
    """Writes released networks of glioma, which look at FLAIR, and of metastases, at post-contrast T1.

    The best one of all is an Attention U-Net of glioma; of metastases it is the U-Net.
    """
    kinds = {"lgg": (LGG, (0, 1, 0), 0.9), "mets": (INSERTED, (0, 0, 1), 0.7)}
    for kind, (data, channels, dice) in kinds.items():
        known = {"channels": channels, "data": asdict(data), "seen": ("Brats18_1_1",)}
        for name, own in (("attention_unet", dice), ("unet", 0.8)):
            write_bright_model(folder / f"{kind}-{name}", name=name, validation_dice=own, **known)
    return {path.name: path for path in sorted(folder.iterdir())}


def square(*, shift: int = 0) -> np.ndarray:
    """Two slices, (2, 8, 8) bool: 4 px in the first one, none in the second."""
    mask = np.zeros((2, 8, 8), bool)
    mask[0, 2:4, 2 + shift : 4 + shift] = True
    return mask


# Of two squares of 4 px: all overlap, half, or none; the Dice is 1, 0.5 and 0. The miss has no prediction.
WHOLE, HALF, MISSED, NOTHING = square(), square(shift=1), np.zeros((2, 8, 8), bool), None
DICE_OF = {"WHOLE": 1.0, "HALF": 0.5, "MISSED": 0.0}


def write_evaluated(
    run_folder: Path, model: str, predictions: Mapping[str, np.ndarray], *, seconds: float | None = 120.0
) -> Path:
    """Writes what the training and scoring of one network leave behind.

    Args:
        run_folder: Folder of the run.
        model: Name of the network.
        predictions: {case_id: predicted mask}; the reference is always `square()`, but for a prediction of
            None it is empty, and so is the prediction. The image is grey, 10 in the first case, then 20, …
        seconds: Time of training; None writes no manifest.
    """
    folder = run_folder / model
    rows, tables, arrays = [], [], {}
    for k, (case_id, mask_pred) in enumerate(predictions.items(), start=1):
        mask_ref = MISSED if mask_pred is None else square()
        mask_pred = MISSED if mask_pred is None else mask_pred
        row, table = evaluate_case(mask_ref, mask_pred, spacing_mm=(5.0, 1.0, 1.0))
        who = {"patient_id": case_id.rpartition("_")[0], "case_id": case_id}
        rows.append({**who, **row})
        tables.append(table.assign(**who))
        arrays[f"{case_id}/image"] = np.full((8, 8, 3), 10 * k, np.uint8)
        arrays |= {f"{case_id}/mask_ref": mask_ref[0], f"{case_id}/mask_pred": mask_pred[0]}
    evaluation = folder / "evaluation"
    evaluation.mkdir(parents=True)
    pd.DataFrame(rows).to_csv(evaluation / "per_patient.csv", index=False)
    pd.concat(tables).to_csv(evaluation / "per_slice.csv", index=False)
    np.savez(evaluation / "examples.npz", **arrays)
    write_json(folder / "model.json", {"name": model, "data": DATA})
    if seconds is not None:
        write_json(
            folder / "manifest.json", {"train_seconds": seconds, "finished": "2026-01-01T00:00:00+00:00"}
        )
    write_json(evaluation / "evaluation.json", {"parameters": 1000, "seconds_per_slice": 0.25})
    return folder


FOLDS = ({"A_20000101": WHOLE, "B_20000101": HALF}, {"C_20000101": MISSED})


def write_fold(
    run: Path, model: str, fold: int, predictions: dict, *, folds: int = 2, seed: int = 0, epochs: int = 3
) -> Path:
    """Writes a scored fold of a cross-validation, where `metseg crossval` has it; returns its folder."""
    # Numbered from 1, and by the tenth fold text is no longer in order.
    folder = write_evaluated(run / model / f"{model}-{fold + 1}", model, predictions, seconds=60.0)
    config = {"model": model, "fold": fold, "folds": folds, "epochs": epochs, "data_dir": f"from {fold}"}
    write_json(folder / "config.json", config)
    others = tuple(case for each in FOLDS for case in each if case not in predictions)
    write_split(Split(others, (), tuple(predictions), seed, ""), folder / "split.json")
    return folder


def write_crossvalidated(run: Path) -> Path:
    """Writes two networks with two folds of three patients: Dice 1, 0.5 and 0, the U-Net 0 throughout."""
    for fold, predictions in enumerate(FOLDS):
        write_fold(run, "attention_unet", fold, predictions)
        write_fold(run, "unet", fold, dict.fromkeys(predictions, MISSED))
    return run


# What a training and its export leave behind, for `write_scored`.
MANIFEST = {
    "data": {"name": "test scans", "patients": 7, "licence": "none", "caution": "Test scans."},
    "config": {"filters": [4, 8]},
    "hardware": {"cpu": "abacus", "cores": 2, "gpus": []},
    "epochs_trained": 3,
    "train_seconds": 240.0,
    "git_revision": "abc123",
    "finished": "2026-01-02T00:00:00+00:00",
}
SERVED = {"validation_dice": 0.9, "validation_dice_single_slices": 0.8, "validation_patients": 3}
SERVED |= {"seen": ["A", "B", "C", "D", "E"]}


def write_scored(run_folder: Path) -> Path:
    """Writes a finished, exported and scored U-Net, Dice 1 and 0.5; returns its folder."""
    folder = write_evaluated(run_folder, "unet", {"TEST_0001_a": WHOLE, "TEST_0002_a": HALF})
    write_bright_model(folder)
    description = read_json(folder / "model.json") | SERVED
    write_json(folder / "model.json", description)
    write_json(folder / "manifest.json", MANIFEST)
    (folder / "model.keras").touch()
    write_split(Split(("A", "B"), ("C", "D", "E"), ("TEST_0001", "TEST_0002"), 0, "f"), folder / "split.json")
    scored = {key: description[key] for key in ("sha256", "postprocessing", "tta_flip")}
    write_json(folder / "evaluation" / "evaluation.json", {**scored, "parameters": 4})
    return folder


def change_description(folder: Path, **changes) -> None:
    write_json(folder / "model.json", {**read_json(folder / "model.json"), **changes})


def add_int8(folder: Path) -> Path:
    """Puts a network that sees nothing beside a model, as its int8 file, so that one can tell them apart."""
    other = write_bright_model(folder / "blind", channels=(0.0, 0.0, 0.0)) / "model.onnx"
    digest = hashlib.sha256(other.read_bytes()).hexdigest()
    change_description(folder, precision="int8", quantised={"sha256": digest})
    return other.rename(folder / "model.int8.onnx")


# For `model.json` of a network of volumes: two operating points, the second serves, and a calibration.
SIZES = {"< 3": 2, "3–6": 4, "6–10": 0, "≥ 10": 0, "all": 6}
POINTED = {
    "postprocessing": {"threshold": 0.25, "lesion_threshold": 0.9, "min_lesion_px": 0, "fill_holes": False},
    "operating_points": {
        "rule": "voxel",
        "score": "mean log odds",
        "patients": 2,
        "scans": 2,
        "lesions": SIZES,
        "points": [
            {"lesion_threshold": 0.5, "false_positives_per_scan": 3.5, "found": SIZES},
            {
                "lesion_threshold": 0.9,
                "false_positives_per_scan": 0.5,
                "found": SIZES | {"< 3": 1, "3–6": 2, "all": 3},
            },
        ],
    },
    "lesion_calibration": {
        "slope": 1.0,
        "intercept": -1.0,
        "least": 0.25,
        "candidates": 40,
        "lesions": 20,
    },
}


def pointed_without(missing: str, lesion_threshold: float, false_positives: float) -> dict:
    """The same, with one operating point of its own for scans that lack sequences, such as "t1+flair"."""
    settings = {**POINTED["postprocessing"], "lesion_threshold": lesion_threshold}
    point = {"lesion_threshold": lesion_threshold, "false_positives_per_scan": false_positives}
    points = {**POINTED["operating_points"], "points": [{**point, "found": SIZES}]}
    measured = {"scans": 2, "complete": 0.8, "without": {missing: 0.7}}
    without = {missing: {"postprocessing": settings, "operating_points": points}}
    return {**POINTED, "never_missing": "t1c", "incomplete_dice": measured, "without_sequences": without}
