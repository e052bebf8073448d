"""The networks that runs have left: finished, unfinished and damaged ones."""

import csv
from pathlib import Path
from typing import NamedTuple

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, taking_apart
from metseg.training.runs import name_of, predicts_nothing, read_tables, trainings_below


class Training(NamedTuple):
    """A training as its folder tells it; what it does not tell is None.

    Attributes:
        name: What commands call it.
        data: Name of the data set.
        patients: How many it has.
        epochs: How many were trained; of how many, while it is unfinished.
        validation_dice: Mean volume Dice of the validation patients: as it is served where it was exported,
            after the last epoch while it is unfinished.
        test_dice: Mean volume Dice of the patients held out.
        finished: When, UTC; None while it is unfinished.
        remark: What is wrong with it, or to be done yet.
    """

    name: str
    data: str | None = None
    patients: int | None = None
    epochs: str | None = None
    validation_dice: float | None = None
    test_dice: float | None = None
    finished: str | None = None
    remark: str = ""


def all_trainings(runs_dir: Path) -> list[Training]:
    """Returns the trainings below a folder of runs, by name; a damaged one says what is damaged."""
    found = []
    for folder in trainings_below(runs_dir):
        name = name_of(folder, runs_dir)
        try:
            finished = (folder / "manifest.json").exists()
            found.append(_finished(folder, name) if finished else _unfinished(folder, name))
        except MetsegError as error:
            found.append(Training(name, remark=f"damaged: {error}"))
    return found


def runs_without_training(runs_dir: Path) -> list[str]:
    """Returns the folders of runs in which no training was begun, such as benchmarks."""
    if not Path(runs_dir).is_dir():
        return []
    runs = sorted(path for path in Path(runs_dir).iterdir() if path.is_dir() and path.name[0] != ".")
    return [run.name for run in runs if not trainings_below(run)]


def _finished(folder: Path, name: str) -> Training:
    path = folder / "manifest.json"
    manifest, remarks = read_json(path), []
    with taking_apart(path):
        data, patients = str(manifest["data"]["name"]), int(manifest["data"]["patients"])
        epochs, validation = int(manifest["epochs_trained"]), manifest.get("validation_dice")
        finished = str(manifest["finished"])[:16].replace("T", " ")
    if not (folder / "model.keras").is_file():
        remarks.append("damaged: model.keras is missing")
    if (folder / "model.json").exists():
        with taking_apart(folder / "model.json"):
            served = read_json(folder / "model.json").get("validation_dice")
            validation = validation if served is None else float(served)
    else:
        remarks.append("not exported")
    if predicts_nothing(folder):
        remarks.append("predicts nothing")
    test_dice = None
    if (folder / "evaluation" / "evaluation.json").exists():
        from metseg.metrics.compare import combine_cases

        with taking_apart(folder / "evaluation" / "per_patient.csv"):
            test_dice = float(combine_cases(read_tables(folder)[0]).dice.mean())
    return Training(name, data, patients, str(epochs), validation, test_dice, finished, "; ".join(remarks))


def _unfinished(folder: Path, name: str) -> Training:
    config = read_json(folder / "config.json")
    with taking_apart(folder / "config.json"):
        of = int(config["epochs"])
    try:
        with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
            dice = [float(row["val_dice"]) for row in csv.DictReader(file)]
    except FileNotFoundError:
        dice = []
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise MetsegError("history.csv cannot be read; begin the training again") from error
    last = dice[-1] if dice else None
    return Training(name, epochs=f"{len(dice)} of {of}", validation_dice=last, remark="unfinished")
