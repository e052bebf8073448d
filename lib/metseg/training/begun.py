"""A folder that holds a training already: it goes on, is refused, or is set aside for a new start."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metseg.base.errors import MetsegError
from metseg.base.files import make_folder, read_json, shown, write_json, write_text
from metseg.data.split import Split, read_split, write_split
from metseg.training.config import TrainConfig, with_defaults
from metseg.training.runs import DamagedEpoch, epoch_state, epochs_kept, run_names
from metseg.training.schedule import out_of_patience

_MAY_CHANGE = ("epochs", "patience")  # how long to train; all else decides what is trained
_SETTING_ASIDE = ".before"


def begin(config: TrainConfig, split: Split, model_dir: Path, *, restart: bool = False) -> bool:
    """Readies a folder, which this process holds the lock of, for a training or for its next epochs.

    Where more `epochs` are asked for, or another `patience`, the training goes on after its last epoch, even
    a finished one, and `extended.json` keeps what changed. What differs otherwise is refused or, with
    `restart`, set aside: the former training then lies in `before-1` in its folder, or the next free number.

    Returns:
        Whether there is anything to train.

    Raises:
        MetsegError: The folder holds a training with other settings or other data, or one that cannot go on.
    """
    _finish_setting_aside(model_dir)
    if _begun(model_dir):
        begun = read_split(model_dir / "split.json")
        other = begun != split
        changed = _changes(config, model_dir)
        if restart and (other or changed):
            print(f"the training that was in {shown(model_dir)} now lies in {shown(_set_aside(model_dir))}")
        else:
            complain_if_begun_otherwise(config, model_dir)
            if other:
                what = "another split" if begun.fingerprint == split.fingerprint else "other data"
                raise MetsegError(f"{shown(model_dir)} began with {what}; {_ways_out(model_dir)}")
            if changed:
                _go_on_with(config, changed, model_dir)
    write_text(model_dir / "config.json", config.model_dump_json(indent=1))
    if (model_dir / "manifest.json").exists():
        return False
    write_split(split, model_dir / "split.json")
    return True


def complain_if_begun_otherwise(config: TrainConfig, model_dir: Path) -> None:
    """Raises a `MetsegError` if a folder holds a training that cannot go on with these parameters, wherever
    its data lay."""
    if not _begun(model_dir):
        return  # nothing has been learned yet that could be mixed up
    changed = _changes(config, model_dir)
    told = ", ".join(f"{name} {before} → {after}" for name, (before, after) in changed.items())
    fewer = "epochs" in changed and changed["epochs"][0] > changed["epochs"][1]
    if fewer or not changed.keys() <= set(_MAY_CHANGE):
        raise MetsegError(f"{shown(model_dir)} holds other settings ({told}); {_ways_out(model_dir)}")
    if changed and (model_dir / "manifest.json").exists():
        history = _epochs_done(model_dir)
        if not history:
            raise MetsegError(
                f"{shown(model_dir)} is finished, and its state after the last epoch was not kept or is "
                f"damaged, so it cannot go on ({told}); {_ways_out(model_dir)}, or start_from it under that "
                "name"
            )
        if len(history) >= config.epochs or out_of_patience(history, config):
            raise MetsegError(
                f"{shown(model_dir)} is finished after {len(history)} epochs, and {told} adds none with "
                f"epochs={config.epochs}, patience={config.patience}; give more of them, or "
                f"{_ways_out(model_dir)}"
            )


def extensions(config: TrainConfig, model_dir: Path) -> list[dict[str, Any]]:
    """Returns each time that a training was told to go on for longer: after which epoch, and what changed,
    as [before, after]."""
    path = model_dir / "extended.json"
    found = read_json(path)["extended"] if path.exists() else []
    # One that was written and then, after a kill, not asked for again, came to nothing.
    return [each for each in found if each.get("epochs", (0, 0))[1] <= config.epochs]


def _begun(model_dir: Path) -> bool:
    # A training that is being set aside is one no more.
    return (model_dir / "history.csv").exists() and not (model_dir / _SETTING_ASIDE).is_dir()


def _changes(config: TrainConfig, model_dir: Path) -> dict[str, tuple[Any, Any]]:
    """Returns {parameter: (before, after)} of what decides the result; where the data lies does not."""
    before: Mapping[str, Any] = with_defaults(read_json(model_dir / "config.json"))
    return {
        name: (before[name], value)
        for name, value in config.model_dump(mode="json").items()
        if before[name] != value and name != "data_dir"
    }


def _ways_out(model_dir: Path) -> str:
    home = model_dir.absolute()
    is_fold = home.parents[1].name == home.name  # <run>/unet/unet-1/unet
    runs = ", ".join(run_names(home.parents[3 if is_fold else 1], unfinished=True))
    return f"set restart = True to set it aside and begin anew, or choose another run_name (taken: {runs})"


def _epochs_done(model_dir: Path) -> list[dict]:
    kept = epochs_kept(model_dir / "checkpoint")
    try:
        return epoch_state(kept[max(kept)])["history"] if kept else []
    except DamagedEpoch:
        return []


def _go_on_with(config: TrainConfig, changed: Mapping[str, tuple[Any, Any]], model_dir: Path) -> None:
    """Lets a training go on for longer; a kill between any two writes leaves one that can still do so."""
    done = {"after_epoch": len(_epochs_done(model_dir)), **{name: [*each] for name, each in changed.items()}}
    before = extensions(config, model_dir)
    if done not in before:
        write_json(model_dir / "extended.json", {"extended": [*before, done]})
    (model_dir / "manifest.json").unlink(missing_ok=True)  # its presence says that the training is finished
    told = ", ".join(f"{name} {old} → {new}" for name, (old, new) in changed.items())
    falls = "; the learning rate falls anew towards the new end" if config.schedule == "cosine" else ""
    print(f"{shown(model_dir)} goes on after epoch {done['after_epoch']} ({told}){falls}")


def _set_aside(model_dir: Path) -> Path:
    """Moves a training into a folder of its own beside the next one; returns that folder."""
    make_folder(model_dir / _SETTING_ASIDE)
    return _finish_setting_aside(model_dir)


def _finish_setting_aside(model_dir: Path) -> Path | None:
    """Moves what is left of a training that is being set aside, also after a kill; nothing else is moved."""
    aside = model_dir / _SETTING_ASIDE
    if not aside.is_dir():
        return None
    for path in sorted(model_dir.iterdir()):
        if path.name not in (_SETTING_ASIDE, ".lock") and not path.name.startswith("before-"):
            os.replace(path, aside / path.name)
    free = next(n for n in range(1, 10**6) if not (model_dir / f"before-{n}").exists())
    return aside.rename(model_dir / f"before-{free}")
