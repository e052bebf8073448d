"""What a cross-validation says of a recipe, for a network of that recipe that holds nobody out."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, shown
from metseg.data.split import read_split
from metseg.evaluation.crossval import read_crossval
from metseg.evaluation.evaluate import scored_as_served
from metseg.training.config import with_defaults


def out_of_fold_scores(run_folder: Path, model_dir: Path) -> dict:
    """Returns what a cross-validation says of the recipe that a network was trained by.

    Args:
        run_folder: Of the cross-validation.
        model_dir: Folder of a finished training with the same data and parameters that holds nobody out.

    Returns:
        `compare.summarise` of all patients, `folds`, `scored_in`, the precision that served then, and
        `same_masks`, the number of folds whose masks were made of probabilities as the network's are.

    Raises:
        MetsegError: The network holds patients out, is not among those cross-validated, or its data,
            parameters or heads are others; or a fold changed after it was scored.
    """
    model_dir, crossval = Path(model_dir), read_crossval(run_folder)
    model, where = read_json(model_dir / "manifest.json")["model"], shown(run_folder)
    if read_split(model_dir / "split.json").test:
        raise MetsegError(
            f"{shown(model_dir)} holds patients out; release it by their scores, without --crossval"
        )
    if model not in crossval.folders:
        raise MetsegError(f"{where} has no finished cross-validation of {model}; call: metseg crossval")
    folders = crossval.folders[model]
    if read_split(folders[0] / "split.json").fingerprint != read_split(model_dir / "split.json").fingerprint:
        raise MetsegError(f"{shown(model_dir)} and {where} have different data; train both with the same")
    theirs, own = _recipe(folders[0]), _recipe(model_dir)
    if changed := [name for name in {**own, **theirs} if own.get(name) != theirs.get(name)]:
        raise MetsegError(
            f"{shown(model_dir)} and {where} have different parameters ({', '.join(changed)}); "
            "train with those that were cross-validated"
        )
    if stale := [folder for folder in folders if not scored_as_served(folder)]:
        where = shown(stale[0])
        raise MetsegError(f"{where} changed after it was scored; call: metseg export {where}")
    summary = crossval.summary.set_index("model").loc[model]
    scored_in = {_served(folder)["precision"] for folder in folders}
    same_masks = sum(_masks(folder) == _masks(model_dir) for folder in folders)
    return {
        **summary.to_dict(),
        "folds": len(folders),
        "scored_in": ", ".join(sorted(scored_in)),
        "same_masks": same_masks,
    }


def _masks(model_dir: Path) -> tuple:
    """Returns how masks are made of the probabilities of a served network."""
    known = _served(model_dir)
    return known["postprocessing"], known["flip_average"], known["min_volume_share"]


def _recipe(model_dir: Path) -> dict:
    """Returns what makes a served network, but for who is held out and where the data lies; an ensemble's are
    its members' parameters, whatever their order."""
    but = {"fold", "folds", "split_seed", "test_fraction", "data_dir"}

    def parameters(config: Mapping[str, Any], extended: Sequence[Any]) -> dict:
        known = {name: value for name, value in with_defaults(config).items() if name not in but}
        # Its rate fell towards another end at first; by another schedule more epochs are just more epochs.
        return {**known, "extended": [*extended] if known["schedule"] == "cosine" else []}

    head, manifest = {"prune": _served(model_dir)["prune"]}, read_json(model_dir / "manifest.json")
    if members := manifest.get("members"):
        recipes = [parameters(each["config"], each.get("extended", ())) for each in members]
        return {**head, "members": sorted(recipes, key=lambda recipe: json.dumps(recipe, sort_keys=True))}
    return {**head, **parameters(read_json(model_dir / "config.json"), manifest.get("extended", ()))}


def _served(model_dir: Path) -> dict:
    """Returns what `model.json` says, or for older ones what went without saying."""
    return {
        "prune": None,
        "precision": "fp32",
        "min_volume_share": 0.0,
        **read_json(model_dir / "model.json"),
    }
