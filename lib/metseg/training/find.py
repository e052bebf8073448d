"""How a network is found by name.

Every command takes the same names: a network's alone is the released one, RUN/NETWORK that of a run, as deep
as it lies (NAME/unet/unet-1/unet in a cross-validation), RUN its only one; and any folder, or a file in it.
"""

from pathlib import Path
from typing import get_args

from metseg.base.errors import MetsegError
from metseg.base.files import shown
from metseg.training.config import ModelName
from metseg.training.run_folder import RunFolder

MODELS = get_args(ModelName)
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
        released = RunFolder(Path(released_dir) / model)
        if released.is_exported:
            return released.path
        raise MetsegError(
            f"no released {model}: its name alone stands for one in {shown(released_dir)}; "
            f"{_offer(runs_dir)}, or release one"
        )
    networks = _networks_named(model, runs_dir)
    exported = [each.path for each in networks if each.is_exported]
    if len(exported) == 1:
        return exported[0]
    if exported:
        raise MetsegError(f"{model} holds several networks; name one: {_listed(exported, runs_dir)}")
    if finished := [each.path for each in networks if each.is_finished]:
        name = name_of(finished[0], runs_dir)
        raise MetsegError(f"{name} was never exported; call: metseg export {name} --data-dir DIR")
    if networks:
        raise MetsegError(
            f"{name_of(networks[0].path, runs_dir)} is unfinished; go on with its training, or name "
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
    if finished := [each.path for each in _networks_named(run, runs_dir) if each.is_finished]:
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
    finished = ", ".join(run_names(folder.parent)) or "none"
    if not folder.is_dir():
        raise MetsegError(f"there is no run {folder}; finished runs here: {finished}")
    places = [folder] if is_network(folder) else [folder / name for name in MODELS]
    found = {path.name: path for path in places if RunFolder(path).is_scored}
    if not found:
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
            if len(path.parts) > 1 and (unfinished or RunFolder(runs_dir / path).is_finished)
        }
    )


def is_network(folder: Path) -> bool:
    """Returns whether a folder is that of a training, finished or not, or of an exported network."""
    return RunFolder(folder).is_training or RunFolder(folder).is_exported


def trainings_below(folder: Path, *, depth: int = _DEPTH) -> list[Path]:
    """Returns the folders of all trainings at or below a folder, finished or not; none lies in another."""
    folder = Path(folder)
    if RunFolder(folder).is_training:
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


def _networks_named(name: str, runs_dir: Path) -> list[RunFolder]:
    """Returns the network that a name stands for, or those of the run; nothing where there is none."""
    path = Path(name)
    for folder in (path.parent if path.is_file() else path, Path(runs_dir) / name):
        if is_network(folder):
            return [RunFolder(folder)]
        if folder.is_dir() and (found := sorted(each for each in folder.iterdir() if is_network(each))):
            return [RunFolder(each) for each in found]
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
    return [
        path for path in trainings_below(folder) if RunFolder(path).is_finished or RunFolder(path).is_exported
    ]


def _offer(runs_dir: Path) -> str:
    found = _usable_below(runs_dir)
    if not found:
        return f"a run's is called RUN/NETWORK, and {shown(runs_dir)} holds none yet"
    return f"a run's is called RUN/NETWORK: {_listed(found, runs_dir)}"


def _listed(folders: list[Path], runs_dir: Path) -> str:
    names = [name_of(folder, runs_dir) for folder in folders]
    more = f" and {len(names) - _MOST_NAMES} more (metseg runs lists all)"
    return ", ".join(names[:_MOST_NAMES]) + (more if len(names) > _MOST_NAMES else "")
