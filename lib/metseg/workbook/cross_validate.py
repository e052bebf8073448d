"""Cross-validation: a trial a fold, so that every patient is held out once."""

from pathlib import Path

from metseg.base.errors import MetsegError
from metseg.base.files import shown
from metseg.data.cases import find_cases
from metseg.data.content import fingerprint
from metseg.evaluation.crossval import begun_folds, fold_folder
from metseg.training.config import TrainConfig
from metseg.training.find import MODELS
from metseg.training.resume import complain_if_begun_otherwise


def cross_validate(
    config: TrainConfig, *, folds: int, run_folder: Path, cache_dir: Path, restart: bool = False
) -> list[Path]:
    """Trains, exports and scores a network once a fold, and returns the folder of each fold's network.

    Interrupted, the same call goes on: what is done is not done again.

    Args:
        config: The network and its recipe; who is held out is decided here.
        folds: How many; every patient is held out in one of them.
        run_folder: The folds lie in <run folder>/<model>/<model>-1, -2 and so on.
        cache_dir: Folder of the caches of preprocessed slices.
        restart: Set trainings with other settings aside and begin anew.

    Raises:
        MetsegError: Before anything is trained, that the run was begun with other parameters or data; or
            after all others, that a fold failed; or at once, that a second one did for the same cause.
    """
    from metseg.trial import run_trial  # here: it loads TensorFlow

    if folds < 2:
        raise MetsegError(f"folds={folds} holds nobody out in turn; choose 2 or more")
    model = config.network.model
    configs = [config.changed(folds=folds, fold=fold) for fold in range(folds)]
    _complain_of_other_folds(configs[0], Path(run_folder), but=model if restart else None)
    if not restart:
        _complain_if_begun_otherwise(configs, Path(run_folder))
    failed = {}
    for fold, each in enumerate(configs):
        run = fold_folder(run_folder, model, fold)
        print(f"{model}, fold {fold + 1} of {folds}", flush=True)
        try:
            kind = {"restart": restart, "is_to_serve": False}  # a fold's network only scores its recipe
            print(run_trial(each, run, cache_dir=cache_dir, **kind), flush=True)
        except MetsegError as error:
            print(f"failed: {error}", flush=True)
            failed[fold + 1] = str(error)
            if len(set(failed.values())) < len(failed):  # data or recipe: so would all others
                break
    if failed:
        causes = "; ".join(
            f"fold {' and '.join(str(k) for k, each in failed.items() if each == cause)}: {cause}"
            for cause in dict.fromkeys(failed.values())
        )
        raise MetsegError(f"{causes}. Mend the cause and call again: finished folds are skipped")
    return [fold_folder(run_folder, model, fold).path for fold in range(folds)]


def _complain_of_other_folds(config: TrainConfig, run_folder: Path, *, but: str | None) -> None:
    """Networks whose folds differ cannot be compared; `but` begins anew."""
    own = config.flat()
    for begun in (run for model in MODELS if model != but for run in begun_folds(run_folder, model)):
        other = begun.recorded_config()
        for name in ("folds", "split_seed", "validation_fraction"):
            if other[name] != own[name]:
                raise MetsegError(
                    f"{shown(run_folder)} has {other['model']} with {name}={other[name]}, not {own[name]}; "
                    "cross-validate both with the same, or choose another run name"
                )


def _complain_if_begun_otherwise(configs: list[TrainConfig], run_folder: Path) -> None:
    """All folds are looked at before the first one is trained."""
    begun = [run for run in begun_folds(run_folder, configs[0].network.model) if run.has_epochs]
    data_dir = Path(configs[0].data_dir)
    found = None
    if begun and data_dir.is_dir():
        found = fingerprint(find_cases(data_dir, **{**configs[0].reading, "target": ""}))
    for run in begun:
        complain_if_begun_otherwise(configs[run.recorded_config()["fold"]], run)
        if found not in (None, run.read_split().fingerprint):
            raise MetsegError(
                f"{run} began with other data; set restart = True to set it aside and begin anew, or choose "
                "another run name"
            )
