"""Cross-validations that lie on the disk: every patient held out once, by a network that never saw them."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import replacing, shown
from metseg.data.split import Split
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


def fold_folders(run_folder: Path, model: str) -> list[Path]:
    """Returns the folders of a network's scored folds, in order of the folds; none where it has none."""
    return [run.path for run in begun_folds(run_folder, model) if run.is_scored]


def unfinished_networks(run_folder: Path) -> list[str]:
    """Returns the networks of a cross-validation of which folds are missing."""
    begun = {model: begun_folds(run_folder, model) for model in MODELS}
    return [
        model
        for model, runs in begun.items()
        if runs and sum(run.is_scored for run in runs) < runs[0].recorded_config()["folds"]
    ]


def read_crossval(run_folder: Path) -> Comparison:
    """Compares the networks of a cross-validation, those that have all folds, by their out-of-fold scores.

    Raises:
        MetsegError: No network has all folds, the folds of one were trained with different parameters, or
            two have different folds.
    """
    complete, splits = {}, {}
    for model in MODELS:
        runs = [RunFolder(path) for path in fold_folders(run_folder, model)]
        configs = [run.recorded_config() for run in runs]
        if not runs or [each["fold"] for each in configs] != list(range(configs[0]["folds"])):
            continue
        recipes = [{**each, "fold": 0, "data_dir": ""} for each in configs]
        if any(recipe != recipes[0] for recipe in recipes):
            raise MetsegError(
                f"the folds of {model} in {shown(run_folder)} were trained with different parameters; "
                "cross-validate under another run name"
            )
        complete[model], splits[model] = [run.path for run in runs], [run.read_split() for run in runs]
        _complain_if_no_partition(splits[model], f"{model} in {shown(run_folder)}")
    if not complete:
        raise MetsegError(
            f"no network has all its folds in {shown(run_folder)}; call, or call again: metseg crossval"
        )
    first, *others = complete
    for model in others:
        if splits[model] != splits[first]:
            raise MetsegError(
                f"{first} and {model} have different folds in {shown(run_folder)}; "
                "cross-validate both with the same data, split_seed, fractions and number of folds"
            )
    return compared(complete)


def _complain_if_no_partition(splits: Sequence[Split], whose: str) -> None:
    patients = {tuple(sorted((*split.train, *split.validation, *split.test))) for split in splits}
    held_out = tuple(sorted(patient for split in splits for patient in split.test))
    if patients != {held_out} or len({split.fingerprint for split in splits}) > 1:
        raise MetsegError(
            f"the folds of {whose} do not hold out each patient of one data set once: the scans changed "
            "between them; cross-validate under another run name"
        )


def write_crossval(comparison: Comparison, folder: Path, *, channel: int = 1) -> list[Path]:
    """Writes `out_of_fold.csv`, a row a network and scan with the fold it was held out in, and what
    `write_comparison` writes; returns the paths."""
    table = pd.concat(
        [
            RunFolder(path).read_tables()[0].assign(model=model, fold=fold)
            for model, folders in comparison.folders.items()
            for fold, path in enumerate(folders)
        ],
        ignore_index=True,
    )
    first = ["model", "fold"]
    with replacing(Path(folder) / "out_of_fold.csv") as partial:
        table[first + [name for name in table if name not in first]].to_csv(partial, index=False)
    return [Path(folder) / "out_of_fold.csv", *write_comparison(comparison, folder, channel=channel)]
