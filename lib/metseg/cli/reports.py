"""The report of a patient's lesions, of one visit or of several."""

from pathlib import Path
from typing import Annotated

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
    named_model,
    network_name,
    progress_bars,
    say_network,
    told_sequences,
)


@app.command()
def report(
    input: Annotated[
        list[Path],
        typer.Option(
            help="A NIfTI file, its folder, or a folder of DICOM; repeatable, visits in time order."
        ),
    ],
    model: Model = None,
    mask: Annotated[
        list[Path] | None,
        typer.Option(help="In place of a network, a mask for each --input: NIfTI, SEG, RTSTRUCT."),
    ] = None,
    target: Target = "",
    output: Annotated[Path, typer.Option(help="Folder for the report, and a network's masks.")] = Path(
        "reports"
    ),
    register: Annotated[
        bool, typer.Option("--register", help="Align the visits by their pictures, not by coordinates alone.")
    ] = False,
    same_patient: Annotated[
        bool, typer.Option("--same-patient", help="The visits are one patient's, whatever names say.")
    ] = False,
    sequence: Sequences = None,
    allow_missing: AllowMissing = False,
    trust_anyway: TrustAnyway = False,
    false_positives_per_scan: FalsePositives = None,
    phantom_network: PhantomNetwork = False,
    output_dir: OutputDir = None,
) -> None:
    """Report the lesions of a patient: sizes, RANO-BM, and what changed between visits."""
    from metseg.data.volume_files import reference_alone
    from metseg.evaluation.origin import refuse_scans_unlike_the_phantom
    from metseg.reports.patient import (
        compare_visits,
        open_visits,
        reading_notes,
        unlike,
        visit_inputs,
        write_visits,
    )
    from metseg.reports.result_paths import result_paths
    from metseg.reports.results import drawn, expectations, segment, write_results

    if model is not None and mask:
        raise MetsegError("who marks the lesions? give --model, or a --mask for each --input")
    if mask and len(mask) != len(input):
        raise MetsegError(
            f"there are {len(input)} --input and {len(mask)} --mask; give one mask for each scan"
        )
    if mask and false_positives_per_scan is not None:
        raise MetsegError("--false-positives-per-scan is for a network; a --mask has none to choose")
    if target and not mask:
        raise MetsegError("--target is for --mask; a network has its own target")
    about = {"allow_missing": allow_missing, "partial": bool(mask), "same_patient": same_patient}
    scans, notes = open_visits(visit_inputs(input, told_sequences(sequence)), **about)
    if mask:
        found = [drawn(scan, reference_alone(path, target)) for scan, path in zip(scans, mask, strict=True)]
        paths = [{}] * len(found)
    else:
        from metseg.inference.predictor import Predictor

        folder, why = named_model(model, output_dir, "volume")
        predictor = Predictor(folder)
        if not phantom_network:
            names = [scan.case_id for scan in scans]
            refuse_scans_unlike_the_phantom(predictor.description, network_name(folder, output_dir), names)
        say_network(folder, output_dir, why)
        if false_positives_per_scan is not None:
            predictor = predictor.within(false_positives_per_scan)
        for scan in scans:
            result_paths(scan.case_id, output)  # complains before the work
        with progress_bars() as bars:
            tracked = bars.track(scans, description="Segmenting")
            found = [segment(scan, predictor, trust_anyway=trust_anyway) for scan in tracked]
    compared = compare_visits(found, register=register)
    make_folder(output)
    if not mask:
        paths = [write_results(each, output)[0] for each in found]
    notes += [*reading_notes(found), *unlike(found)]
    written = write_visits(found, output, compared=compared, notes=notes)
    for each, its in zip(found, paths, strict=True):
        print(each.told(its))
    if compared:
        print(f"RANO-BM, imaging part: {compared.response.category}. {' '.join(compared.response.reasons)}")
    print(f"report: {shown(written['html'])}")
    for told in expectations((each.scan.scan.missing, each.origin.operating_point) for each in found):
        print(told)
    for note in (*notes, *(compared.notes if compared else ())):
        print(f"note: {note}")
