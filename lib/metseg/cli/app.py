"""What the commands share: the app, options that several of them take, and progress on stderr."""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metseg.base.errors import MetsegError
from metseg.base.files import complain_of_path
from metseg.base.paths import checked_run_name, released_dir, runs_dir

if TYPE_CHECKING:
    from rich.progress import Progress

    from metseg.data.cases import CaseFiles
    from metseg.release.released import Scan


def _show_version(wanted: bool) -> None:
    from metseg import __version__

    if wanted:
        print(f"metseg {__version__}")
        raise typer.Exit


app = typer.Typer(
    help="Segment brain lesions in MRI with Nested U-Net and Attention U-Net.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


_Version = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
]


@app.callback()
def _options(version: _Version = False) -> None:
    pass


DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder of scans; the phantom if left out.")]
Target = Annotated[
    str,
    typer.Option(
        help="What is a lesion in references with several labels: ET, TC, WT, labels such as 1,3, or "
        "several regions, the main one first: TC+ET+WT."
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="KIND-NETWORK for a released one, RUN/NETWORK, or a network's folder; if left out, the released "
        "one that fits the scans, and NETWORK alone is the one of that architecture."
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", help="KIND-NETWORK, RUN/NETWORK or a folder; repeatable; all released if left out."
    ),
]
Sequences = Annotated[
    list[str] | None,
    typer.Option(
        "--sequence",
        help="t1c=FILE; of DICOM t1c=UID, description or folder. For t1, t1c and flair; repeatable.",
    ),
]
AllowMissing = Annotated[
    bool,
    typer.Option("--allow-missing", help="Let FLAIR, or else t1c, stand in for what is missing."),
]
PhantomNetwork = Annotated[
    bool, typer.Option("--phantom-network", help="Let a network that knows only the phantom see other scans.")
]
TrustAnyway = Annotated[
    bool, typer.Option("--trust-anyway", help="Segment what is unlike all scans of the training as well.")
]
FalsePositives = Annotated[
    float | None,
    typer.Option(
        "--false-positives-per-scan",
        min=0,
        help="Find most lesions at no more of them, by the network's validation volumes.",
    ),
]
OutputDir = Annotated[Path | None, typer.Option(help="Where runs are kept; outputs/runs if left out.")]


def runs_folder(output_dir: Path | None) -> Path:
    """Returns where runs are kept."""
    return output_dir.resolve() if output_dir else runs_dir()


def new_run(run_name: str, output_dir: Path | None) -> Path:
    """Returns the folder of a run that a command begins or goes on with."""
    from metseg.training.find import is_released_name

    folder = runs_folder(output_dir) / checked_run_name(run_name)
    if is_released_name(run_name) and not folder.exists():
        raise MetsegError(f"{run_name} is what a released network is called; give the run another name")
    return folder


def named_model(model: str | None, output_dir: Path | None, scan: "Scan") -> tuple[Path, str]:
    """Returns the folder of the network that `--model` names, or leaves to the kind of scan, and why that."""
    from metseg.release.released import released_for
    from metseg.training.find import MODELS, find_model

    if (model is None or model in MODELS) and (found := released_for(scan, model)):
        return found
    return find_model(model, runs_folder(output_dir), released_dir()), ""


def named_models(
    models: list[str] | None, output_dir: Path | None, *, phantom_network: bool = True
) -> dict[str, Path]:
    """Returns {what commands call it: folder} of the networks that `--model` names, or of all released ones.

    An architecture alone names all released ones of it. Where none is named, one that knows only the phantom
    is left out, and told, unless `phantom_network` is set.
    """
    from metseg.evaluation.origin import but_of_the_phantom
    from metseg.release.released import fitting, released_models
    from metseg.training.find import MODELS, find_model

    folders = {}
    for model in models or ():
        alike = fitting(released_models(released_dir()), "slice", model) if model in MODELS else []
        if not alike:
            folder = find_model(model, runs_folder(output_dir), released_dir())
            folders[network_name(folder, output_dir)] = folder
        folders |= {name: released_dir() / name for name in alike}
    if folders:
        return folders
    found = released_models(released_dir())
    kept = [*found] if phantom_network else but_of_the_phantom(found)
    if left_out := [name for name in found if name not in kept]:
        print(f"left out, for it knows only the phantom: {', '.join(left_out)} (--phantom-network offers it)")
    return {name: released_dir() / name for name in kept}


def network_name(folder: Path, output_dir: Path | None) -> str:
    """Returns what commands call a network."""
    from metseg.training.find import name_of

    return name_of(folder, runs_folder(output_dir), released_dir())


def told_sequences(given: list[str] | None) -> dict[str, str]:
    """Takes `--sequence t1c=FILE` apart."""
    pairs = [each.partition("=") for each in given or []]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise MetsegError(f"--sequence {name} names no file; write t1c=FILE")
    return {name: value for name, _, value in pairs}


def say_scans(cases: "list[CaseFiles]") -> None:
    """Prints how files were read as scans, before a command works on them."""
    from metseg.data.cases import how_read

    print(how_read(cases), flush=True)


def say_network(folder: Path, output_dir: Path | None, why: str = "", *, stderr: bool = False) -> None:
    """Prints which network a command took, why, and what it was trained on, before it works."""
    from metseg.evaluation.origin import network_line

    line = network_line(folder, network_name(folder, output_dir), why)
    print(line, file=sys.stderr if stderr else sys.stdout, flush=True)


def say_networks(models: dict[str, Path], output_dir: Path | None, *, stderr: bool = False) -> None:
    """Prints which networks are offered, and for what each is the default."""
    from metseg.release.released import default_for, described_models

    for name, scans in default_for(described_models(models)).items():
        why = f"the default for {' and '.join(f'{scan}s' for scan in scans)}" if scans else ""
        say_network(models[name], output_dir, why, stderr=stderr)


def existing_folder(data_dir: Path | None) -> dict:
    """Returns `--data-dir` as a notebook's parameter, if it was given and is there."""
    if data_dir is None:
        return {}
    if not data_dir.is_dir():
        raise MetsegError(f"{data_dir} is not a folder; give the one that holds the scans")
    complain_of_path(data_dir)
    return {"data_dir": str(data_dir.resolve())}


def progress_bars() -> "Progress":
    """Returns progress on stderr: bars on a terminal, nothing in a log."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def watched(bars: "Progress", text: str) -> Callable[[int, int], None]:
    """Returns a function that is called with (finished, of), and moves a bar of its own."""
    bar = bars.add_task(text, total=None)
    return lambda k, n: bars.update(bar, completed=k, total=n)


def header_bar(bars: "Progress") -> Callable[[int, int], None]:
    """Returns what `watched` does, with a bar that is not there before headers are read."""
    bar = cache(lambda: watched(bars, "Reading headers"))
    return lambda k, n: bar()(k, n)
