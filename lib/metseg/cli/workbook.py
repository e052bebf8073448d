"""Commands that run notebooks and compare what they left."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from metseg.base.errors import MetsegError
from metseg.base.files import shown
from metseg.cli.app import (
    DataDir,
    OutputDir,
    app,
    existing_folder,
    header_bar,
    new_run,
    progress_bars,
    runs_folder,
    say_network,
    say_scans,
)

Profile = Annotated[str, typer.Option(help="quick, cpu, mets, volumes or gpu: a recipe of notebooks/params.")]
RunName = Annotated[
    str | None, typer.Option(help="Name of the run; a name used before goes on with that run.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter; may be repeated.")
]
Network = Annotated[str, typer.Option("--model", help="nested_unet, attention_unet or unet.")]
# Parameters that have an option of their own.
_OPTIONS = {name: f"--{name.replace('_', '-')}" for name in ("data_dir", "run_name", "output_dir")}
_OPTIONS |= {"model": "--model of metseg train", "recipe": "--profile"}


@app.command()
def run(
    profile: Profile = "quick",
    data_dir: DataDir = None,
    run_name: RunName = None,
    settings: Settings = None,
    output_dir: OutputDir = None,
) -> None:
    """Run the whole workbook: notebooks 01 to 13, unattended."""
    from metseg.base.paths import project_root
    from metseg.evaluation.report import comparison_told
    from metseg.workbook.run import numbered_notebooks

    notebooks = numbered_notebooks(project_root() / "notebooks")
    typed = existing_folder(data_dir) | _typed(settings)
    if typed.get("test_fraction") == 0:
        raise MetsegError("test_fraction=0 holds nobody out to compare networks on; use metseg train")
    run_folder = _run_notebooks(notebooks, profile, typed, run_name or _dated(profile), output_dir)
    print(f"\n{comparison_told(run_folder / 'comparison')}")
    print(f"\nExecuted notebooks and their HTML: {shown(run_folder / 'notebooks')}")
    print(f"Tables and figures: {shown(run_folder / 'comparison')}")


@app.command()
def train(
    model: Network,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the training slices.")] = None,
    data_dir: DataDir = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the network input, px.")] = None,
    profile: Profile = "quick",
    run_name: RunName = None,
    settings: Settings = None,
    output_dir: OutputDir = None,
) -> None:
    """Train one network with its notebook, the one a person would step through."""
    from metseg.base.paths import project_root
    from metseg.evaluation.run_table import training_in
    from metseg.workbook.run import training_notebook

    notebook = training_notebook(model, project_root() / "notebooks")
    options = {"epochs": epochs, "image_size": image_size}
    typed = {name: value for name, value in options.items() if value is not None}
    typed |= existing_folder(data_dir) | _typed(settings)
    run_folder = _run_notebooks([notebook], profile, typed, run_name or _dated(model), output_dir)
    name = f"{run_folder.name}/{model}"
    print(f"Model: {shown(run_folder / model)}, for other commands --model {name}")
    print(f"Executed notebook: {shown(run_folder / 'notebooks' / notebook.with_suffix('.html').name)}")
    print(training_in(run_folder / model, name).scores_told)


@app.command()
def crossval(
    model: Network,
    folds: Annotated[int, typer.Option(min=2, help="Each patient is held out in one of them.")] = 5,
    data_dir: DataDir = None,
    profile: Profile = "quick",
    run_name: RunName = None,
    settings: Settings = None,
    output_dir: OutputDir = None,
) -> None:
    """Cross-validate a network: each patient is scored by one that has never seen them."""
    from metseg.base.paths import project_root
    from metseg.data.phantom.draw import draw_phantom_if_missing
    from metseg.evaluation.crossval import read_crossval, unfinished_networks, write_crossval
    from metseg.evaluation.report import comparison_told
    from metseg.training.config import config_among
    from metseg.workbook.cross_validate import cross_validate
    from metseg.workbook.run import command_values, training_notebook, training_settings

    notebook = training_notebook(model, project_root() / "notebooks")
    typed = existing_folder(data_dir) | _typed(settings, "folds", "fold")
    found = training_settings(notebook, command_values(profile, typed, [notebook]))
    config, run_folder = config_among(found), new_run(run_name or _dated("crossval"), output_dir)
    _say_what_counts([notebook], typed)
    draw_phantom_if_missing(Path(config.data_dir))
    places = {"run_folder": run_folder, "cache_dir": Path(found["cache_dir"])}
    cross_validate(config, folds=folds, **places, restart=found["restart"])
    output = run_folder / "comparison"
    write_crossval(read_crossval(run_folder), output)
    print(f"\n{comparison_told(output)}")
    if left := unfinished_networks(run_folder):
        print(f"not shown, for folds are missing: {', '.join(left)}")
    print(f"Tables and figures: {shown(output)}")


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs, RUN/NETWORK, or their folders.")],
    output: Annotated[Path | None, typer.Option(help="Folder for tables and figures.")] = None,
    output_dir: OutputDir = None,
) -> None:
    """Compare the networks of one or more runs on the same held-out patients."""
    from metseg.evaluation.report import (
        comparison_folder,
        comparison_told,
        read_comparison,
        write_comparison,
    )
    from metseg.training.find import run_folder

    folders = [run_folder(run, runs_folder(output_dir)).resolve() for run in runs]
    comparison, output = read_comparison(folders), output or comparison_folder(folders)
    for network in sorted(path for paths in comparison.folders.values() for path in paths):
        say_network(network, output_dir)
    write_comparison(comparison, output)
    print(f"\n{comparison_told(output)}\nTables and figures: {shown(output)}")


def _dated(name: str) -> str:
    return f"{name}-{datetime.now():%Y%m%d-%H%M%S}"


def _typed(settings: list[str] | None, *decided: str) -> dict:
    """Returns what `--set` says; parameters with an option of their own, and decided ones, are refused."""
    from metseg.workbook.parameters import parse_assignments

    values = parse_assignments(settings or [])
    for name in values:
        if name in decided:
            raise MetsegError(
                f"{name} is no parameter to set here: each fold is trained in turn; see --folds"
            )
        if name in _OPTIONS:
            raise MetsegError(f"{name} is no parameter to set; use the option {_OPTIONS[name]}")
    return values


def _run_notebooks(
    notebooks: list[Path], profile: str, typed: dict, run_name: str, output_dir: Path | None
) -> Path:
    from metseg.workbook.display import RunDisplay
    from metseg.workbook.run import command_values, run_notebooks

    values, run_folder = command_values(profile, typed, notebooks), new_run(run_name, output_dir)
    _say_what_counts(notebooks, values)
    with RunDisplay() as display:
        run_notebooks(notebooks, values, run_folder=run_folder, on_event=display)
    return run_folder


def _say_what_counts(notebooks: list[Path], values: dict) -> None:
    """Says how the scans are read, and which saved parameters count for nothing."""
    from metseg.data.cases import list_cases
    from metseg.data.missing_sequences import keep_usable
    from metseg.data.volume import NEVER_MISSING
    from metseg.workbook.parameters import edits_told

    if "data_dir" in values:
        with progress_bars() as bars:
            options = {"target": str(values.get("target", "")), "on_file": header_bar(bars)}
            found = list_cases(Path(values["data_dir"]), **options)
        missing = {"allow_missing": bool(values.get("allow_missing", False))}
        missing["never_missing"] = (values.get("never_missing", NEVER_MISSING),)
        cases, notes = keep_usable(found, **missing)
        say_scans(cases)
        print(*(f"note: {note}\n" for note in notes), sep="", end="", flush=True)
    for line in edits_told(notebooks):
        print(line, file=sys.stderr)
