"""Where the workbook's folders are."""

from pathlib import Path

from metseg.errors import MetsegError


def project_root() -> Path:
    """The checkout that holds notebooks/: around this package, or else the working directory."""
    for root in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (root / "notebooks").is_dir():
            return root
    raise MetsegError(f"no notebooks/ folder in {Path.cwd()}; change to the workbook's checkout first")


def released_dir() -> Path:
    """The folder of the models that come with the checkout, one folder a network."""
    return project_root() / "outputs" / "released"
