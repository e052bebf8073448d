"""Where a run's files lie, and how a model is found again by name."""

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from metseg.config import ModelName
from metseg.errors import MetsegError
from metseg.files import read_json, shown

if TYPE_CHECKING:
    import pandas as pd

ENSEMBLE = "ensemble"  # of trained networks, served as one of them
MODELS = (*get_args(ModelName), ENSEMBLE)


def model_folders(run_folder: Path) -> dict[str, Path]:
    """Returns {model name: folder} of the finished trainings of a run that have been evaluated."""
    folder = Path(run_folder)
    if not folder.is_dir():
        raise MetsegError(
            f"there is no run {folder}; finished runs here: {', '.join(run_names(folder.parent)) or 'none'}"
        )
    found = {
        name: folder / name for name in MODELS if (folder / name / "evaluation" / "evaluation.json").exists()
    }
    if not found:
        raise MetsegError(
            f"{folder} holds no evaluated model; run the training notebooks first, with a test_fraction above "
            f"0, or name another run; finished ones here: {', '.join(run_names(folder.parent)) or 'none'}"
        )
    return found


def run_names(runs_dir: Path) -> list[str]:
    """Returns the runs in a folder that hold a finished training."""
    return sorted({path.parent.parent.name for path in Path(runs_dir).glob("*/*/manifest.json")})


def trained_folders(run: str, runs_dir: Path) -> list[Path]:
    """Returns the folders of a run's finished trainings.

    Args:
        run: Name of a run below `runs_dir`, its folder, or the folder of one training.
        runs_dir: Where runs are.

    Raises:
        MetsegError: There is none; the text lists the runs there are, or names a network of a fold.
    """
    for folder in (Path(run), Path(runs_dir) / run):
        if (folder / "manifest.json").is_file():
            return [folder]
        found = sorted(path.parent for path in folder.glob("*/manifest.json"))
        if found:
            return found
        # <network>-<fold>/<network>, or a level above that
        if folds := [*folder.glob("*-*/*/manifest.json"), *folder.glob("*/*-*/*/manifest.json")]:
            raise MetsegError(
                f"{run} is a cross-validation or a sweep; name one of its networks, such as "
                f"{shown(min(folds).parent)}"
            )
    raise MetsegError(f"no finished training in {run}; runs here: {', '.join(run_names(runs_dir)) or 'none'}")


def read_tables(model_dir: Path) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Returns a model's `per_patient` and `per_slice` tables as `metseg.compare` takes them."""
    import pandas as pd  # here: `metseg predict` only finds a model, and starts a fifth sooner without it

    folder = Path(model_dir) / "evaluation"
    # A patient may be called NA; what is undefined is written as nothing.
    names = {"patient_id": str, "case_id": str}
    options = {"dtype": names, "keep_default_na": False, "na_values": [""]}
    try:
        return tuple(pd.read_csv(folder / f"{name}.csv", **options) for name in ("per_patient", "per_slice"))
    except (OSError, ValueError) as error:
        raise MetsegError(
            f"the tables in {folder} are missing or damaged; evaluate the model again"
        ) from error


def _finished(manifest: Path) -> str:
    try:
        return str(read_json(manifest).get("finished", ""))
    except MetsegError:
        return ""  # one damaged run must not hide the others


def find_model(model: str, runs_dir: Path, released_dir: Path | None = None) -> Path:
    """Returns the folder of an exported model.

    Args:
        model: A network's name, for its newest finished run below `runs_dir`, or the path of a model folder
            or of a file in it.
        runs_dir: Where runs are.
        released_dir: Where released models are, by name, for who has not trained one.

    Raises:
        MetsegError: There is no such model; the text lists what there is.
    """
    path = Path(model)
    folder = path.parent if path.is_file() else path
    if (folder / "model.json").is_file():
        return folder
    manifests = Path(runs_dir).glob("*/*/manifest.json")
    exported = [path for path in manifests if (path.parent / "model.json").is_file()]
    # By what the manifest says: a file's own time changes when it is copied.
    newest = {path.parent.name: path.parent for path in sorted(exported, key=_finished)}
    if model in newest:
        return newest[model]
    if released_dir is not None and model in MODELS and (released_dir / model / "model.json").is_file():
        return released_dir / model
    trained = ", ".join(newest) or "none yet"
    if model in MODELS:
        raise MetsegError(
            f"no finished run of {model} in {runs_dir} (trained: {trained}); "
            f"run: metseg {'ensemble RUN' if model == ENSEMBLE else f'train --model {model}'}"
        )
    raise MetsegError(
        f"unknown model {model!r}; valid are {', '.join(MODELS)} (trained: {trained}) or a model's folder"
    )
