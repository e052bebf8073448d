"""The networks that runs have left: finished, unfinished and damaged ones."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, shown, taking_apart
from metseg.metrics.compare import combine_cases
from metseg.training.find import name_of, trainings_below
from metseg.training.run_folder import RunFolder


class Training(NamedTuple):
    """A training as its folder tells it; what it does not tell is None. Dice are means over patients."""

    network: str
    data: str | None = None
    patients: int | None = None
    epochs: str | None = None  # trained; of how many, while it is unfinished
    validation_dice: float | None = None  # as it is served where it was exported, else after the last epoch
    test_dice: float | None = None
    finished: str | None = None  # when, UTC
    remark: str = ""  # what is wrong with it, or to be done yet

    @property
    def scores_told(self) -> str:
        """Both Dice in one line."""
        both = (self.validation_dice, self.test_dice)
        validation, test = ("–" if dice is None else f"{dice:.3f}" for dice in both)
        return f"validation Dice {validation}, test Dice {test} (means over patients)"


def all_trainings(runs_dir: Path) -> list[Training]:
    """Returns the trainings below a folder of runs, by name; a damaged one says what is damaged."""
    return [training_in(folder, name_of(folder, runs_dir)) for folder in trainings_below(runs_dir)]


def training_in(folder: Path, name: str) -> Training:
    """Returns the training in a folder."""
    run = RunFolder(folder)
    try:
        if run.is_finished:
            return _finished(run, name)
        with taking_apart(run.config):
            of = int(read_json(run.config)["epochs"])
        dice = run.validation_dice_of_epochs()
    except MetsegError as error:
        return Training(name, remark=f"damaged: {error}")
    last = dice[-1] if dice else None
    return Training(name, epochs=f"{len(dice)} of {of}", validation_dice=last, remark="unfinished")


def _finished(run: RunFolder, name: str) -> Training:
    manifest, remarks, test_dice = read_json(run.manifest), [], None
    with taking_apart(run.manifest):
        data, patients = str(manifest["data"]["name"]), int(manifest["data"]["patients"])
        epochs, validation = str(int(manifest["epochs_trained"])), manifest.get("validation_dice")
        finished = str(manifest["finished"])[:16].replace("T", " ")
    if not run.network.is_file():
        remarks.append("damaged: model.keras is missing")
    if not run.is_exported:
        remarks.append("not exported")
    elif (served := read_json(run.description).get("validation_dice")) is not None:
        validation = served
    if run.predicts_nothing:
        remarks.append("predicts nothing")
    if run.is_scored:
        with taking_apart(run.per_patient):
            test_dice = float(combine_cases(run.read_tables()[0]).dice.mean())
    return Training(name, data, patients, epochs, validation, test_dice, finished, "; ".join(remarks))


def runs_told(runs_dir: Path) -> str:
    """Returns all trainings below a folder of runs as a table, then the runs without one."""
    runs_dir, found = Path(runs_dir), all_trainings(runs_dir)
    text = f"no training in {shown(runs_dir)} yet"
    if found:
        table = pd.DataFrame(found).astype({"patients": "Int64"})
        table.columns = [name.replace("_dice", " Dice") for name in table]
        table = table.astype(object).where(table.notna(), "–")
        text = table.to_string(index=False, justify="left", float_format="{:.3f}".format)
    runs = sorted(path for path in runs_dir.glob("[!.]*") if path.is_dir())
    if others := [run.name for run in runs if not trainings_below(run)]:
        text += f"\nwithout a training: {', '.join(others)}"
    return text
