"""Commands on scans: segment them, check them, draw synthetic ones."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metseg.base.errors import MetsegError
from metseg.base.files import make_folder, shown
from metseg.cli.app import (
    AllowMissing,
    FalsePositives,
    Model,
    OutputDir,
    PhantomNetwork,
    Sequences,
    Target,
    TrustAnyway,
    app,
    header_bar,
    named_model,
    network_name,
    progress_bars,
    say_network,
    told_sequences,
    watched,
)

if TYPE_CHECKING:
    from metseg.data.scan_inputs import ScanInput


class Also(StrEnum):
    """What `predict` writes beside a volume's mask."""

    PROBABILITIES = "probabilities"
    REGIONS = "regions"
    REPORT = "report"
    BIDS = "bids"
    SEG = "seg"
    SR = "sr"
    RTSTRUCT = "rtstruct"


@app.command()
def predict(
    input: Annotated[
        Path, typer.Option(help="An image, a NIfTI file, a folder of either, or a folder of DICOM.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for the masks.")] = Path("predictions"),
    model: Model = None,
    volume: Annotated[
        bool, typer.Option("--volume", help="Images <name>_1, <name>_2 … of one folder are one scan.")
    ] = False,
    sequence: Sequences = None,
    also: Annotated[
        list[Also] | None,
        typer.Option(help="What to write beside the mask of a volume; the last three of DICOM. Repeatable."),
    ] = None,
    allow_missing: AllowMissing = False,
    trust_anyway: TrustAnyway = False,
    false_positives_per_scan: FalsePositives = None,
    phantom_network: PhantomNetwork = False,
    output_dir: OutputDir = None,
) -> None:
    """Segment scans: a mask beside each image or volume, at its own size and place."""
    from metseg.data.scan_inputs import scan_inputs

    told = told_sequences(sequence)
    if inputs := scan_inputs(input, told):
        insisting = {"allow_missing": allow_missing, "trust_anyway": trust_anyway}
        how = {"insisting": insisting, "false_positives_per_scan": false_positives_per_scan}
        how |= {"phantom_network": phantom_network, "output_dir": output_dir}
        _predict_volumes(inputs, model, output, also or [], **how)
        return
    if false_positives_per_scan is not None:
        raise MetsegError(f"{input} holds slices; --false-positives-per-scan is for volumes")
    if also:
        raise MetsegError(f"{input} holds slices; --also {also[0]} is for volumes")
    from metseg.evaluation.origin import refuse_scans_unlike_the_phantom
    from metseg.inference.folder import how_read, segment_scans, segmentable
    from metseg.inference.predictor import Predictor

    scans = segmentable(input, output, volumes=volume)
    folder, why = named_model(model, output_dir, "slice")
    predictor = Predictor(folder)
    name = network_name(folder, output_dir)
    if not phantom_network:
        images = [path.stem for scan in scans for path, _ in scan]
        refuse_scans_unlike_the_phantom(predictor.description, name, images)
    make_folder(output)  # before the work, not after
    say_network(folder, output_dir, why)
    print(how_read(scans), flush=True)
    with progress_bars() as bars:
        tracked = bars.track(scans, description="Segmenting")
        done = segment_scans(predictor, tracked, trust_anyway=trust_anyway)
    print(f"{done.masks} masks by {name}: {shown(output)}")
    for note in done.notes:
        print(f"note: {note}")
    if done.failed:
        raise MetsegError("\n".join(done.failed))


def _predict_volumes(
    inputs: "Sequence[ScanInput]",
    model: str | None,
    output: Path,
    also: list[Also],
    insisting: dict[str, bool],
    false_positives_per_scan: float | None,
    phantom_network: bool,
    output_dir: Path | None,
) -> None:
    from metseg.data.scan_inputs import open_scan
    from metseg.evaluation.origin import refuse_scans_unlike_the_phantom
    from metseg.inference.predictor import Predictor
    from metseg.masks.regions import complain_of_other_regions
    from metseg.reports.result_paths import result_paths
    from metseg.reports.results import expectations, segment, write_results

    folder, why = named_model(model, output_dir, "volume")
    predictor = Predictor(folder)
    if not phantom_network:
        names = [each.case_id for each in inputs]
        refuse_scans_unlike_the_phantom(predictor.description, network_name(folder, output_dir), names)
    if regions := Also.REGIONS in also:
        complain_of_other_regions(predictor.targets)
    say_network(folder, output_dir, why)
    if false_positives_per_scan is not None:
        predictor = predictor.within(false_positives_per_scan)
    make_folder(output)
    print(f"{len(inputs)} scan{'s' * (len(inputs) != 1)} of volumes", flush=True)
    done, told, failed = [], [], []
    with progress_bars() as bars:
        for given in bars.track(inputs, description="Segmenting"):
            try:
                scan = open_scan(given, allow_missing=insisting["allow_missing"])
                result_paths(scan.case_id, output, also)  # complains before the work
                options = {"trust_anyway": insisting["trust_anyway"], "regions": regions}
                found = segment(scan, predictor, **options)
                paths, notes = write_results(found, output, also)
                told.append(found.told(paths))
                told += [f"note: {note}" for note in (*found.scan.scan.notes, *found.cautions, *notes)]
                done.append((scan.scan.missing, found.origin.operating_point))
            except MetsegError as error:
                failed.append(str(error))
    for line in (*told, *expectations(done)):
        print(line)
    if failed:
        raise MetsegError("\n".join(failed))


@app.command("check-data")
def check_data(
    data_dir: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of scans.")],
    patient_pattern: Annotated[
        str | None,
        typer.Option(
            help="Regular expression for scans' names, such as '(?P<patient>P[0-9]+)v(?P<visit>[0-9])'."
        ),
    ] = None,
    target: Target = "",
    allow_missing: AllowMissing = False,
    write_patients: Annotated[
        bool, typer.Option("--write-patients", help="Write DIR/patients.csv, which all commands follow.")
    ] = False,
) -> None:
    """Report everything that is wrong with a data set, and who is who; exit 1 if a run could not trust it."""
    from metseg.data.check import check_data as check
    from metseg.data.patients import TABLE, write_table

    with progress_bars() as bars:
        options = {"pattern": patient_pattern, "target": target, "allow_missing": allow_missing}
        told = {"on_case": watched(bars, "Checking"), "on_file": header_bar(bars)}
        report = check(data_dir, **options, **told)
    print(report.how_read, report.summary, report.people.to_string(index=False), sep="\n")
    for text in [f"error: {each}" for each in report.errors] + [f"note: {each}" for each in report.notes]:
        print(text)
    if write_patients:
        write_table(report.cases, data_dir / TABLE)
        print(f"who is who: {shown(data_dir / TABLE)}; correct it where it is wrong")
    elif patient_pattern:
        print(f"no other command knows this pattern: --write-patients keeps what it tells in {TABLE}")
    if report.errors:
        print(f"{len(report.errors)} errors: mend them before you train")
        raise typer.Exit(1)
    print("no errors")


@app.command()
def phantom(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the phantom.")],
    patients: Annotated[
        int | None, typer.Option(min=1, help="How many; 24, 6 volumes, or each scan once.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other patients.")] = 0,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="NIfTI volumes as in BraTS-METS, not slices.")
    ] = False,
    dicom: Annotated[
        bool, typer.Option("--dicom", help="The volumes as DICOM as well, a data set in DIR/dicom.")
    ] = False,
    insert_into: Annotated[
        Path | None,
        typer.Option("--insert-into", metavar="SCANS", help="Real volumes to insert metastases into."),
    ] = None,
) -> None:
    """Draw a synthetic data set in the layout of the real one."""
    if insert_into and (volumes or dicom):
        raise MetsegError("--insert-into writes volumes of its own; leave out --volumes and --dicom")
    if insert_into:
        from metseg.data.phantom.insert_set import inserted_lesions, write_insertions

        write_insertions(folder, insert_into, cases=patients, seed=seed)
        made = inserted_lesions(folder)
        lesions = sum(map(len, made.values()))
        print(f"{lesions} synthetic metastases in {len(made)} scans: {shown(folder)}")
        return
    if dicom and not volumes:
        raise MetsegError("--dicom is for volumes; give --volumes as well")
    if volumes:
        from metseg.data.phantom.volumes import true_lesions, write_as_dicom, write_volumes

        write_volumes(folder, patients=patients or 6, seed=seed)
        print(f"{patients or 6} synthetic patients, {len(true_lesions(folder))} scans: {shown(folder)}")
        if dicom:
            print(f"as DICOM: {shown(write_as_dicom(folder))}")
        return
    from metseg.data.phantom.draw import write_phantom

    write_phantom(folder, patients=patients or 24, seed=seed)
    print(f"{patients or 24} synthetic patients: {shown(folder)}")
