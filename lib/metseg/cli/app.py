"""What the commands share: the app, options that several of them take, and progress on stderr."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metseg.errors import MetsegError

if TYPE_CHECKING:
    from rich.progress import Progress

app = typer.Typer(
    help="Segment brain lesions in MRI with Nested U-Net and Attention U-Net.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder of scans; the phantom if left out.")]
Model = Annotated[str, typer.Option(help="nested_unet, attention_unet, unet, or a model's folder.")]
OutputDir = Annotated[Path | None, typer.Option(help="Where runs are kept; outputs/runs if left out.")]


def runs_folder(output_dir: Path | None) -> Path:
    """Returns where runs are kept."""
    from metseg.paths import runs_dir

    return output_dir.resolve() if output_dir else runs_dir()


def named_model(model: str, output_dir: Path | None) -> Path:
    """Returns the folder of the model that `--model` names."""
    from metseg.paths import released_dir
    from metseg.runs import find_model

    return find_model(model, runs_folder(output_dir), released_dir())


def existing_folder(data_dir: Path | None) -> dict:
    """Returns `--data-dir` as a notebook's parameter, if it was given and is there."""
    if data_dir is None:
        return {}
    if not data_dir.is_dir():
        raise MetsegError(f"{data_dir} is not a folder; give the one that holds the scans")
    return {"data_dir": str(data_dir.resolve())}


def progress_bars() -> "Progress":
    """Returns progress on stderr: bars on a terminal, nothing in a log."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)
