"""What more patients to learn from are worth: the same recipe, the same patients held out."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from metseg.base.errors import MetsegError
from metseg.evaluation.lesion_scores import compare_patients, read_lesion_scores
from metseg.metrics.detection import SCORED
from metseg.training.run_folder import RunFolder

# What `train_patients` may change beside itself.
_OF_A_FOLD = {"train_patients", "fold"}


def learning_curve(
    runs: Iterable[Path], metastases: pd.DataFrame | None = None, *, rule: str = "voxel"
) -> pd.DataFrame:
    """Returns scores by the number of patients that networks learned from.

    Args:
        runs: Folders of scored networks of one recipe, which differ in `train_patients`; of a
            cross-validation all folds.
        metastases: Which lesions of the reference count: case_id, lesion; all if left out.
        rule: When a lesion is found, see `lesion_matching.MATCHINGS`.

    Returns:
        A row a number of patients, the fewest first: patients; dice_mean, sensitivity (over lesions of 3 mm
        and more) and false_positives_per_scan, each with its 95 % bootstrap interval over the patients held
        out, as dice_mean_low, dice_mean_high, sensitivity_low, …

    Raises:
        MetsegError: The networks differ in another parameter, or were scored on other scans.
    """
    by_count, recipes = defaultdict(list), []
    for run in map(RunFolder, runs):
        by_count[len(run.read_split().train)].append(run.path)
        known = run.recorded_config()
        recipes.append({name: value for name, value in known.items() if name not in _OF_A_FOLD})
    for other in recipes[1:]:
        if changed := [name for name in other if other[name] != recipes[0].get(name)]:
            raise MetsegError(
                f"the networks of a learning curve differ in {', '.join(changed)}; give those that differ in "
                "train_patients alone"
            )
    networks = {str(count): by_count[count] for count in sorted(by_count)}
    scores = read_lesion_scores(networks)
    if metastases is not None:
        scores = scores.only(metastases)
    sizes = scores.by_size(rule)
    total = sizes[sizes.diameter_mm == SCORED].set_index("network")
    total = total[["sensitivity", "low", "high"]]
    total.columns = ["sensitivity", "sensitivity_low", "sensitivity_high"]
    per_scan = scores.false_positives(rule)
    per_scan.columns = [per_scan.columns[0], "false_positives_low", "false_positives_high"]
    dice = compare_patients(networks)[0].set_index("model")
    dice = dice[["dice_mean", "dice_mean_low", "dice_mean_high"]]
    table = dice.join([total, per_scan]).rename_axis("patients").reset_index()
    return table.astype({"patients": int}).sort_values("patients", ignore_index=True)
