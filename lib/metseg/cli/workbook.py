"""Commands that run notebooks and compare what they left."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from metseg.base.errors import MetsegError
from metseg.base.files import shown
from metseg.cli.app import DataDir, OutputDir, app, existing_folder, runs_folder, say_network, say_scans

RunName = Annotated[
    str | None, typer.Option(help="Name of the run; a name used before goes on with that run.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A notebook's parameter; may be repeated."),
]


@app.command()
def run(
    profile: Annotated[str, typer.Option(help="quick, cpu or gpu: a file of notebooks/params.")] = "quick",
    data_dir: DataDir = None,
    run_name: RunName = None,
    settings: Settings = None,
    output_dir: OutputDir = None,
) -> None:
    """Run the whole workbook: notebooks 01 to 10, unattended."""
    from metseg.base.paths import project_root
    from metseg.workbook.parameters import read_profile
    from metseg.workbook.run import numbered_notebooks

    folder = project_root() / "notebooks"
    values = {**read_profile(profile, folder), **existing_folder(data_dir), **_parse(settings)}
    if values.get("test_fraction") == 0:
        raise MetsegError("test_fraction=0 holds nobody out to compare networks on; use metseg train")
    name = f"{profile}-{datetime.now():%Y%m%d-%H%M%S}" if run_name is None else run_name
    run_folder = _run_notebooks(numbered_notebooks(folder), values, name, output_dir)
    _show_comparison(run_folder / "comparison")
    print(f"\nExecuted notebooks and their HTML: {shown(run_folder / 'notebooks')}")
    print(f"Tables and figures: {shown(run_folder / 'comparison')}")


@app.command()
def train(
    model: Annotated[str, typer.Option(help="nested_unet, attention_unet or unet.")],
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the training slices.")] = None,
    data_dir: DataDir = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the network input, px.")] = None,
    profile: Annotated[str, typer.Option(help="quick, cpu or gpu.")] = "quick",
    start_from: Annotated[
        str | None,
        typer.Option(
            help="RUN, RUN/NETWORK, or a network's folder, to start from; wider filters are pruned."
        ),
    ] = None,
    run_name: RunName = None,
    settings: Settings = None,
    output_dir: OutputDir = None,
) -> None:
    """Train one network with its notebook, the one a person would step through."""
    from metseg.base.paths import project_root
    from metseg.workbook.parameters import notebook_parameters, read_profile
    from metseg.workbook.run import training_notebook

    notebook = training_notebook(model, project_root() / "notebooks")
    known = notebook_parameters(notebook)
    # A profile speaks to all notebooks; this one takes what it declares.
    values = {k: v for k, v in read_profile(profile, notebook.parent).items() if k in known}
    given = {"epochs": epochs, "image_size": image_size}
    values |= {k: v for k, v in given.items() if v is not None} | existing_folder(data_dir)
    values |= _parse(settings) | _started_from(start_from, model, output_dir)
    name = f"{model}-{datetime.now():%Y%m%d-%H%M%S}" if run_name is None else run_name
    run_folder = _run_notebooks([notebook], values, name, output_dir)
    print(f"Model: {shown(run_folder / model)}, for other commands --model {run_folder.name}/{model}")
    print(f"Executed notebook: {shown(run_folder / 'notebooks' / notebook.with_suffix('.html').name)}")


@app.command()
def crossval(
    model: Annotated[str, typer.Option(help="nested_unet, attention_unet or unet.")],
    folds: Annotated[int, typer.Option(min=2, help="Each patient is held out in one of them.")] = 5,
    data_dir: DataDir = None,
    profile: Annotated[str, typer.Option(help="quick, cpu or gpu.")] = "quick",
    run_name: RunName = None,
    settings: Settings = None,
    output_dir: OutputDir = None,
) -> None:
    """Cross-validate a network: each patient is scored by one that has never seen them."""
    from metseg.base.paths import project_root
    from metseg.evaluation.crossval import cross_validate
    from metseg.workbook.display import RunDisplay
    from metseg.workbook.parameters import notebook_parameters, read_profile
    from metseg.workbook.run import training_notebook

    notebooks = project_root() / "notebooks"
    known = notebook_parameters(training_notebook(model, notebooks))
    values = {k: v for k, v in read_profile(profile, notebooks).items() if k in known}
    values |= existing_folder(data_dir) | _parse(settings)
    run_folder = _run_folder(run_name or f"crossval-{datetime.now():%Y%m%d-%H%M%S}", output_dir)
    _say_what_counts([training_notebook(model, notebooks)], values)
    with RunDisplay() as display:
        cross_validate(
            model, values, folds=folds, run_folder=run_folder, notebooks=notebooks, on_event=display
        )
    show_crossval(run_folder)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs, RUN/NETWORK, or their folders.")],
    output: Annotated[Path | None, typer.Option(help="Folder for tables and figures.")] = None,
    output_dir: OutputDir = None,
) -> None:
    """Compare the networks of one or more runs on the same held-out patients."""
    from metseg.evaluation.report import read_comparison, write_comparison
    from metseg.training.runs import is_network, run_folder

    folders = [run_folder(run, runs_folder(output_dir)).resolve() for run in runs]
    comparison = read_comparison(folders)
    for network in sorted(path for paths in comparison.folders.values() for path in paths):
        say_network(network, output_dir)
    if output is None:
        names = [f"{path.parent.name}-{path.name}" if is_network(path) else path.name for path in folders]
        home, name = (folders[0].parent, names) if is_network(folders[0]) else (folders[0], names[1:])
        output = home / "-".join(["comparison", *name])
    write_comparison(comparison, output)
    _show_comparison(output)
    print(f"Tables and figures: {shown(output)}")


def _started_from(run: str | None, model: str, output_dir: Path | None) -> dict:
    """Returns `--start-from` as a notebook's parameter: the folder of the run's network of this kind."""
    from metseg.training.runs import trained_folders

    if run is None:
        return {}
    found = trained_folders(run, runs_folder(output_dir))
    same = [folder for folder in found if folder.name == model]
    if len(found) > 1 and not same:
        raise MetsegError(f"{run} holds no {model} to start from; it has {', '.join(f.name for f in found)}")
    start = (same or found)[0]
    say_network(start, output_dir)
    return {"start_from": str(start.resolve())}


def _parse(settings: list[str] | None) -> dict:
    from metseg.workbook.parameters import parse_assignments

    values = parse_assignments(settings or [])
    for option in ("model", "start_from", "data_dir", "run_name", "output_dir"):
        if option in values:
            command = " of metseg train" if option in ("model", "start_from") else ""
            raise MetsegError(
                f"{option} is no parameter to set; use the option --{option.replace('_', '-')}{command}"
            )
    return values


def _run_notebooks(notebooks: list[Path], values: dict, run_name: str, output_dir: Path | None) -> Path:
    from metseg.workbook.display import RunDisplay
    from metseg.workbook.run import run_notebooks

    run_folder = _run_folder(run_name, output_dir)
    _say_what_counts(notebooks, values)
    with RunDisplay() as display:
        run_notebooks(notebooks, values, run_folder=run_folder, on_event=display)
    return run_folder


def _say_what_counts(notebooks: list[Path], values: dict) -> None:
    """Says how the scans are read, and which saved parameters count for nothing: somebody meant them to."""
    from metseg.data.cases import list_cases
    from metseg.workbook.parameters import edited_parameters

    if "data_dir" in values:
        say_scans(list_cases(Path(values["data_dir"])))

    for notebook in notebooks:
        for name, (saved, start) in edited_parameters(notebook).items():
            print(
                f"note: {notebook.name} has {name} = {saved!r}, which is for JupyterLab; commands start from "
                f"{start!r}, see params/quick.yml (--set {name}=...)",
                file=sys.stderr,
            )


def _run_folder(run_name: str, output_dir: Path | None) -> Path:
    from metseg.base.paths import checked_run_name
    from metseg.training.runs import MODELS

    folder = runs_folder(output_dir) / checked_run_name(run_name)
    if run_name in MODELS and not folder.exists():
        raise MetsegError(f"{run_name} is what the released network is called; give the run another name")
    return folder


def show_crossval(run_folder: Path) -> None:
    """Compares the networks of a cross-validation that have all folds: files and a table."""
    from metseg.evaluation.crossval import read_crossval, unfinished_networks, write_crossval

    write_crossval(read_crossval(run_folder), run_folder / "comparison")
    _show_comparison(run_folder / "comparison")
    if left := unfinished_networks(run_folder):
        print(f"not shown, for folds are missing: {', '.join(left)}")
    print(f"Tables and figures: {shown(run_folder / 'comparison')}")


def _show_comparison(folder: Path) -> None:
    import pandas as pd

    from metseg.base.labels import label_of
    from metseg.training.runs import read_json

    record = read_json(folder / "comparison.json")
    print(f"\nVolume Dice of held-out patients, 95 % bootstrap intervals. {record['caution']}\n")
    rows = [
        {
            "network": label_of(row["model"]),
            "mean": _with_interval(row, "dice_mean"),
            "median": _with_interval(row, "dice_median"),
            "validation": f"{row['validation_dice']:.3f}" if row["validation_dice"] is not None else "–",
            "pooled": _with_interval(row, "pooled_dice"),
            "false positives a patient": f"{row['false_positives_per_patient']:.1f}",
            "ms a slice": f"{1000 * row['seconds_per_slice']:.0f}",
        }
        for row in record["summary"]
    ]
    print(pd.DataFrame(rows).to_string(index=False))
    if nothing := record.get("predicts_nothing"):
        print(f"finds nothing in its validation patients, so never the best: {', '.join(nothing)}")


def _with_interval(row: dict, name: str) -> str:
    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    interval = "" if low is None else f" ({low:.3f}–{high:.3f})"
    return "undefined" if value is None else f"{value:.3f}{interval}"
