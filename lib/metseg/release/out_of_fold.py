"""What a cross-validation says of a recipe, for a network of that recipe that holds nobody out."""

from pathlib import Path

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, shown
from metseg.evaluation.crossval import read_crossval
from metseg.evaluation.lesion_scores import found_by_size
from metseg.training.run_folder import RunFolder

# Of who is held out and where the data lies.
_NO_RECIPE = {"fold", "folds", "split_seed", "test_fraction", "data_dir"}


def out_of_fold_scores(run_folder: Path, model_dir: Path) -> dict:
    """Returns what a cross-validation says of the recipe that a network was trained by.

    Args:
        run_folder: Of the cross-validation.
        model_dir: Folder of a finished training with the same data and parameters that holds nobody out.

    Returns:
        `compare.summarise` of all patients, `folds`, `found`, which is `found_by_size`, `scored_in`, the
        precision that served then, and `same_masks`, the number of folds whose masks were made of
        probabilities as the network's are.

    Raises:
        MetsegError: The network holds patients out, is not among those cross-validated, or its data,
            parameters or heads are others; or a fold changed after it was scored.
    """
    run, crossval, where = RunFolder(model_dir), read_crossval(run_folder), shown(run_folder)
    model = read_json(run.manifest)["model"]
    if run.read_split().test:
        raise MetsegError(f"{run} holds patients out; release it by their scores, without --crossval")
    if model not in crossval.folders:
        raise MetsegError(f"{where} has no finished cross-validation of {model}; call: metseg crossval")
    folds = list(map(RunFolder, crossval.folders[model]))
    if folds[0].read_split().fingerprint != run.read_split().fingerprint:
        raise MetsegError(f"{run} and {where} have different data; train both with the same")
    theirs, own = _recipe(folds[0]), _recipe(run)
    if changed := [name for name in {**own, **theirs} if own.get(name) != theirs.get(name)]:
        raise MetsegError(
            f"{run} and {where} have different parameters ({', '.join(changed)}); "
            "train with those that were cross-validated"
        )
    if stale := [fold for fold in folds if not fold.scored_as_served]:
        raise MetsegError(f"{stale[0]} changed after it was scored; call: metseg export {stale[0]}")
    precisions = {read_json(fold.description).get("precision", "fp32") for fold in folds}
    return {
        **crossval.summary.set_index("model").loc[model].to_dict(),
        "folds": len(folds),
        "scored_in": ", ".join(sorted(precisions)),
        "found": found_by_size([fold.path for fold in folds]),
        "same_masks": sum(_masks(fold) == _masks(run) for fold in folds),
    }


def _recipe(run: RunFolder) -> dict:
    """Returns what makes a served network, but for who is held out and where the data lies."""
    known = {name: value for name, value in run.recorded_config().items() if name not in _NO_RECIPE}
    # Its rate fell towards another end at first; by another schedule more epochs are just more epochs.
    told = read_json(run.manifest).get("extended", ()) if known["schedule"] == "cosine" else ()
    return {**known, "prune": read_json(run.description).get("prune"), "extended": [*told]}


def _masks(run: RunFolder) -> list:
    names = ("postprocessing", "tta_flip", "min_volume_share")
    return [read_json(run.description).get(name, 0) for name in names]
