"""How a network is found by name.

Every command takes the same names: KIND-NETWORK is a released one, NETWORK alone the released one that fits
the scan (see `release.released.fitting`), RUN/NETWORK that of a run, as deep as it lies
(NAME/unet/unet-1/unet in a cross-validation), RUN its only one; and any folder, or a file in it.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import get_args

from metseg.base.errors import MetsegError
from metseg.base.files import shown
from metseg.data.cases import CaseFiles, find_cases
from metseg.training.config import ModelName
from metseg.training.run_folder import RunFolder

MODELS = get_args(ModelName)
_DEPTH = 6  # of folders below each other in which networks are looked for
_MOST_NAMES = 12  # of networks in a sentence


def find_model(model: str, runs_dir: Path, released_dir: Path) -> Path:
    """Returns the folder of the one exported network that a name stands for.

    Raises:
        MetsegError: It stands for none or for several; the text lists what there is.
    """
    released = RunFolder(Path(released_dir) / model)
    if is_released_name(model) and released.is_exported:
        return released.path
    if model in MODELS:
        raise MetsegError(f"no released {model} in {shown(released_dir)}; {_offer(runs_dir)}, or release it")
    networks = _networks_named(model, runs_dir)
    exported = [each.path for each in networks if each.is_exported]
    if len(exported) == 1:
        return exported[0]
    if exported:
        raise MetsegError(f"{model} holds several networks; name one: {_listed(exported, runs_dir)}")
    for each in sorted(networks, key=lambda each: not each.is_finished):
        name, remedy = name_of(each.path, runs_dir), "is unfinished; go on with its training, or name another"
        if each.is_finished:
            remedy = f"was never exported; call: metseg export {name} --data-dir DIR"
        raise MetsegError(f"{name} {remedy}")
    raise _not_found(f"there is no network {model!r}", model, runs_dir)


def is_released_name(name: str) -> bool:
    """Returns whether a released network may be called so: KIND-NETWORK, or NETWORK for the one that fits."""
    return "/" not in name and name.rpartition("-")[2] in MODELS


def trained_folders(run: str, runs_dir: Path) -> list[Path]:
    """Returns the folders of a run's finished trainings, or of the one that a name stands for.

    Raises:
        MetsegError: There is none, or it is a released one, which was not trained here.
    """
    _complain_of_released(run, runs_dir)
    if finished := [each.path for each in _networks_named(run, runs_dir) if each.is_finished]:
        return finished
    raise _not_found(f"no finished training in {run}", run, runs_dir)


def run_folder(run: str, runs_dir: Path) -> Path:
    """Returns the folder that a run's, or one of its networks', name stands for; it need not be there."""
    _complain_of_released(run, runs_dir)
    named = Path(run)
    return named if is_network(named) or trainings_below(named) else Path(runs_dir) / run


def find_cases_for(
    networks: Iterable[Path], folder: Path, *, target: str = "", allow_missing: bool = False
) -> list[CaseFiles]:
    """Lists the scans below a folder; in references with several labels the networks' target is the lesion.

    Args:
        networks: Folders of trained or exported networks.
        folder: The data set's, see `find_cases`.
        target: Another one instead; of a data set of slices there is none.
        allow_missing: As in `find_cases`; always so where one of the networks was trained so.

    Raises:
        MetsegError: As `find_cases`, or the networks were trained for different targets.
    """
    runs = [RunFolder(network) for network in networks]
    missing = {"allow_missing": allow_missing or any(run.allow_missing for run in runs)}
    missing["never_missing"] = {run.never_missing for run in runs}
    cases = find_cases(folder, target=target, **missing)
    if target or not cases[0].volumes:
        return cases
    targets = {run.target: run for run in runs}
    if len(targets) > 1:
        (one, first), (other, second) = sorted(targets.items())[:2]
        text = f"{first} was trained for target={one or '(the first)'}, {second} for target={other}"
        raise MetsegError(f"{text}; name the one to score with: --target")
    return find_cases(folder, target=next(iter(targets), ""), **missing)


def name_of(folder: Path, runs_dir: Path, released_dir: Path | None = None) -> str:
    """Returns the name by which commands find a network's folder again."""
    path = Path(folder).resolve()
    is_among = released_dir is not None and path.parent == Path(released_dir).resolve()
    if is_among and is_released_name(path.name):
        return path.name
    below = Path(runs_dir).resolve()
    name = path.relative_to(below).as_posix() if path.is_relative_to(below) else shown(folder)
    return f"./{name}" if is_released_name(name) else name  # that alone would be the released one


def model_folders(run_folder: Path) -> dict[str, Path]:
    """Returns {network's name: folder} of a run's scored networks, or of the one whose folder this is."""
    folder = Path(run_folder)
    places = [folder] if is_network(folder) else [folder / name for name in MODELS]
    found = {path.name: path for path in places if RunFolder(path).is_scored}
    finished = ", ".join(run_names(folder.parent)) or "none"
    if not folder.is_dir():
        raise MetsegError(f"there is no run {folder}; finished runs here: {finished}")
    if not found:
        if (folder / "comparison").is_dir() and _usable_below(folder):
            raise MetsegError(
                f"{shown(folder)} is a cross-validation: tables and figures of its networks are in "
                f"{shown(folder / 'comparison')}; name a run of single trainings, or one of its folds"
            )
        raise MetsegError(
            f"{folder} holds no evaluated model; run the training notebooks first, with a test_fraction "
            f"above 0, or name another run; finished ones here: {finished}"
        )
    return found


def run_names(runs_dir: Path) -> list[str]:
    """Returns the runs in a folder that hold a finished training."""
    found = [path for path in trainings_below(runs_dir) if RunFolder(path).is_finished]
    return sorted({path.relative_to(runs_dir).parts[0] for path in found if path.parent != Path(runs_dir)})


def is_network(folder: Path) -> bool:
    """Returns whether a folder is that of a training, finished or not, or of an exported network."""
    return RunFolder(folder).is_training or RunFolder(folder).is_exported


def trainings_below(folder: Path, *, depth: int = _DEPTH) -> list[Path]:
    """Returns the folders of all trainings at or below a folder, finished or not; none lies in another."""
    folder = Path(folder)
    if RunFolder(folder).is_training:
        return [folder]
    found = []
    with suppress(OSError):  # there is none, or nobody may look into it
        for path in sorted(folder.iterdir()) if depth else ():
            # a link further down leads to another place, perhaps without end
            if path.is_dir() and not path.name.startswith(".") and (depth == _DEPTH or not path.is_symlink()):
                found += trainings_below(path, depth=depth - 1)
    return found


def _networks_named(name: str, runs_dir: Path) -> list[RunFolder]:
    """Returns the network that a name stands for, or those of the run; nothing where there is none."""
    path = Path(name)
    for folder in (path.parent if path.is_file() else path, Path(runs_dir) / name):
        inside = [folder] if is_network(folder) else sorted(folder.iterdir()) if folder.is_dir() else []
        if found := [RunFolder(each) for each in inside if is_network(each)]:
            return found
    return []


def _not_found(what: str, name: str, runs_dir: Path) -> MetsegError:
    for folder in (Path(name), Path(runs_dir) / name):
        if found := _usable_below(folder):
            listed = _listed(found, runs_dir)
            return MetsegError(f"{name} is a cross-validation or a sweep; name one of its networks: {listed}")
    return MetsegError(
        f"{what}; a released one is called KIND-NETWORK, or the fitting one {', '.join(MODELS[:-1])} or "
        f"{MODELS[-1]}; {_offer(runs_dir)}, or a network's folder"
    )


def _complain_of_released(name: str, runs_dir: Path) -> None:
    if name in MODELS:
        raise MetsegError(f"{name} alone is the released network, not trained here; {_offer(runs_dir)}")


def _usable_below(folder: Path) -> list[Path]:
    runs = map(RunFolder, trainings_below(folder))
    return [run.path for run in runs if run.is_finished or run.is_exported]


def _offer(runs_dir: Path) -> str:
    listed = _listed(_usable_below(runs_dir), runs_dir) or "there is none yet"
    return f"a run's is called RUN/NETWORK: {listed}"


def _listed(folders: list[Path], runs_dir: Path) -> str:
    names = [name_of(folder, runs_dir) for folder in folders]
    return ", ".join(names[:_MOST_NAMES]) + (" … (metseg runs lists all)" if len(names) > _MOST_NAMES else "")
