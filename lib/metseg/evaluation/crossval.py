"""Cross-validation: every patient is held out once, and scored by a network that has never seen them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, replacing, shown
from metseg.data.cases import find_cases
from metseg.data.content import fingerprint
from metseg.data.split import Split, read_split
from metseg.evaluation.report import Comparison, compared, write_comparison
from metseg.training.begun import complain_if_begun_otherwise
from metseg.training.config import config_among, with_defaults
from metseg.training.runs import ENSEMBLE, MODELS, read_tables
from metseg.workbook.display import Event
from metseg.workbook.parameters import defaults_of
from metseg.workbook.run import sweep, training_notebook


def cross_validate(
    model: str,
    values: Mapping[str, Any],
    *,
    folds: int,
    run_folder: Path,
    notebooks: Path,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Sequence[Path]:
    """Trains and scores a network once a fold, each time with its notebook.

    Interrupted, the same call goes on: finished folds are skipped, and a fold's training resumes after its
    last finished epoch.

    Args:
        model: Which network.
        values: Parameters of its notebook, but for `folds` and `fold`.
        folds: How many; every patient is held out in one of them.
        run_folder: The folds lie in <run folder>/<model>/<model>-1, -2 and so on.
        notebooks: Folder of the notebooks.
        on_event: Called with every `Event`; position and number are of the folds.

    Returns:
        The folder of each fold's network.

    Raises:
        MetsegError: A parameter does not fit, the run was begun with other parameters or data, or a fold
            failed; the others are finished then.
    """
    if folds < 2:
        raise MetsegError(f"folds={folds} holds nobody out in turn; choose 2 or more")
    if wrong := sorted({"folds", "fold"} & values.keys()):
        raise MetsegError(f"{wrong[0]} is no parameter to set here; the number of folds is an argument")
    notebook, target = training_notebook(model, notebooks), Path(run_folder) / model
    restart = bool(values.get("restart"))
    begun = {_config(path.parent)["folds"] for path in target.glob(f"{model}-*/{model}/config.json")}
    if begun - {folds} and not restart:
        raise MetsegError(
            f"{shown(target)} was begun with {min(begun - {folds})} folds, not {folds}; "
            "choose another run name"
        )
    _complain_if_other_folds(
        run_folder, {**values, "folds": folds}, notebook, but=target if restart else None
    )
    if not restart:
        _complain_if_begun_otherwise(target, model, {**values, "folds": folds}, notebook)
    sweep(
        notebook,
        {"fold": list(range(folds))},
        {**values, "folds": folds},
        run_folder=target,
        on_event=on_event,
    )
    found = fold_folders(run_folder, model)
    if len(found) < folds:
        raise MetsegError(
            f"folds of {model} are missing in {shown(target)} that its sweep.csv calls finished; "
            "remove that file and call again: trainings that are there are not repeated"
        )
    return found


def _complain_if_other_folds(
    run_folder: Path, values: Mapping[str, Any], notebook: Path, *, but: Path | None
) -> None:
    """Before hours of training: networks whose folds differ cannot be compared; `but` begins anew."""
    paths = sorted(Path(run_folder).glob("*/*/*/config.json"))
    begun = [with_defaults(read_json(path)) for path in paths if path.parents[2] != but]
    defaults = defaults_of(notebook) if begun else {}
    own = {**defaults, **values}
    for other in begun:
        for name in ("folds", "split_seed", "validation_fraction"):
            if other[name] != own[name]:
                raise MetsegError(
                    f"{shown(run_folder)} has {other['model']} with {name}={other[name]}, not {own[name]}; "
                    "cross-validate both with the same, or choose another run name"
                )


def _complain_if_begun_otherwise(target: Path, model: str, values: Mapping[str, Any], notebook: Path) -> None:
    """Before the table of finished folds forgets them, and a notebook a fold is started only to refuse."""
    begun = [path.parent for path in sorted(target.glob(f"{model}-*/{model}/history.csv"))]
    defaults, found = defaults_of(notebook) if begun else {}, {}
    for folder in begun:
        config = config_among({**defaults, **values, "fold": _config(folder)["fold"]})
        complain_if_begun_otherwise(config, folder)
        data_dir = notebook.parent / config.data_dir
        known = read_split(folder / "split.json").fingerprint
        if data_dir not in found:
            found[data_dir] = fingerprint(find_cases(data_dir)) if data_dir.is_dir() else None
        if found[data_dir] not in (None, known):
            raise MetsegError(
                f"{shown(folder)} began with other data; set restart = True to set it aside and begin anew, "
                "or choose another run name"
            )


def fold_folders(run_folder: Path, model: str) -> list[Path]:
    """Returns the folders of a network's scored folds, in order of the folds; none where it has none."""
    scored = (Path(run_folder) / model).glob(f"{model}-*/{model}/evaluation/evaluation.json")
    return sorted((path.parents[1] for path in scored), key=lambda folder: _config(folder)["fold"])


def read_crossval(run_folder: Path) -> Comparison:
    """Compares the networks of a cross-validation, those that have all folds, by their out-of-fold scores.

    Raises:
        MetsegError: No network has all folds, the folds of one were trained with different parameters, or
            two have different folds.
    """
    run_folder, complete, splits = Path(run_folder), {}, {}
    for model in MODELS:
        folders = fold_folders(run_folder, model)
        configs = [with_defaults(_config(folder)) for folder in folders]
        if not folders or [each["fold"] for each in configs] != list(range(configs[0]["folds"])):
            continue
        recipes = [{**each, "fold": 0, "data_dir": ""} for each in configs]
        if any(recipe != recipes[0] for recipe in recipes):
            raise MetsegError(
                f"the folds of {model} in {shown(run_folder)} were trained with different parameters; "
                "cross-validate under another run name"
            )
        complete[model], splits[model] = folders, [read_split(folder / "split.json") for folder in folders]
        _complain_if_no_partition(splits[model], f"{model} in {shown(run_folder)}")
    if not complete:
        raise MetsegError(
            f"no network has all its folds in {shown(run_folder)}; call, or call again: metseg crossval"
        )
    first = next(iter(complete))
    for model in complete:
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


def unfinished_networks(run_folder: Path) -> list[str]:
    """Returns the networks of a cross-validation of which folds are missing."""
    found = {model: fold_folders(run_folder, model) for model in MODELS}
    return [
        model
        for model, folders in found.items()
        if (folders or (Path(run_folder) / model / "sweep.csv").exists())
        and (not folders or len(folders) < _config(folders[0])["folds"])
    ]


def ensembles_of_folds(networks: Sequence[Path]) -> dict[Path, list[Path]]:
    """Pairs the networks of a cross-validation fold by fold, as members of ensembles.

    Args:
        networks: Two <run folder>/<model> or more.

    Returns:
        {folder for a fold's ensemble, where `read_crossval` finds it: the folders of that fold's networks},
        for the folds that all have finished.

    Raises:
        MetsegError: There is no such fold, or one of them holds ensembles.
    """
    networks = list(map(Path, networks))
    if already := [network for network in networks if network.name == ENSEMBLE]:
        raise MetsegError(f"{shown(already[0])} holds ensembles already; name the networks themselves")
    scored = [
        {_config(folder)["fold"]: folder for folder in fold_folders(network.parent, network.name)}
        for network in networks
    ]
    target = networks[0].parent / ENSEMBLE
    found = {
        target / f"{ENSEMBLE}-{fold + 1}" / ENSEMBLE: [folders[fold] for folders in scored]
        for fold in sorted(set.intersection(*map(set, scored)))
    }
    if not found:
        raise MetsegError(
            f"{' and '.join(map(shown, networks))} have no finished fold in common; call: metseg crossval"
        )
    return found


def write_crossval(comparison: Comparison, folder: Path, *, channel: int = 1) -> list[Path]:
    """Writes `out_of_fold.csv`, a row a network and scan with the fold it was held out in, and what
    `write_comparison` writes; returns the paths."""
    rows = [
        read_tables(path)[0].assign(model=model, fold=fold)
        for model, folders in comparison.folders.items()
        for fold, path in enumerate(folders)
    ]
    table = pd.concat(rows, ignore_index=True)
    first = ["model", "fold"]
    with replacing(Path(folder) / "out_of_fold.csv") as partial:
        table[first + [name for name in table if name not in first]].to_csv(partial, index=False)
    return [Path(folder) / "out_of_fold.csv", *write_comparison(comparison, folder, channel=channel)]


def _config(folder: Path) -> dict:
    return read_json(folder / "config.json")
