"""What a smaller or faster form of a network costs in Dice, and which forms are worth having."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError
from metseg.data.cases import CaseFiles, load_case
from metseg.data.volume import Volume
from metseg.export.onnx import export_onnx
from metseg.export.precision import native_precisions, reduce_precision
from metseg.export.validation_dice import dice_both_ways, dice_change, training_cases
from metseg.inference.engines import open_engine
from metseg.inference.predictor import Predictor
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
    folders: Mapping[str, Path], cases: Sequence[CaseFiles], *, reference: str, rounds: int = 15
) -> pd.DataFrame:
    """Measures time, size and Dice of exported models.

    The time is the median of the network alone, on one core and one slice; in every round each variant runs
    once, so that what else the machine does slows them alike.

    Args:
        folders: {variant: folder of an exported model}.
        cases: Cases of patients to choose by: validation, never held-out ones.
        reference: The variant that the others are held against, by ONNX Runtime in float32.
        rounds: How often each runs.

    Returns:
        A row a variant: variant, precision (what it ran in), ms_per_slice, times_as_fast (as the reference),
        mb (of the file that runs), dice (`VolumeDice.mean`), dice_single_slices (every slice segmented by
        itself), dice_change, dice_change_single_slices and largest_change_of_a_patient (see `DiceChange`),
        on_front (see `on_front`), default (the fastest whose changes are negligible).

    Raises:
        MetsegError: There is no case, or the reference does not run in float32.
    """
    if not cases:
        raise MetsegError("no case to measure by; give the scans of the training's validation patients")
    predictors = {name: Predictor(folder) for name, folder in folders.items()}
    if predictors[reference].precision != "fp32":
        raise MetsegError(f"{reference} runs in {predictors[reference].precision}; give one in float32")
    dice = {name: dice_both_ways(predictor, cases) for name, predictor in predictors.items()}
    changes = [dice_change(dice[reference], own) for own in dice.values()]
    seconds = _alternating(predictors, load_case(cases[0]).volume, rounds)
    table = pd.DataFrame(
        {
            "variant": list(folders),
            "precision": [each.precision for each in predictors.values()],
            "ms_per_slice": 1000 * np.median(seconds, axis=0),
            "mb": [each.onnx.stat().st_size / 1e6 for each in predictors.values()],
            "dice": [whole.mean for whole, _ in dice.values()],
            "dice_single_slices": [alone.mean for _, alone in dice.values()],
            "dice_change": [each.mean for each in changes],
            "dice_change_single_slices": [each.mean_single_slices for each in changes],
            "largest_change_of_a_patient": [abs(each.largest) for each in changes],
        }
    )
    of_reference = table.ms_per_slice[table.variant == reference].item()
    table.insert(3, "times_as_fast", of_reference / table.ms_per_slice)
    table["on_front"] = on_front(table.ms_per_slice, table.dice)
    same = table[[each.negligible for each in changes]]
    return table.assign(default=table.index == same.ms_per_slice.idxmin())


def _alternating(predictors: Mapping[str, Predictor], volume: Volume, rounds: int) -> list[list[float]]:
    """Returns the networks' seconds for one slice, round by round."""
    runs = []
    for predictor in predictors.values():
        engine = open_engine(predictor.onnx.read_bytes(), predictor.precision)
        runs.append((engine, network_input(volume, predictor.preprocessing)[volume.grid[0] // 2]))
    seconds = []
    for _ in range(rounds):
        seconds.append([])
        for engine, small in runs:
            started = time.perf_counter()
            engine.run(engine.outputs[:1], small)
            seconds[-1].append(time.perf_counter() - started)
    return seconds


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
