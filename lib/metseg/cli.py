"""The command line: a thin face over the library; each command imports what it needs when it runs."""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from metseg.errors import MetsegError
from metseg.files import shown

if TYPE_CHECKING:
    from rich.progress import Progress

app = typer.Typer(
    help="Segment brain lesions in MRI with Nested U-Net and Attention U-Net.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder of scans; the phantom if left out.")]
RunName = Annotated[
    str | None, typer.Option(help="Name of the run; a name used before goes on with that run.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A notebook's parameter; may be repeated."),
]
Model = Annotated[str, typer.Option(help="nested_unet, attention_unet, unet, or a model's folder.")]
OutputDir = Annotated[Path | None, typer.Option(help="Where runs are kept; outputs/runs if left out.")]


def _runs_dir(output_dir: Path | None) -> Path:
    from metseg.workbook import project_root

    return output_dir.resolve() if output_dir else project_root() / "outputs" / "runs"


def _find_model(model: str, output_dir: Path | None) -> Path:
    from metseg.runs import find_model
    from metseg.workbook import project_root

    return find_model(model, _runs_dir(output_dir), project_root() / "outputs" / "released")


def _parse(settings: list[str] | None) -> dict:
    from metseg.parameters import parse_assignments

    values = parse_assignments(settings or [])
    for option in ("model", "data_dir", "run_name", "output_dir"):
        if option in values:
            raise MetsegError(f"{option} is no parameter to set; use the option --{option.replace('_', '-')}")
    return values


def _run_notebooks(notebooks: list[Path], values: dict, run_name: str, output_dir: Path | None) -> Path:
    from metseg.run_display import RunDisplay
    from metseg.workbook import run_notebooks

    if not run_name or Path(run_name).name != run_name or run_name.startswith("."):
        raise MetsegError(f"run name {run_name!r} is no folder name; use letters, digits, - and _")
    run_folder = _runs_dir(output_dir) / run_name
    with RunDisplay() as display:
        run_notebooks(notebooks, values, run_folder=run_folder, on_event=display)
    return run_folder


def _bars() -> "Progress":
    """Progress on stderr: bars on a terminal, nothing in a log."""
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def _existing(data_dir: Path | None) -> dict:
    if data_dir is None:
        return {}
    if not data_dir.is_dir():
        raise MetsegError(f"{data_dir} is not a folder; give the one that holds the scans")
    return {"data_dir": str(data_dir.resolve())}


@app.command()
def run(
    profile: Annotated[str, typer.Option(help="quick, cpu or gpu: a file of notebooks/params.")] = "quick",
    data_dir: DataDir = None,
    run_name: RunName = None,
    settings: Settings = None,
    output_dir: OutputDir = None,
) -> None:
    """Run the whole workbook: notebooks 01 to 05, unattended."""
    from metseg.parameters import read_profile
    from metseg.workbook import numbered_notebooks, project_root

    folder = project_root() / "notebooks"
    values = {**read_profile(profile, folder), **_existing(data_dir), **_parse(settings)}
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
    run_name: RunName = None,
    settings: Settings = None,
    output_dir: OutputDir = None,
) -> None:
    """Train one network with its notebook, the one a person would step through."""
    from metseg.parameters import notebook_parameters, read_profile
    from metseg.workbook import project_root, training_notebook

    notebook = training_notebook(model, project_root() / "notebooks")
    known = notebook_parameters(notebook)
    # A profile speaks to all notebooks; this one takes what it declares.
    values = {k: v for k, v in read_profile(profile, notebook.parent).items() if k in known}
    given = {"epochs": epochs, "image_size": image_size}
    values |= {k: v for k, v in given.items() if v is not None} | _existing(data_dir)
    values |= _parse(settings)
    name = f"{model}-{datetime.now():%Y%m%d-%H%M%S}" if run_name is None else run_name
    run_folder = _run_notebooks([notebook], values, name, output_dir)
    print(f"Model: {shown(run_folder / model)}")
    print(f"Executed notebook: {shown(run_folder / 'notebooks' / notebook.with_suffix('.html').name)}")


@app.command()
def predict(
    model: Model,
    input: Annotated[Path, typer.Option(help="An image, or a folder of images.")],
    output: Annotated[Path, typer.Option(help="Folder for the masks.")] = Path("predictions"),
    output_dir: OutputDir = None,
) -> None:
    """Segment scans: write <stem>_mask.tif, 0 and 255, at each image's own size."""
    from metseg.data.images import read_image
    from metseg.predict import Predictor
    from metseg.segment import segmentable, write_mask

    scans = segmentable(input, output)
    folder = _find_model(model, output_dir)
    predictor = Predictor(folder)
    failed, written = [], 0
    with _bars() as bars:
        for scan in bars.track(scans, description="Segmenting"):
            images, targets = [], []
            for path, target in scan:
                try:
                    images.append(read_image(path))
                    targets.append(target)
                except MetsegError as error:
                    failed.append(str(error))
            for mask, target in zip(predictor.masks(images), targets, strict=True):
                write_mask(mask, target)
            written += len(targets)
    print(f"{written} masks by {predictor.name} ({shown(folder)}): {shown(output)}")
    print(f"Trained on: {predictor.description['data']['name']}. {predictor.description['data']['caution']}")
    if failed:
        raise MetsegError("\n".join(failed))


@app.command()
def evaluate(
    model: Model,
    data_dir: Annotated[Path, typer.Option(help="Folder of scans with masks.")],
    output: Annotated[Path | None, typer.Option(help="Folder for the tables.")] = None,
    output_dir: OutputDir = None,
) -> None:
    """Score a model on patients that it has not seen, per patient and per slice."""
    from metseg.compare import combine_cases
    from metseg.data.cases import find_cases
    from metseg.data.provenance import provenance_of
    from metseg.evaluate import evaluate as evaluate_model
    from metseg.evaluate import unseen_cases

    folder = _find_model(model, output_dir)
    cases = find_cases(data_dir)
    unseen = unseen_cases(cases, folder)
    output = output or Path("evaluation") / folder.parent.name / folder.name
    with _bars() as bars:
        bar = bars.add_task("Evaluating", total=len(unseen))
        table = evaluate_model(folder, unseen, output, on_case=lambda k, _: bars.update(bar, completed=k))
    left_out = len(cases) - len(unseen)
    print(f"scans of patients it has not seen: {len(unseen)}; left out because it has seen them: {left_out}")
    dice = combine_cases(table).dice
    print(f"volume Dice of {len(dice)} patients: mean {dice.mean():.3f}, median {dice.median():.3f}")
    print(provenance_of(case.case_id for case in unseen).caution)
    print(f"Tables: {shown(output)}")


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Names of runs, or their folders.")],
    output: Annotated[Path | None, typer.Option(help="Folder for tables and figures.")] = None,
    output_dir: OutputDir = None,
) -> None:
    """Compare the networks of one or more runs on the same held-out patients."""
    from metseg.report import read_comparison, write_comparison

    runs_dir = _runs_dir(output_dir)
    folders = [Path(run) if Path(run).is_dir() else runs_dir / run for run in runs]
    folder = output or folders[0] / "-".join(["comparison", *(other.name for other in folders[1:])])
    write_comparison(read_comparison(folders), folder)
    _show_comparison(folder)
    print(f"Tables and figures: {shown(folder)}")


@app.command("check-data")
def check_data(data_dir: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of scans.")]) -> None:
    """Report everything that is wrong with a data set; exit 1 if a run could not trust it."""
    from metseg.data.check import check_data as check

    with _bars() as bars:
        bar = bars.add_task("Checking", total=None)
        report = check(data_dir, on_case=lambda k, n: bars.update(bar, completed=k, total=n))
    print(report.summary)
    for kind, texts in (("error", report.errors), ("note", report.notes)):
        for text in texts:
            print(f"{kind}: {text}")
    if report.errors:
        print(f"{len(report.errors)} errors: mend them before you train")
        raise typer.Exit(1)
    print("no errors")


@app.command()
def phantom(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the phantom.")],
    patients: Annotated[int, typer.Option(min=1, help="How many.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other patients.")] = 0,
) -> None:
    """Draw a synthetic data set in the layout of the real one."""
    from metseg.data.phantom import write_phantom

    write_phantom(folder, patients=patients, seed=seed)
    print(f"{patients} synthetic patients: {shown(folder)}")


def _show_comparison(folder: Path) -> None:
    import pandas as pd

    from metseg.plots.labels import label_of
    from metseg.runs import read_json

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


def _with_interval(row: dict, name: str) -> str:
    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    interval = "" if low is None else f" ({low:.3f}–{high:.3f})"
    return "undefined" if value is None else f"{value:.3f}{interval}"


def main() -> None:
    """Runs the command line; a user's mistake is one line, for each file concerned, and status 2."""
    try:
        app()
    except MetsegError as error:
        for line in str(error).splitlines():
            print(f"metseg: {line}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as leaving:
        if leaving.code == 130:  # how Typer passes on Ctrl-C
            text = "interrupted; the same command with --run-name goes on with a training"
            print(f"metseg: {text}", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
