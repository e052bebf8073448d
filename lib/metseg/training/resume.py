"""A folder that holds a training already: it goes on, is refused, or is set aside for a new start."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metseg.base.errors import MetsegError
from metseg.base.files import make_folder, read_json, shown, write_json
from metseg.data.split import Split, write_split
from metseg.training.config import TrainConfig
from metseg.training.run_folder import RunFolder
from metseg.training.schedule import out_of_patience

_MAY_CHANGE = ("epochs", "patience")  # how long to train; all else decides what is trained
_WAYS_OUT = "set restart = True to set it aside and begin anew, or choose another run_name"


def begin(config: TrainConfig, split: Split, run: RunFolder, *, restart: bool = False) -> bool:
    """Readies a folder, which this process holds the lock of, and returns whether there is anything to train.

    Where more `epochs` are asked for, or another `patience`, the training goes on after its last epoch, even
    a finished one, and `extended.json` keeps what changed. What differs otherwise is refused or, with
    `restart`, set aside into `before-1` in its folder, or the next free number.

    Raises:
        MetsegError: The folder holds a training with other settings or other data, or one that cannot go on.
    """
    _finish_setting_aside(run)
    if run.has_epochs:
        begun = run.read_split()
        other = begun != split
        changed = _changes(config, run)
        if restart and (other or changed):
            make_folder(run.aside)
            print(f"the training that was in {run} now lies in {shown(_finish_setting_aside(run))}")
        else:
            complain_if_begun_otherwise(config, run)
            if other:
                what = "another split" if begun.fingerprint == split.fingerprint else "other data"
                raise MetsegError(f"{run} began with {what}; {_WAYS_OUT}")
            if changed:
                _go_on_with(config, changed, run)
    write_json(run.config, config.flat())
    if run.is_finished:
        return False
    write_split(split, run.split)
    return True


def complain_if_begun_otherwise(config: TrainConfig, run: RunFolder) -> None:
    """Raises a `MetsegError` if a folder holds a training that cannot go on with these parameters, wherever
    its data lay."""
    if not run.has_epochs:
        return  # nothing has been learned yet that could be mixed up
    changed = _changes(config, run)
    told, learning = _told(changed), config.learning
    fewer = "epochs" in changed and changed["epochs"][0] > changed["epochs"][1]
    if fewer or not changed.keys() <= set(_MAY_CHANGE):
        raise MetsegError(f"{run} holds other settings ({told}); {_WAYS_OUT}")
    if changed and run.is_finished:
        history = run.epochs_done()
        cause = "its state after the last epoch was not kept or is damaged, so it cannot go on"
        if history and (len(history) >= learning.epochs or out_of_patience(history, learning)):
            cause = "no epoch would be added"
        elif history:
            return
        raise MetsegError(f"{run} is finished, and {cause} ({told}); {_WAYS_OUT}")


def extensions(config: TrainConfig, run: RunFolder) -> list[dict[str, Any]]:
    """Returns each time that a training was told to go on: after which epoch, and each [before, after]."""
    found = read_json(run.extended)["extended"] if run.extended.exists() else []
    # One that was written and then, after a kill, not asked for again, came to nothing.
    return [each for each in found if each.get("epochs", (0, 0))[1] <= config.learning.epochs]


def _changes(config: TrainConfig, run: RunFolder) -> dict[str, tuple[Any, Any]]:
    """Returns {parameter: (before, after)} of what decides the result; where the data lies does not."""
    before, after = run.recorded_config(), {**config.flat(), "data_dir": ""}
    before["data_dir"] = ""
    return {name: (before[name], value) for name, value in after.items() if before[name] != value}


def _told(changed: Mapping[str, tuple[Any, Any]]) -> str:
    return ", ".join(f"{name} {before} → {after}" for name, (before, after) in changed.items())


def _go_on_with(config: TrainConfig, changed: Mapping[str, tuple[Any, Any]], run: RunFolder) -> None:
    """Lets a training go on for longer; a kill between any two writes leaves one that can still do so."""
    done = {"after_epoch": len(run.epochs_done()), **{name: [*each] for name, each in changed.items()}}
    before = extensions(config, run)
    if done not in before:
        write_json(run.extended, {"extended": [*before, done]})
    run.manifest.unlink(missing_ok=True)  # its presence says that the training is finished
    cosine = config.learning.schedule == "cosine"
    falls = "; the learning rate falls anew towards the new end" if cosine else ""
    print(f"{run} goes on after epoch {done['after_epoch']} ({_told(changed)}){falls}")


def _finish_setting_aside(run: RunFolder) -> Path | None:
    """Moves what is left of a training that is being set aside, also after a kill; nothing else is moved."""
    if not run.aside.is_dir():
        return None
    for path in sorted(run.path.iterdir()):
        if path.name not in (run.aside.name, ".lock") and not path.name.startswith("before-"):
            os.replace(path, run.aside / path.name)
    free = next(n for n in range(1, 10**6) if not (run.path / f"before-{n}").exists())
    return run.aside.rename(run.path / f"before-{free}")
