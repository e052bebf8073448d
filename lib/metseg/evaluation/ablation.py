"""What a change of parameters gave: trainings held against a baseline on their validation patients.

Held-out patients have no part in it: whoever chooses by them has no figure left.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, shown, write_text
from metseg.data.cases import CaseFiles, lesion_told
from metseg.data.content import fingerprint
from metseg.export.validation_dice import dice_both_ways, validation_cases
from metseg.inference.predictor import Predictor
from metseg.metrics.statistics import holm, paired_test
from metseg.plots.results import plot_ablation
from metseg.plots.style import save_figure, use_style
from metseg.training.config import PARAMETERS, with_defaults
from metseg.training.find import MODELS, trainings_below
from metseg.training.run_folder import RunFolder

OF_LESIONS = ("found", "lesions", "false_positives_per_scan")  # columns of networks with operating points


def ablation_table(
    folders: Sequence[Path],
    cases: Sequence[CaseFiles],
    *,
    on_model: Callable[[int, int], None] = lambda k, n: None,
) -> pd.DataFrame:
    """Scores trainings on the validation patients that they share, and holds each against the first.

    Args:
        folders: Folders of exported models, the baseline first.
        cases: Cases, those of the validation patients among them.
        on_model: Called with (finished, of) after each model.

    Returns:
        A row a training: run, model; changed (parameters other than the baseline's); epochs, train_minutes;
        patients (with a lesion); dice (`VolumeDice.mean`, masks made as they are served; the same patients
        chose the epoch, so that it flatters) and dice_median; difference, its interval and p_value
        (`paired_test` against the baseline), p_holm (over the rows); dice_single_slices. Of networks with
        operating points also found, lesions (those of 3 mm and more) and false_positives_per_scan, at the
        point that serves. What the export has measured on these very scans is taken from there.

    Raises:
        MetsegError: Two trainings have another split.
    """
    rows, runs = [], list(map(RunFolder, folders))
    for k, run in enumerate(runs):
        manifest, files = read_json(run.manifest), validation_cases(run, cases)
        if run.read_split() != runs[0].read_split():
            raise MetsegError(f"{run} has another split than {runs[0]}; compare trainings of one")
        predictor = Predictor(run.path)
        dice, mean, alone = _measured(run, predictor, cases) or _scored(predictor, files)
        if k == 0:
            baseline, config = dice, manifest["config"]
        test = paired_test(dice, baseline) if k else {}
        rows.append(
            {
                "run": run.path.parent.name,
                "model": predictor.name,
                "changed": _changes(config, manifest),
                "epochs": manifest["epochs_trained"],
                "train_minutes": manifest["train_seconds"] / 60,
                "patients": len(dice),
                "dice": mean,
                "dice_median": dice.median(),
                **{f"difference{end}": test.get(f"mean_difference{end}") for end in ("", "_low", "_high")},
                "p_value": test.get("p_value"),
                "dice_single_slices": alone,
                **_detection(predictor),
            }
        )
        on_model(k + 1, len(folders))
    table = pd.DataFrame(rows)
    place = table.columns.get_loc("p_value") + 1
    table.insert(place, "p_holm", [np.nan, *holm(table.p_value.astype(float)[1:])])
    return table


def _measured(
    run: RunFolder, predictor: Predictor, cases: Sequence[CaseFiles]
) -> tuple[pd.Series, float, float] | None:
    """Returns what the export measured: Dice of the patients, mean, slice by slice; None of other scans."""
    known = predictor.description
    if "validation_dice_of_patients" not in known or known["data"].get("lesion", "") != lesion_told(cases):
        return None
    if run.read_split().fingerprint != fingerprint(cases):
        return None
    of_patients, mean = known["validation_dice_of_patients"], known["validation_dice"]
    alone = known.get("validation_dice_single_slices", mean)  # a network of volumes knows none by itself
    return pd.Series(of_patients, dtype=float).rename_axis("patient_id"), mean, alone


def _scored(predictor: Predictor, files: Sequence[CaseFiles]) -> tuple[pd.Series, float, float]:
    whole, alone = dice_both_ways(predictor, files)
    return whole.of_patient, whole.mean, alone.mean


def _detection(predictor: Predictor) -> dict[str, float]:
    if (points := predictor.operating_points) is None:
        return dict.fromkeys(OF_LESIONS, np.nan)
    served = points.at(predictor.postprocessing.lesion_threshold)
    small = next(iter(points.lesions))
    counts = (each["all"] - each[small] for each in (served.found, points.lesions))
    return dict(zip(OF_LESIONS, (*counts, served.false_positives_per_scan), strict=True))


def _changes(before: dict[str, Any], manifest: dict[str, Any]) -> str:
    """Returns `name=value` of all parameters that differ."""
    before, after = with_defaults(before), with_defaults(manifest["config"])
    names = [n for n in PARAMETERS if n != "data_dir" and after[n] != before[n]]
    extended = [f"extended after epoch {each['after_epoch']}" for each in manifest.get("extended") or ()]
    return ", ".join([f"{name}={after[name]}" for name in names] + extended)


def write_ablation(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes `ablation.csv` and `ablation.png`; returns both."""
    use_style()
    write_text(path := Path(folder) / "ablation.csv", table.to_csv(index=False))
    return [path, save_figure(plot_ablation(table), path.with_suffix(".png"))]


def read_ablation(folder: Path) -> pd.DataFrame:
    """Returns the table that `write_ablation` wrote, or raises a `MetsegError`."""
    path = Path(folder) / "ablation.csv"
    try:
        table = pd.read_csv(path)
        return table.assign(changed=table.changed.fillna(""))
    except (OSError, ValueError, AttributeError) as error:
        raise MetsegError(f"{shown(path)} is missing or damaged; call: metseg ablation") from error


def comparable_trainings(run_folder: Path) -> list[Path]:
    """Returns the exported trainings of a run, and those of runs beside it with the same split.

    The run's own come first; of trainings with the same parameters one is enough.
    """
    run_folder, found = Path(run_folder), {}
    own = [run_folder / name for name in MODELS]
    runs = [RunFolder(path) for path in (*own, *trainings_below(run_folder.parent))]
    runs = [run for run in runs if run.is_finished and run.is_exported]
    if not runs or runs[0].path not in own:
        return []
    for run in runs:
        recipe = {**run.recorded_config(), "data_dir": ""}
        if run.read_split() == runs[0].read_split() and recipe not in found.values():
            found[run.path] = recipe
    return list(found)
