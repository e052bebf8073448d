"""Where the workbook's folders are."""

import os
import re
from pathlib import Path

from metseg.base.errors import MetsegError

# What the parameters cells say, which start at the notebooks' folder.
_DEFAULT_FOLDERS = {f"../{name}" for name in ("data/phantom", "outputs/runs", "outputs/cache")}
_DEFAULT_FOLDERS |= {"../data/phantom_volumes"}
_DEFAULT_FOLDERS |= {f"../outputs/reference/{name}" for name in ("lgg-ablation", "lgg-sweep")}


def project_root() -> Path:
    """The checkout that holds notebooks/: around this package, or else the working directory."""
    for root in (Path(__file__).resolve().parents[3], Path.cwd()):
        if (root / "notebooks").is_dir():
            return root
    raise MetsegError(f"no notebooks/ folder in {Path.cwd()}; change to the workbook's checkout first")


def released_dir() -> Path:
    """The folder of the models that come with the checkout, one folder a network."""
    return _outputs() / "released"


def runs_dir() -> Path:
    """The folder of runs."""
    return _outputs() / "runs"


def sweeps_dir() -> Path:
    """The folder of sweeps."""
    return _outputs() / "sweeps"


def hashes_dir() -> Path:
    """The folder of what scans' slices hash to, beside the usual caches of prepared slices."""
    return _outputs() / "cache" / ".hashes"


def _outputs() -> Path:
    try:
        return project_root() / "outputs"
    except MetsegError:  # whoever names a folder needs no checkout
        return Path.cwd() / "outputs"


def located(path: str | int) -> Path:
    """Returns a folder that a notebook's parameter names; papermill makes a number of a name of digits.

    The defaults start at the notebooks' folder, wherever the kernel works. Any other relative path starts
    where it works.
    """
    path = str(path)
    if path not in _DEFAULT_FOLDERS or _holds_notebooks(Path()):
        return Path(path)
    try:
        return Path(os.path.normpath(notebooks_dir() / path))
    except MetsegError:
        return Path(path)


def notebooks_dir() -> Path:
    """The folder of the notebooks: where the kernel works, if they are there, or else the checkout's."""
    return Path() if _holds_notebooks(Path()) else project_root() / "notebooks"


def _holds_notebooks(folder: Path) -> bool:
    return any(folder.glob("[0-9][0-9]*_*.ipynb"))


def run_folder_of(output_dir: str, run_name: str | int) -> Path:
    """Returns the folder of a notebook's run; of `-p run_name 2024` papermill makes a number.

    Raises:
        MetsegError: The name is none of a folder, or what papermill made of it does not tell it.
    """
    if run_name is None or isinstance(run_name, bool | float):
        raise MetsegError(
            f"run_name is {run_name!r}, which is no text; write it in quotes, for papermill with -r, not -p"
        )
    return located(output_dir) / checked_run_name(str(run_name))


def checked_run_name(run_name: str) -> str:
    """Returns a run's name if it is the name of one folder, else raises a `MetsegError`."""
    if not re.fullmatch(r"\w[\w.+-]*", run_name):
        raise MetsegError(f"run name {run_name!r} is no folder name; use letters, digits, - and _")
    return run_name
