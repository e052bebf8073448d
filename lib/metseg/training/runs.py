"""Where a run's files lie, and how a network is found again by name.

Every command takes the same names: a network's alone is the released one, RUN/NETWORK that of a run, as deep
as it lies (NAME/unet/unet-1/unet in a cross-validation), RUN its only one; and any folder, or a file in it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from metseg.base.errors import MetsegError
from metseg.base.files import file_sha256, read_json, read_sealed, shown
from metseg.training.config import ModelName

if TYPE_CHECKING:
    import pandas as pd

ENSEMBLE = "ensemble"  # of trained networks, served as one of them
CHECKPOINT_STATE = "state.json"  # of each epoch that a checkpoint keeps
MODELS = (*get_args(ModelName), ENSEMBLE)
_BEGUN = ("config.json", "history.csv", "manifest.json")  # any of them makes a folder that of a training
_DEPTH = 6  # of folders below each other in which networks are looked for
_MOST_NAMES = 12  # of networks in a sentence


def find_model(model: str, runs_dir: Path, released_dir: Path) -> Path:
    """Returns the folder of the one exported network that a name stands for.

    Args:
        model: A name as above.
        runs_dir: Where runs are.
        released_dir: Where released networks are, by name.

    Raises:
        MetsegError: It stands for none or for several; the text lists what there is.
    """
    if model in MODELS:
        if (Path(released_dir) / model / "model.json").is_file():
            return Path(released_dir) / model
        raise MetsegError(
            f"no released {model}: its name alone stands for one in {shown(released_dir)}; "
            f"{_offer(runs_dir)}, or release one"
        )
    networks = _networks_named(model, runs_dir)
    exported = [folder for folder in networks if (folder / "model.json").is_file()]
    if len(exported) == 1:
        return exported[0]
    if exported:
        raise MetsegError(f"{model} holds several networks; name one: {_listed(exported, runs_dir)}")
    if finished := [folder for folder in networks if (folder / "manifest.json").is_file()]:
        name = name_of(finished[0], runs_dir)
        raise MetsegError(f"{name} was never exported; call: metseg export {name} --data-dir DIR")
    if networks:
        raise MetsegError(
            f"{name_of(networks[0], runs_dir)} is unfinished; go on with its training, or name "
            "another network (metseg runs lists them)"
        )
    _complain_of_folds(model, runs_dir)
    raise MetsegError(
        f"there is no network {model!r}; a released one is called {', '.join(MODELS[:-1])} or {MODELS[-1]}; "
        f"{_offer(runs_dir)}, or a network's folder"
    )


def trained_folders(run: str, runs_dir: Path) -> list[Path]:
    """Returns the folders of a run's finished trainings, or of the one that a name stands for.

    Args:
        run: A name as above, of a run with any number of networks.
        runs_dir: Where runs are.

    Raises:
        MetsegError: There is none, or it is a released one, which was not trained here; the text lists what
            there is, or names a network of a fold.
    """
    _complain_of_released(run, runs_dir)
    finished = [path for path in _networks_named(run, runs_dir) if (path / "manifest.json").is_file()]
    if finished:
        return finished
    _complain_of_folds(run, runs_dir)
    raise MetsegError(f"no finished training in {run}; runs here: {', '.join(run_names(runs_dir)) or 'none'}")


def run_folder(run: str, runs_dir: Path) -> Path:
    """Returns the folder that the name of a run, or of one of its networks, stands for; it need not be there.

    Raises:
        MetsegError: It is a released network's name.
    """
    _complain_of_released(run, runs_dir)
    places = (Path(run), Path(runs_dir) / run)
    with_training = [folder for folder in places if trainings_below(folder)]
    return (with_training or [folder for folder in places if folder.is_dir()] or [places[1]])[0]


def name_of(folder: Path, runs_dir: Path, released_dir: Path | None = None) -> str:
    """Returns the name by which commands find a network's folder again."""
    path = Path(folder).resolve()
    if released_dir is not None and path.parent == Path(released_dir).resolve() and path.name in MODELS:
        return path.name
    below = Path(runs_dir).resolve()
    name = path.relative_to(below).as_posix() if path.is_relative_to(below) else shown(folder)
    return f"./{name}" if name in MODELS else name  # that alone would be the released one


def model_folders(run_folder: Path) -> dict[str, Path]:
    """Returns {network's name: folder} of the trainings of a run that have been evaluated, or of the one
    whose folder this is."""
    folder = Path(run_folder)
    if not folder.is_dir():
        raise MetsegError(
            f"there is no run {folder}; finished runs here: {', '.join(run_names(folder.parent)) or 'none'}"
        )
    places = [folder] if is_network(folder) else [folder / name for name in MODELS]
    found = {path.name: path for path in places if (path / "evaluation" / "evaluation.json").exists()}
    if not found:
        finished = ", ".join(run_names(folder.parent)) or "none"
        raise MetsegError(
            f"{folder} holds no evaluated model; run the training notebooks first, with a test_fraction "
            f"above 0, or name another run; finished ones here: {finished}"
        )
    return found


def run_names(runs_dir: Path, *, unfinished: bool = False) -> list[str]:
    """Returns the runs in a folder that hold a training: a finished one, unless told."""
    below = [path.relative_to(runs_dir) for path in trainings_below(runs_dir)]
    return sorted(
        {
            path.parts[0]
            for path in below
            if len(path.parts) > 1 and (unfinished or (runs_dir / path / "manifest.json").is_file())
        }
    )


def is_network(folder: Path) -> bool:
    """Returns whether a folder is that of a training, finished or not, or of an exported network."""
    return any((Path(folder) / name).is_file() for name in (*_BEGUN, "model.json"))


def trainings_below(folder: Path, *, depth: int = _DEPTH) -> list[Path]:
    """Returns the folders of all trainings at or below a folder, finished or not; none lies in another."""
    folder = Path(folder)
    if any((folder / name).is_file() for name in _BEGUN):
        return [folder]
    if depth == 0 or not folder.is_dir():
        return []
    try:  # a link further down leads to another place, perhaps without end
        inside = sorted(
            path
            for path in folder.iterdir()
            if path.is_dir() and not path.name.startswith(".") and not (depth < _DEPTH and path.is_symlink())
        )
    except OSError:  # nobody may look into it
        return []
    return [found for path in inside for found in trainings_below(path, depth=depth - 1)]


def predicts_nothing(model_dir: Path) -> bool:
    """Returns whether a finished training's network marks nothing on its validation patients.

    A training that does not tell, and an ensemble, is judged by a validation Dice of 0.
    """
    manifest, exported = Path(model_dir) / "manifest.json", Path(model_dir) / "model.json"
    record = read_json(manifest) if manifest.is_file() else {}
    if "predicts_nothing" in record:
        return bool(record["predicts_nothing"])
    dice = record.get("validation_dice")
    if dice is None and exported.is_file():
        dice = read_json(exported).get("validation_dice")
    return dice == 0


def epochs_kept(folder: Path) -> dict[int, Path]:
    """Returns {epochs that were finished then: folder} of what a checkpoint keeps."""
    paths = [path for path in Path(folder).glob("epoch-*") if path.name[6:].isdigit()]
    return {int(path.name[6:]): path for path in paths}


class DamagedEpoch(Exception):
    """Names the file of an epoch of a checkpoint that is missing or not what was saved."""


def epoch_state(home: Path) -> dict:
    """Returns the `state.json` of an epoch that a checkpoint keeps, whose files are all as they were saved.

    Raises:
        DamagedEpoch: One is not.
    """
    try:
        state = read_sealed(home / CHECKPOINT_STATE)
    except MetsegError as error:
        raise DamagedEpoch(CHECKPOINT_STATE) from error
    for name, sha256 in state["sha256"].items():
        if not (home / name).is_file() or file_sha256(home / name) != sha256:
            raise DamagedEpoch(name)
    return state


def read_tables(model_dir: Path) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Returns a model's `per_patient` and `per_slice` tables as `metseg.metrics.compare` takes them."""
    import pandas as pd  # here: `metseg predict` only finds a model, and starts a fifth sooner without it

    folder = Path(model_dir) / "evaluation"
    # A patient may be called NA; what is undefined is written as nothing.
    names = {"patient_id": str, "case_id": str, "ref_sha256": str}
    options = {"dtype": names, "keep_default_na": False, "na_values": [""]}
    damaged = MetsegError(f"the tables in {folder} are missing or damaged; evaluate the model again")
    try:
        tables = tuple(
            pd.read_csv(folder / f"{name}.csv", **options) for name in ("per_patient", "per_slice")
        )
        path = folder / "evaluation.json"
        scored = read_json(path) if path.is_file() else {}
        rows = dict(zip(("cases", "slices"), map(len, tables), strict=True))
        whole = all(scored.get(name, found) == found for name, found in rows.items())
        whole &= not any(table[["patient_id", "case_id"]].isna().any(axis=None) for table in tables)
    except (OSError, KeyError, ValueError) as error:
        raise damaged from error
    if not whole:
        raise damaged
    return tables


def _networks_named(name: str, runs_dir: Path) -> list[Path]:
    """Returns the network that a name stands for, or those of the run; nothing where there is none."""
    path = Path(name)
    for folder in (path.parent if path.is_file() else path, Path(runs_dir) / name):
        if is_network(folder):
            return [folder]
        if folder.is_dir() and (found := sorted(each for each in folder.iterdir() if is_network(each))):
            return found
    return []


def _complain_of_folds(name: str, runs_dir: Path) -> None:
    for folder in (Path(name), Path(runs_dir) / name):
        if found := _usable_below(folder):
            raise MetsegError(
                f"{name} is a cross-validation or a sweep; name one of its networks, such as "
                f"{_listed(found, runs_dir)}"
            )


def _complain_of_released(name: str, runs_dir: Path) -> None:
    if name in MODELS:
        raise MetsegError(
            f"{name} alone is the released network, which was not trained here; {_offer(runs_dir)}"
        )


def _usable_below(folder: Path) -> list[Path]:
    files = ("manifest.json", "model.json")
    return [path for path in trainings_below(folder) if any((path / name).is_file() for name in files)]


def _offer(runs_dir: Path) -> str:
    found = _usable_below(runs_dir)
    if not found:
        return f"a run's is called RUN/NETWORK, and {shown(runs_dir)} holds none yet"
    return f"a run's is called RUN/NETWORK: {_listed(found, runs_dir)}"


def _listed(folders: list[Path], runs_dir: Path) -> str:
    names = [name_of(folder, runs_dir) for folder in folders]
    more = f" and {len(names) - _MOST_NAMES} more (metseg runs lists all)"
    return ", ".join(names[:_MOST_NAMES]) + (more if len(names) > _MOST_NAMES else "")
