"""What a smaller or faster form of a network costs in Dice, and which forms are worth having."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError
from metseg.data.cases import CaseFiles, load_case
from metseg.data.volume import Volume
from metseg.export.validation_dice import dice_both_ways, dice_change
from metseg.inference.engines import open_engine
from metseg.inference.predictor import Predictor
from metseg.preprocessing.pipeline import network_input


def measure_variants(
    folders: Mapping[str, Path],
    cases: Sequence[CaseFiles],
    *,
    reference: str,
    rounds: int = 15,
    on_variant: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Measures time, size and Dice of exported models.

    The time is that of the network alone, on one core and one slice. In every round each variant runs once,
    so that what else the machine does slows them alike; the median of the rounds counts.

    Args:
        folders: {variant: folder of an exported model}.
        cases: Cases of patients to choose by: validation, never held-out ones.
        reference: The variant that the others are held against, by ONNX Runtime in float32.
        rounds: How often each runs.
        on_variant: Called with (finished, of) after each variant's Dice.

    Returns:
        A row a variant: variant, precision (what it ran in), ms_per_slice, times_as_fast (as the reference),
        mb (of the file that runs), dice (mean volume Dice, `VolumeDice.mean`), dice_single_slices (the same,
        every slice segmented by itself), dice_change and dice_change_single_slices (of these means, against
        the reference), largest_change_of_a_patient (up or down, of whole volumes or slice by slice), on_front
        (no other is as fast and as good for volumes, and better in one of the two), default (the fastest
        whose changes are negligible, see `DiceChange`).

    Raises:
        MetsegError: The reference is not among the variants, does not run in float32, or there is no case.
    """
    if reference not in folders or not cases:
        raise MetsegError(f"no case, or no variant {reference!r} among {', '.join(folders)}; give both")
    predictors = {name: Predictor(folder) for name, folder in folders.items()}
    if predictors[reference].precision != "fp32":
        raise MetsegError(f"{reference} runs in {predictors[reference].precision}; give one in float32")
    seconds = _alternating(predictors, load_case(cases[0]).volume, rounds)
    rows, dice = [], {}
    for k, (name, predictor) in enumerate(predictors.items()):
        size = predictor.onnx.stat().st_size / 1e6
        ms = 1000 * float(np.median(seconds[name]))
        dice[name] = dice_both_ways(predictor, cases)
        rows.append((name, predictor.precision, ms, size, *(each.mean for each in dice[name])))
        if on_variant:
            on_variant(k + 1, len(folders))
    columns = ["variant", "precision", "ms_per_slice", "mb", "dice", "dice_single_slices"]
    table = pd.DataFrame(rows, columns=columns)
    of_reference = table.set_index("variant").ms_per_slice[reference]
    table.insert(3, "times_as_fast", of_reference / table.ms_per_slice)
    changes = [dice_change(dice[reference], own) for own in dice.values()]
    table["dice_change"] = [each.mean for each in changes]
    table["dice_change_single_slices"] = [each.mean_single_slices for each in changes]
    table["largest_change_of_a_patient"] = [abs(each.largest) for each in changes]
    table["on_front"] = on_front(table.ms_per_slice, table.dice)
    same = table[[each.negligible for each in changes]]
    table["default"] = table.index == same.ms_per_slice.idxmin()
    return table


def _alternating(predictors: Mapping[str, Predictor], volume: Volume, rounds: int) -> dict[str, list[float]]:
    """Returns each network's seconds for one slice, round by round."""
    runs = {}
    for name, predictor in predictors.items():
        engine = open_engine(predictor.onnx.read_bytes(), predictor.precision)
        runs[name] = engine, network_input(volume, predictor.preprocessing)[volume.grid[0] // 2]
    seconds = {name: [] for name in predictors}
    for _ in range(rounds):
        for name, (engine, small) in runs.items():
            started = time.perf_counter()
            engine.run(engine.outputs[:1], small)
            seconds[name].append(time.perf_counter() - started)
    return seconds


def on_front(cost: Sequence[float], gain: Sequence[float]) -> np.ndarray:
    """Returns which of some choices are Pareto-optimal.

    Args:
        cost: (N,), less is better.
        gain: (N,), more is better.

    Returns:
        (N,) bool: no other choice is at least as good in both and better in one.
    """
    cost, gain = np.asarray(cost), np.asarray(gain)
    as_good = (cost[:, None] <= cost) & (gain[:, None] >= gain)
    better = as_good & ((cost[:, None] < cost) | (gain[:, None] > gain))
    return ~better.any(axis=0)
