"""Commands on scans: segment them, check them, draw synthetic ones."""

from pathlib import Path
from typing import Annotated

import typer

from metseg.cli.app import Model, OutputDir, app, named_model, progress_bars
from metseg.errors import MetsegError
from metseg.files import shown


@app.command()
def predict(
    model: Model,
    input: Annotated[Path, typer.Option(help="An image, or a folder of images.")],
    output: Annotated[Path, typer.Option(help="Folder for the masks.")] = Path("predictions"),
    output_dir: OutputDir = None,
) -> None:
    """Segment scans: write <stem>_mask.tif, 0 and 255, at each image's own size."""
    from metseg.data.images import read_slice
    from metseg.predict import Predictor
    from metseg.segment import segmentable, told, write_mask

    scans = segmentable(input, output)
    folder = named_model(model, output_dir)
    predictor = Predictor(folder)
    failed, changes, written = [], {}, 0
    with progress_bars() as bars:
        for scan in bars.track(scans, description="Segmenting"):
            images, targets = [], []
            for path, target in scan:
                try:
                    image, changes[path] = read_slice(path)
                    images.append(image)
                    targets.append(target)
                except MetsegError as error:
                    failed.append(str(error))
            for mask, target in zip(predictor.masks(images), targets, strict=True):
                write_mask(mask, target)
            written += len(targets)
    print(f"{written} masks by {predictor.name} ({shown(folder)}): {shown(output)}")
    for text in told(changes):
        print(f"note: {text}")
    print(f"Trained on: {predictor.description['data']['name']}. {predictor.description['data']['caution']}")
    if failed:
        raise MetsegError("\n".join(failed))


@app.command("check-data")
def check_data(data_dir: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of scans.")]) -> None:
    """Report everything that is wrong with a data set; exit 1 if a run could not trust it."""
    from metseg.data.check import check_data as check

    with progress_bars() as bars:
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
