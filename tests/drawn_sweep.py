"""A sweep of which every figure is invented: its answer is known, so one sees what figures find of it."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from metseg.base.files import make_folder, write_text
from metseg.evaluation.sweep_results import CURVES, PATIENTS

_SPEC = """name: drawn
models: [nested_unet, attention_unet]
set: {epochs: 8}
grid: {clip_limit: [0, 1, 2, 4], loss: [bce, focal, bce_dice]}
seeds: [0, 1]
"""
_NETWORKS = {"nested_unet": 0.012, "attention_unet": 0.0}  # what each gives
_LOSSES = {"bce": 0.0, "focal": 0.03, "bce_dice": 0.05}
_CLIP_LIMITS, _SEEDS, _EPOCHS, _PATIENTS = (0.0, 1.0, 2.0, 4.0), (0, 1), 8, 13


def draw_sweep(folder: Path) -> Path:
    """Writes a drawn sweep as one that was kept without its trials, and returns its folder."""
    rng = np.random.default_rng(5)
    rows, dice, curves = [], {}, []
    ease = rng.normal(0.78, 0.08, _PATIENTS)  # of each patient
    grid = itertools.product(_SEEDS, _NETWORKS, _CLIP_LIMITS, _LOSSES)
    for k, (seed, model, clip_limit, loss) in enumerate(grid):
        name = f"{model}-clip_limit{clip_limit:g}-{loss}-seed{seed}"
        chance = rng.normal(0, 0.008) + rng.normal(0, 0.03, _PATIENTS)  # of a training, and in each patient
        own = np.clip(ease + _NETWORKS[model] + _LOSSES[loss] + chance, 0, 1).round(4)
        seconds = round(rng.uniform(0.9, 1.1) * (150 if model == "nested_unet" else 90), 1)
        row = {"trial": name, "model": model, "clip_limit": clip_limit, "loss": loss, "seed": seed}
        row |= {"state": "done", "validation_dice": own.mean(), "epochs": _EPOCHS, "seconds": seconds}
        row |= {"attempts": 1, "machine": "drawn", "run_folder": "", "notebook": "", "reason": ""}
        if k == 20:
            row |= {"state": "failed", "validation_dice": None, "reason": "drawn as one that failed"}
        else:
            dice[name] = dict(zip((f"P_{n + 1:02d}" for n in range(_PATIENTS)), own, strict=True))
            epoch = np.arange(1, _EPOCHS + 1)
            course = own.mean() * (1 - np.exp(-epoch / 2)) / (1 - np.exp(-_EPOCHS / 2))
            course = course + np.r_[rng.normal(0, 0.01, _EPOCHS - 1), 0]
            known = {"trial": name, "epoch": epoch, "image_size": 128, "val_dice": course.round(4)}
            curves.append(pd.DataFrame(known))
        rows.append(row)
    make_folder(folder)
    patients = pd.DataFrame.from_dict(dice, orient="index").rename_axis("trial").reset_index()
    tables = {"results.csv": pd.DataFrame(rows), PATIENTS: patients, CURVES: pd.concat(curves)}
    for name, table in tables.items():
        write_text(folder / name, table.to_csv(index=False))
    write_text(folder / "sweep.yml", _SPEC)
    return folder
