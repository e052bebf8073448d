"""Commands on trained models: score, export, release."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metseg.base.errors import MetsegError
from metseg.base.files import shown
from metseg.cli.app import (
    Model,
    OutputDir,
    PhantomNetwork,
    app,
    named_model,
    network_name,
    progress_bars,
    runs_folder,
    say_network,
    say_scans,
)
from metseg.cli.workbook import show_crossval

if TYPE_CHECKING:
    from metseg.data.cases import CaseFiles


@app.command()
def evaluate(
    model: Model,
    data_dir: Annotated[Path, typer.Option(help="Folder of scans with masks.")],
    output: Annotated[Path | None, typer.Option(help="Folder for the tables.")] = None,
    include_same_name: Annotated[
        bool, typer.Option(help="Score other scans of patients whose name the model has seen as well.")
    ] = False,
    phantom_network: PhantomNetwork = False,
    output_dir: OutputDir = None,
) -> None:
    """Score a model on patients that it has not seen, per patient and per slice."""
    from metseg.base.files import read_json
    from metseg.data.cases import find_cases
    from metseg.data.provenance import provenance_of
    from metseg.evaluation.evaluate import evaluate as evaluate_model
    from metseg.evaluation.evaluate import unseen_cases
    from metseg.evaluation.origin import refuse_scans_unlike_the_phantom
    from metseg.metrics.compare import combine_cases
    from metseg.training.seen import sort_cases

    folder = named_model(model, output_dir)
    cases = find_cases(data_dir)
    unseen = unseen_cases(cases, folder, include_same_name=include_same_name)
    if not phantom_network:
        description, names = read_json(folder / "model.json"), [case.case_id for case in unseen]
        refuse_scans_unlike_the_phantom(description, network_name(folder, output_dir), names)
    say_scans(cases)
    say_network(folder, output_dir)
    output = output or Path("evaluation") / folder.parent.name / folder.name
    with progress_bars() as bars:
        bar = bars.add_task("Evaluating", total=len(unseen))
        table = evaluate_model(folder, unseen, output, on_case=lambda k, _: bars.update(bar, completed=k))
    left_out = len(cases) - len(unseen)
    print(f"scans of patients it has not seen: {len(unseen)}; left out because it has seen them: {left_out}")
    for note in sort_cases(cases, folder).notes(include_same_name=include_same_name):
        print(note)
    dice = combine_cases(table).dice
    print(f"volume Dice of {dice.count()} patients: mean {dice.mean():.3f}, median {dice.median():.3f}")
    print(provenance_of(case.case_id for case in unseen).caution)
    print(f"Tables: {shown(output)}")


@app.command()
def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run, RUN/NETWORK, or a network's folder.")],
    data_dir: Annotated[Path, typer.Option(help="The scans it was trained on.")],
    precision: Annotated[
        str | None, typer.Option(help="fp32, bf16 or int8; the fastest that keeps the validation Dice.")
    ] = None,
    prune: Annotated[
        str | None, typer.Option(help="L1 to L4: the head to keep of a network with deep supervision.")
    ] = None,
    output_dir: OutputDir = None,
) -> None:
    """Write a run's networks as ONNX again, choose their postprocessing, and score them again."""
    from metseg.training.runs import trained_folders

    folders = trained_folders(run, runs_folder(output_dir))

    def say_all(cases: list["CaseFiles"]) -> None:
        say_scans(cases)
        _say_all(folders, output_dir)

    _export_and_score(folders, data_dir, precision, prune, before=say_all)


@app.command()
def ensemble(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Runs, RUN/NETWORK, or networks' folders.")
    ],
    data_dir: Annotated[Path, typer.Option(help="The scans they were trained on.")],
    output_dir: OutputDir = None,
) -> None:
    """Make one model of trained networks, whose probability is the mean of theirs, and score it.

    It lies beside the first network, as `ensemble`. Of networks of a cross-validation, NAME/nested_unet and
    so on, one is made for each fold.
    """
    from metseg.data.cases import find_cases
    from metseg.evaluation.crossval import ensembles_of_folds, fold_folders, unfinished_networks
    from metseg.evaluation.evaluate import refuse_other_scans
    from metseg.training.ensemble import build_ensemble, is_scored_ensemble
    from metseg.training.runs import ENSEMBLE, run_folder, trained_folders

    networks = [run_folder(run, runs_folder(output_dir)) for run in runs]
    by_fold = all(fold_folders(network.parent, network.name) for network in networks)
    if by_fold:
        ensembles = ensembles_of_folds(networks)
    else:
        members = []
        for run in runs:
            found = trained_folders(run, runs_folder(output_dir))
            # A former one of the same run is no member of the next; one that was named is refused.
            members += [folder for folder in found if folder.name != ENSEMBLE] or found
        ensembles = {members[0].parent / ENSEMBLE: members}
    cases = find_cases(data_dir)
    for members in ensembles.values():
        refuse_other_scans(members, cases, data_dir)  # before anything is written
    say_scans(cases)
    _say_all([folder for members in ensembles.values() for folder in members], output_dir)
    for folder, members in ensembles.items():
        if by_fold and is_scored_ensemble(folder, members):
            continue  # interrupted, the same command goes on
        _export_and_score([build_ensemble(members, folder)], data_dir, None, None)
    if not by_fold:
        return
    run_folder = networks[0].parent
    print(f"ensembles, one a fold: {len(ensembles)} in {shown(run_folder / ENSEMBLE)}")
    if ENSEMBLE not in unfinished_networks(run_folder):
        show_crossval(run_folder)


def _say_all(folders: Iterable[Path], output_dir: Path | None) -> None:
    for folder in folders:
        say_network(folder, output_dir)


def _export_and_score(
    folders: list[Path],
    data_dir: Path,
    precision: str | None,
    prune: str | None,
    *,
    before: Callable[[list["CaseFiles"]], None] = lambda cases: None,
) -> None:
    from metseg.data.cases import find_cases
    from metseg.data.readers.images import read_image
    from metseg.data.split import read_split
    from metseg.evaluation.evaluate import evaluate as evaluate_model
    from metseg.evaluation.evaluate import refuse_other_scans, unseen_cases
    from metseg.export.variants import export_serving, head_of, precision_of

    wanted, head = precision_of(precision), head_of(prune)
    cases = find_cases(data_dir)
    refuse_other_scans(folders, cases, data_dir)
    before(cases)
    paths = [files.image for case in cases for files in case.slices if files.image]
    slices = [read_image(path) for path in paths[:: max(1, len(paths) // 50)][:50]]  # from all over the set
    with progress_bars() as bars:

        def watch(text: str) -> Callable[[int, int], None]:
            bar = bars.add_task(text, total=None)
            return lambda k, n: bars.update(bar, completed=k, total=n)

        for folder in folders:
            done = export_serving(
                folder,
                slices,
                cases,
                precision=wanted,
                prune=head,
                on_case=watch(f"{folder.name}: validation patients"),
            )
            if read_split(folder / "split.json").test:
                unseen, scores = unseen_cases(cases, folder), folder / "evaluation"
                evaluate_model(folder, unseen, scores, on_case=watch(f"{folder.name}: held-out patients"))
                what = "exported and scored"
            else:
                what = "exported, and nobody is held out to score it"
            cut = done.dice_change_of_head
            print(
                f"{what}: {shown(folder)}; probabilities in float32 differ from the trained "
                f"network's by at most {done.largest_difference:.0e} on {len(slices)} slices; "
                f"serves in {done.precision}, validation Dice {done.dice_change.mean:+.4f} against float32, "
                f"slice by slice {done.dice_change_single_slices.mean:+.4f}, of one patient by "
                f"{done.largest_change_of_a_patient:.4f} at most"
                + (f"; head {prune} {cut:+.4f} against all heads" if cut is not None else "")
            )


@app.command()
def ablation(
    runs: Annotated[
        list[str], typer.Argument(metavar="BASELINE RUN...", help="Runs, RUN/NETWORK, or networks' folders.")
    ],
    data_dir: Annotated[Path, typer.Option(help="The scans they were trained on.")],
    output: Annotated[Path, typer.Option(help="Folder for table and figure.")] = Path("ablation"),
    output_dir: OutputDir = None,
) -> None:
    """Hold trainings against the first one, on the validation patients that they share."""
    from metseg.data.cases import find_cases
    from metseg.evaluation.ablation import ablation_table, write_ablation
    from metseg.training.runs import trained_folders

    folders = [folder for run in runs for folder in trained_folders(run, runs_folder(output_dir))]
    cases = find_cases(data_dir)
    say_scans(cases)
    _say_all(folders, output_dir)
    with progress_bars() as bars:
        bar = bars.add_task("Validation patients", total=len(folders))
        table = ablation_table(folders, cases, on_model=lambda k, _: bars.update(bar, completed=k))
    print(table.drop(columns=["patients", "dice_median"]).round(3).to_string(index=False))
    write_ablation(table, output)
    print(f"Table and figure: {shown(output)}")


@app.command()
def release(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run, RUN/NETWORK, or a network's folder.")],
    crossval: Annotated[
        str | None,
        typer.Option(help="Cross-validation of the same recipe, whose scores count; for nobody held out."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a released network of the same name unasked.")
    ] = False,
    output_dir: OutputDir = None,
) -> None:
    """Make a run's networks the ones that dashboard and service use: outputs/released."""
    from metseg.base.paths import released_dir
    from metseg.release.out_of_fold import out_of_fold_scores
    from metseg.release.released import check_releasable, released_models, scores_told
    from metseg.release.released import release as release_model
    from metseg.training.runs import run_folder, trained_folders

    runs_dir = runs_folder(output_dir)
    folders = trained_folders(run, runs_dir)
    scores = [None] * len(folders)
    if crossval is not None:
        found = run_folder(crossval, runs_dir)
        scores = [out_of_fold_scores(found, folder) for folder in folders]  # before anything is replaced
    checked = [check_releasable(folder, out_of_fold=of) for folder, of in zip(folders, scores, strict=True)]
    replaced = [each.description for each in checked if (released_dir() / each.description["name"]).exists()]
    _say_all(folders, output_dir)
    for new in replaced:
        print(f"released so far: {scores_told(released_dir() / new['name'] / 'model.json')}")
        print(f"in its place:    {scores_told(new)}")
    if replaced and not replace:
        _ask_to_replace([new["name"] for new in replaced])
    for each in checked:
        print(f"released: {shown(release_model(each, released_dir()))}")
    for name, description in released_models(released_dir()).items():
        whole, alone = (description[f"validation_dice{end}"] for end in ("", "_single_slices"))
        print(
            f"{name}: validation Dice {whole:.3f}, slice by slice {alone:.3f}; {description['data']['name']}"
        )


def _ask_to_replace(names: list[str]) -> None:
    """Raises `MetsegError` unless somebody at a terminal agrees."""
    text = f"the released {' and '.join(names)}"
    if not sys.stdin.isatty():
        raise MetsegError(f"{text} would be replaced; nothing was changed: give --replace to do it")
    if not typer.confirm(f"Replace {text}?"):
        raise MetsegError(f"{text} stays; nothing was changed")


@app.command("runs")
def list_runs(output_dir: OutputDir = None) -> None:
    """List the networks of all runs: data, epochs, Dice, date; unfinished and damaged ones as well."""
    import pandas as pd

    from metseg.evaluation.run_table import all_trainings, runs_without_training

    runs_dir = runs_folder(output_dir)
    found, others = all_trainings(runs_dir), runs_without_training(runs_dir)
    if found:
        table = pd.DataFrame(found).set_axis(
            ["network", "data", "patients", "epochs", "validation Dice", "test Dice", "finished", "remark"],
            axis=1,
        )
        for name in ("validation Dice", "test Dice"):
            table[name] = [None if pd.isna(value) else f"{value:.3f}" for value in table[name]]
        table["patients"] = table["patients"].astype("Int64")
        print(table.astype(object).where(table.notna(), "–").to_string(index=False, justify="left"))
    else:
        print(f"no training in {shown(runs_dir)} yet")
    if others:
        print(f"without a training: {', '.join(others)}")
