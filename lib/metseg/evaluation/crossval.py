"""Cross-validations that lie on the disk: every patient held out once, by a network that never saw them."""

from pathlib import Path

import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import shown, write_text
from metseg.evaluation.report import Comparison, compared, write_comparison
from metseg.training.find import MODELS
from metseg.training.run_folder import RunFolder


def fold_folder(run_folder: Path, model: str, fold: int) -> RunFolder:
    """Returns the folder of a network's fold, counted from 0."""
    return RunFolder(Path(run_folder) / model / f"{model}-{fold + 1}" / model)


def begun_folds(run_folder: Path, model: str) -> list[RunFolder]:
    """Returns the folders of a network's folds whose training was begun, in order of the folds."""
    paths = (Path(run_folder) / model).glob(f"{model}-*/{model}/config.json")
    return sorted((RunFolder(path.parent) for path in paths), key=lambda run: run.recorded_config()["fold"])


def unfinished_networks(run_folder: Path) -> list[str]:
    """Returns the networks of a cross-validation of which folds are missing."""
    return [model for model in MODELS if begun_folds(run_folder, model) and not _folds(run_folder, model)]


def _folds(run_folder: Path, model: str) -> list[RunFolder]:
    """Returns the folds of a network if all are scored, else nothing."""
    runs = [run for run in begun_folds(run_folder, model) if run.is_scored]
    configs = [run.recorded_config() for run in runs]
    whole = runs and [each["fold"] for each in configs] == list(range(configs[0]["folds"]))
    return runs if whole else []


def read_crossval(run_folder: Path) -> Comparison:
    """Compares the networks of a cross-validation, those that have all folds, by their out-of-fold scores.

    Raises:
        MetsegError: No network has all folds, the folds of one were trained with different parameters or do
            not hold out each patient once, or two networks have different folds.
    """
    complete = {model: runs for model in MODELS if (runs := _folds(run_folder, model))}
    if not complete:
        raise MetsegError(
            f"no network has all its folds in {shown(run_folder)}; call, or call again: metseg crossval"
        )
    splits = {model: [run.read_split() for run in runs] for model, runs in complete.items()}
    first = next(iter(complete))
    for model, runs in complete.items():
        whose, remedy = (
            f"the folds of {model} in {shown(run_folder)}",
            "cross-validate under another run name",
        )
        recipes = [{**run.recorded_config(), "fold": 0, "data_dir": ""} for run in runs]
        if any(recipe != recipes[0] for recipe in recipes):
            raise MetsegError(f"{whose} were trained with different parameters; {remedy}")
        patients = {tuple(sorted(each.patients)) for each in splits[model]}
        held_out = tuple(sorted(patient for each in splits[model] for patient in each.test))
        if patients != {held_out} or len({each.fingerprint for each in splits[model]}) > 1:
            raise MetsegError(f"{whose} do not hold out each patient of one data set once; {remedy}")
        if splits[model] != splits[first]:
            raise MetsegError(
                f"{first} and {model} have different folds in {shown(run_folder)}; "
                "cross-validate both with the same data, split_seed, fractions and number of folds"
            )
    return compared({model: [run.path for run in runs] for model, runs in complete.items()})


def write_crossval(comparison: Comparison, folder: Path, *, channel: int = 1) -> list[Path]:
    """Writes `out_of_fold.csv`, a row a network and scan with the fold it was held out in, and what
    `write_comparison` writes; returns the paths."""
    tables = [
        RunFolder(path).read_tables()[0].assign(model=model, fold=fold)
        for model, folders in comparison.folders.items()
        for fold, path in enumerate(folders)
    ]
    table = pd.concat(tables, ignore_index=True).set_index(["model", "fold"])
    path = Path(folder) / "out_of_fold.csv"
    write_text(path, table.to_csv())
    return [path, *write_comparison(comparison, folder, channel=channel)]
