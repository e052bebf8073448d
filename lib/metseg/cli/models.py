"""Commands on trained models: score, export, release."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, shown
from metseg.base.paths import released_dir
from metseg.cli.app import (
    AllowMissing,
    Model,
    OutputDir,
    PhantomNetwork,
    Target,
    app,
    named_model,
    network_name,
    progress_bars,
    runs_folder,
    say_network,
    say_scans,
    watched,
)

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run, RUN/NETWORK, or a network's folder.")]


@app.command()
def evaluate(
    data_dir: Annotated[Path, typer.Option(help="Folder of scans with masks.")],
    model: Model = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the tables.")] = None,
    include_same_name: Annotated[
        bool, typer.Option(help="Score other scans of patients whose name the model has seen as well.")
    ] = False,
    target: Target = "",
    allow_missing: AllowMissing = False,
    phantom_network: PhantomNetwork = False,
    output_dir: OutputDir = None,
) -> None:
    """Score a model on patients that it has not seen, per patient and per slice."""
    from metseg.data.cases import list_cases
    from metseg.data.provenance import provenance_of
    from metseg.evaluation.evaluate import evaluate as evaluate_model
    from metseg.evaluation.evaluate import lesionwise_means, unseen_cases
    from metseg.evaluation.origin import refuse_scans_unlike_the_phantom
    from metseg.metrics.compare import combine_cases, region_dice
    from metseg.training.find import find_cases_for
    from metseg.training.seen import sort_cases

    scan = "volume" if list_cases(data_dir, target=target)[0].volumes else "slice"
    folder, why = named_model(model, output_dir, scan)
    cases = find_cases_for([folder], data_dir, target=target, allow_missing=allow_missing)
    unseen = unseen_cases(cases, folder, include_same_name=include_same_name)
    names = [case.case_id for case in unseen]
    if not phantom_network:
        description = read_json(folder / "model.json")
        refuse_scans_unlike_the_phantom(description, network_name(folder, output_dir), names)
    say_scans(cases)
    say_network(folder, output_dir, why)
    output = output or Path("evaluation") / folder.parent.name / folder.name
    with progress_bars() as bars:
        table = evaluate_model(folder, unseen, output, on_case=watched(bars, "Evaluating"))
    left = len(cases) - len(unseen)
    print(f"scans of patients it has not seen: {len(unseen)}; left out because it has seen them: {left}")
    for note in sort_cases(cases, folder).notes(include_same_name=include_same_name):
        print(note)
    main = next(iter(cases[0].volumes.target)) if cases[0].volumes else "lesion"
    others = region_dice(table)
    for name, dice in {main: combine_cases(table).dice, **others}.items():
        whose = f"{name} of {dice.count()} patients" if len(others.columns) else f"{dice.count()} patients"
        print(f"volume Dice of {whose}: mean {dice.mean():.3f}, median {dice.median():.3f}")
    if means := lesionwise_means(table):
        told = ("undefined" if mean is None else f"{mean:.3f}" for mean in means.values())
        print("lesion by lesion: " + ", ".join(map(" ".join, zip(means, told, strict=True))))
    print(f"{provenance_of(names).caution}\nTables: {shown(output)}")


@app.command()
def export(
    run: Run,
    data_dir: Annotated[Path, typer.Option(help="The scans it was trained on.")],
    precision: Annotated[
        Literal["fp32", "bf16", "int8"] | None,
        typer.Option(help="If left out, the fastest that keeps the validation Dice."),
    ] = None,
    prune: Annotated[
        Literal["L1", "L2", "L3", "L4", "L5", "L6"] | None,
        typer.Option(help="The head to keep of a network with deep supervision."),
    ] = None,
    output_dir: OutputDir = None,
) -> None:
    """Write a run's networks as ONNX again, settle how masks are made, and score them again."""
    from metseg.data.cases import find_cases
    from metseg.evaluation.evaluate import refuse_other_scans
    from metseg.training.find import find_cases_for, trained_folders
    from metseg.training.run_folder import RunFolder
    from metseg.trial import export_and_score

    folders = trained_folders(run, runs_folder(output_dir))
    form = {"precision": precision, "prune": int(prune[1]) if prune else None}
    first = RunFolder(folders[0])
    missing = {"allow_missing": first.allow_missing, "never_missing": (first.never_missing,)}
    refuse_other_scans(folders, find_cases(data_dir, **missing), data_dir)
    _say_all(folders, output_dir)
    for folder in folders:
        cases = find_cases_for([folder], data_dir)
        say_scans(cases)
        with progress_bars() as bars:
            told = export_and_score(RunFolder(folder), cases, **form, on_case=watched(bars, folder.name))
        print(told)


def _say_all(folders: Iterable[Path], output_dir: Path | None) -> None:
    for folder in folders:
        say_network(folder, output_dir)


@app.command()
def ablation(
    runs: Annotated[
        list[str], typer.Argument(metavar="BASELINE RUN...", help="Runs, RUN/NETWORK, or networks' folders.")
    ],
    data_dir: Annotated[Path, typer.Option(help="The scans they were trained on.")],
    output: Annotated[Path, typer.Option(help="Folder for table and figure.")] = Path("ablation"),
    target: Target = "",
    output_dir: OutputDir = None,
) -> None:
    """Hold trainings against the first one, on the validation patients that they share."""
    from metseg.evaluation.ablation import ablation_table, write_ablation
    from metseg.training.find import find_cases_for, trained_folders

    folders = [folder for run in runs for folder in trained_folders(run, runs_folder(output_dir))]
    cases = find_cases_for(folders, data_dir, target=target)
    say_scans(cases)
    _say_all(folders, output_dir)
    with progress_bars() as bars:
        table = ablation_table(folders, cases, on_model=watched(bars, "Networks"))
    print(table.drop(columns=["patients", "dice_median"]).round(3).to_string(index=False))
    write_ablation(table, output)
    print(f"Table and figure: {shown(output)}")


@app.command()
def release(
    run: Run,
    crossval: Annotated[
        str | None,
        typer.Option(help="Cross-validation of the same recipe, whose scores count; for nobody held out."),
    ] = None,
    kind: Annotated[
        str,
        typer.Option("--as", metavar="KIND", help="What they know, such as mets; data of a known set tells."),
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a released network of the same name unasked.")
    ] = False,
    phantom_network: PhantomNetwork = False,
    output_dir: OutputDir = None,
) -> None:
    """Make a run's networks ones that dashboard and service use: outputs/released/KIND-NETWORK."""
    from metseg.release.release import check_run, released_told, replaced_told
    from metseg.release.release import release as release_model
    from metseg.training.find import run_folder, trained_folders

    runs_dir = runs_folder(output_dir)
    folders = trained_folders(run, runs_dir)
    found = run_folder(crossval, runs_dir) if crossval else None
    checked = check_run(folders, found, kind=kind, phantom_network=phantom_network)
    _say_all(folders, output_dir)
    if replaced := replaced_told(checked, released_dir()):
        print(*replaced.values(), sep="\n")
        text = f"the released {' and '.join(replaced)}"
        if not replace and not sys.stdin.isatty():
            raise MetsegError(f"{text} would be replaced; nothing was changed: give --replace to do it")
        if not replace and not typer.confirm(f"Replace {text}?"):
            raise MetsegError(f"{text} stays; nothing was changed")
    for each in checked:
        print(f"released: {shown(release_model(each, released_dir()))}")
    print(released_told(released_dir()))


@app.command("runs")
def list_runs(output_dir: OutputDir = None) -> None:
    """List the networks of all runs: data, epochs, Dice, date; unfinished and damaged ones as well."""
    from metseg.evaluation.run_table import runs_told

    print(runs_told(runs_folder(output_dir)))
