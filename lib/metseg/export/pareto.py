"""What a smaller or faster form of a network costs in Dice, and which forms are worth having."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from metseg.data.cases import CaseFiles, load_case
from metseg.export.onnx import export_onnx
from metseg.export.precision import native_precisions, reduce_precision
from metseg.export.validation_dice import dice_both_ways, dice_change, training_cases
from metseg.inference.engines import Engine, open_engine
from metseg.inference.predictor import Predictor
from metseg.inference.sliding_window import cut
from metseg.preprocessing.pipeline import network_input
from metseg.training.run_folder import RunFolder


def write_variants(run: RunFolder, folder: Path, cases: Iterable[CaseFiles]) -> dict[str, Path]:
    """Writes the forms of a network with deep supervision, to be measured by `measure_variants`.

    Args:
        run: Folder of its finished training.
        folder: Folder for the forms, each a folder by its name.
        cases: Cases of the training's patients.

    Returns:
        {name: folder}: `fp32`, all heads averaged; the same in the other precisions that this CPU multiplies
        natively; and the heads one by one, `L1` first, each with as much of the graph as it needs.
    """
    whole, *reduced = native_precisions()[::-1]
    variants, cases = {whole: Path(folder) / whole}, training_cases(run, cases)
    export_onnx(run, variants[whole])
    for name in reduced:
        variants[name] = reduce_precision(variants[whole], Path(folder) / name, name, cases=cases)
    for head in range(1, run.trained_config().network.poolings + 1):
        variants[f"L{head}"] = Path(folder) / f"L{head}"
        export_onnx(run, variants[f"L{head}"], prune=head)
    return variants


def measure_variants(
    folders: Mapping[str, Path], cases: Sequence[CaseFiles], *, rounds: int = 15
) -> pd.DataFrame:
    """Measures time, size and Dice of exported models.

    Args:
        folders: {variant: folder of an exported model}, first the one that the others are held against.
        cases: Cases of patients to choose by: validation, never held-out ones.
        rounds: In every round each variant takes one slice on one core, so that what else the machine does
            slows them alike; the median time of the network alone counts.

    Returns:
        A row a variant: variant, precision (what it ran in), ms_per_slice (of a network of volumes
        a patch's), times_as_fast (as the first), mb (of the file that runs), dice (`VolumeDice.mean`),
        dice_single_slices (every slice segmented by itself), dice_change, dice_change_single_slices and
        largest_change_of_a_patient (see `DiceChange`),
        on_front (see `on_front`), default (the fastest whose changes are negligible).
    """
    predictors = [Predictor(folder) for folder in folders.values()]
    dice = [dice_both_ways(predictor, cases) for predictor in predictors]
    changes = [dice_change(dice[0], own) for own in dice]
    volume, runs = load_case(cases[0]).volume, []
    for predictor in predictors:
        patch = predictor.patch_size
        engine = open_engine(predictor.onnx.read_bytes(), predictor.precision, of_volumes=patch is not None)
        small, z = network_input(volume, predictor.preprocessing), volume.grid[0] // 2
        runs.append((engine, small[z] if patch is None else cut(small, (max(0, z - patch[0]), 0, 0), patch)))
    seconds = [[_seconds(*run) for run in runs] for _ in range(rounds)]
    ms = 1000 * np.median(seconds, axis=0)
    table = pd.DataFrame(
        {
            "variant": list(folders),
            "precision": [each.precision for each in predictors],
            "ms_per_slice": ms,
            "times_as_fast": ms[0] / ms,
            "mb": [each.onnx.stat().st_size / 1e6 for each in predictors],
            "dice": [whole.mean for whole, _ in dice],
            "dice_single_slices": [alone.mean for _, alone in dice],
            "dice_change": [each.mean for each in changes],
            "dice_change_single_slices": [each.mean_single_slices for each in changes],
            "largest_change_of_a_patient": [abs(each.largest) for each in changes],
        }
    )
    table["on_front"] = on_front(table.ms_per_slice, table.dice)
    same = table[[each.negligible for each in changes]]
    return table.assign(default=table.index == same.ms_per_slice.idxmin())


def _seconds(engine: Engine, image: np.ndarray) -> float:
    started = time.perf_counter()
    engine.run(engine.outputs[:1], image)
    return time.perf_counter() - started


def on_front(cost: Sequence[float], gain: Sequence[float]) -> np.ndarray:
    """Returns which of some choices are Pareto-optimal: no other is as good in both and better in one.

    Args:
        cost: (N,), less is better.
        gain: (N,), more is better.
    """
    cost, gain = np.asarray(cost), np.asarray(gain)
    as_good = (cost[:, None] <= cost) & (gain[:, None] >= gain)
    better = as_good & ((cost[:, None] < cost) | (gain[:, None] > gain))
    return ~better.any(axis=0)
