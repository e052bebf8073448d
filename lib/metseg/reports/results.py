"""What is kept of a segmented scan: masks for other programs, and the report."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

import metseg
from metseg.base.errors import MetsegError
from metseg.base.files import make_folder, shown, write_json
from metseg.base.labels import label_of
from metseg.data.grid import from_axial
from metseg.data.own_results import complain_if_not_result, is_result
from metseg.data.scan import read_reference
from metseg.data.scan_inputs import OpenScan
from metseg.data.volume_files import VolumeFiles
from metseg.data.writers import bids, nifti
from metseg.inference.incomplete import notes_on_missing
from metseg.inference.operating_points import LesionCalibration, least_of, told_of
from metseg.inference.predictor import Predictor
from metseg.masks.regions import PARTS, label_map
from metseg.reports.follow_up import FollowUp
from metseg.reports.large_dropped import large_dropped
from metseg.reports.lesion_report import LesionReport, Origin, write_report
from metseg.reports.matching import Visit
from metseg.reports.result_paths import OF_DICOM, bids_path, result_paths

OTHER_THRESHOLDS = "its mask is made by the thresholds of scans with all sequences."


class Segmented(NamedTuple):
    """One scan and the lesions marked in it, on the axial grid."""

    scan: OpenScan
    visit: Visit
    mask: np.ndarray  # (Z, Y, X) bool
    prob_map: np.ndarray | None  # (Z, Y, X) float32; None for a mask drawn by hand
    origin: Origin
    notes: tuple[str, ...] = ()  # on the mask, or how the scan is unlike those of the training
    regions: Mapping[str, np.ndarray] = MappingProxyType({})  # {region: its mask}, where they were asked for
    calibration: LesionCalibration | None = None  # of a lesion's probability, where the network has one
    dropped: tuple[str, ...] = ()  # what is large and not in the mask

    @property
    def cautions(self) -> tuple[str, ...]:
        """All that is to be known of the mask, as sentences."""
        return *self.dropped, *self.notes

    def told(self, paths: Mapping[str, Path]) -> str:
        """Returns a line: "P1: 3 lesions, 1.24 ml: predictions/P1_mask.nii.gz"."""
        lesions = self.visit.lesions
        volumes = [each.volume_mm3 for each in lesions]
        size = f", {sum(volumes) / 1000:.2f} ml" if lesions and None not in volumes else ""
        where = f": {', '.join(shown(path) for path in paths.values())}" if paths else ""
        return f"{self.scan.case_id}: {len(lesions)} lesion{'s' * (len(lesions) != 1)}{size}{where}"


def segment(
    scan: OpenScan, predictor: Predictor, *, trust_anyway: bool = False, regions: bool = False
) -> Segmented:
    """Segments one scan, if it can be trusted (`Predictor.trusted_map`), and measures its lesions.

    These are of the main region; `regions` keeps the masks of all. A scan without the sequence that the
    network never learned without is refused by a `MetsegError`, whatever `trust_anyway` is; one without
    others has masks by the settings for such scans.
    """
    on_missing = notes_on_missing(predictor.description, scan.scan.missing, scan.case_id)
    predictor = network_for(scan, predictor)
    if scan.scan.missing and predictor.postprocessing.lesion_threshold and not predictor.operating_points:
        without = " and ".join(scan.scan.missing)
        on_missing.append(f"What to expect without {without} was not measured: {OTHER_THRESHOLDS}")
    find = predictor.trusted_maps if regions else predictor.trusted_map
    maps, notes = find(scan.scan.volume, scan.case_id, trust_anyway=trust_anyway)
    prob_map = next(iter(maps.values())) if regions else maps
    mask = predictor.mask_of(prob_map)
    scored_from = least_of(predictor.lesion_calibration)
    name = scan.visit or scan.case_id
    visit = Visit.of_mask(name, scan.scan.volume, mask, prob_map, scored_from=scored_from)
    about = predictor.description
    own, data = predictor.postprocessing, about["data"]
    origin = Origin(
        label_of(predictor.name, about.get("encoder")),
        predictor.sha256[:8],
        predictor.precision,
        data["name"],
        data["caution"],
        told_of(predictor.operating_points, own, own),
    )
    kept = predictor.masks_of(maps) if regions else {}
    told, dropped = (*on_missing, *notes), large_dropped(prob_map, own, scan.scan.volume.spacing_mm)
    return Segmented(scan, visit, mask, prob_map, origin, told, kept, predictor.lesion_calibration, dropped)


def network_for(scan: OpenScan, predictor: Predictor) -> Predictor:
    """Returns a network with its settings for scans that lack what this one lacks.

    Raises:
        MetsegError: It has no operating point of such scans with as few false positives as were asked for.
    """
    try:
        return predictor.doing_without(scan.scan.missing)
    except MetsegError as error:
        raise MetsegError(f"{scan.case_id}: {error}") from error


def expectations(found: Iterable[tuple[tuple[str, ...], str]]) -> list[str]:
    """Returns what is to be expected of masks, a sentence for each set of missing sequences.

    `found` is for each scan what it lacks, and its `Origin.operating_point`.
    """
    told = [each for each in dict.fromkeys(found) if each[1]]
    if len(told) == 1 and not told[0][0]:
        return [told[0][1]]
    kinds = (f"Without {' and '.join(missing)}" if missing else "With all sequences" for missing, _ in told)
    return [f"{kind}: {text}" for kind, (_, text) in zip(kinds, told, strict=True)]


def drawn(scan: OpenScan, files: VolumeFiles) -> Segmented:
    """Takes the lesions from a mask that somebody drew.

    Args:
        scan: The scan.
        files: Its reference (NIfTI, SEG or RTSTRUCT), on the scan's grid in any axis order, and which labels
            are a lesion; of a mask by itself from `reference_alone`.

    Raises:
        MetsegError: The mask cannot be read, lies on another grid, or holds labels that its name rules out.
    """
    frame = scan.series.frame_of_reference if scan.series else ""
    labels, notes = read_reference(files, scan.scan.stored, frame_of_reference=frame)
    marks = sorted(map(int, labels.stored))
    if len(marks) > 1:
        listed = f"{', '.join(map(str, marks[:5]))}{' …' * (len(marks) > 5)}"
        notes.append(f"It has the labels {listed}; taken as lesion: {files.lesion}.")
    visit = Visit.of_mask(scan.visit or scan.case_id, scan.scan.volume, labels.mask)
    if is_result(files.reference):
        notes.append("metseg wrote it, and nobody has changed it since.")
    told = tuple(f"{files.reference}: {note}" for note in notes)
    return Segmented(scan, visit, labels.mask, None, Origin("reference"), told)


def report_of(
    found: Segmented, *, notes: Sequence[str] | None = None, follow_up: FollowUp | None = None
) -> LesionReport:
    """Makes the report of one scan, with the notes of reading it unless others are given."""
    scan = found.scan
    notes = [*scan.scan.notes, *found.cautions] if notes is None else notes
    about = {"notes": notes, "follow_up": follow_up, "calibration": found.calibration}
    return LesionReport(found.visit, scan.case_id, scan.patient_id, found.origin, **about)


def write_results(
    found: Segmented, folder: Path, also: Collection[str] = ()
) -> tuple[dict[str, Path], list[str]]:
    """Writes a scan's mask as NIfTI on its own grid, and what else is asked for.

    Args:
        found: The scan with its lesions.
        folder: Receives `<case>_mask.nii.gz`, `<case>_probabilities.nii.gz`, `<case>_regions.nii.gz`,
            `<case>_seg.dcm`, `<case>_sr.dcm`, `<case>_rtstruct.dcm` and the folder `<case>_report`.
        also: What beside the mask: `probabilities`, `regions` (one map by the numbers of BraTS-METS, which
            `<case>_regions.json` explains), `report`, `bids` (the mask by its name among BIDS derivatives),
            and of DICOM `seg`, `sr`, `rtstruct`.

    Returns:
        {what: its path}, and a sentence on each thing that was asked for and is not there.

    Raises:
        MetsegError: DICOM is asked for of a scan that is none, a file cannot be written as it should be, or
            what lies in its place is no result.
    """
    scan, case_id = found.scan, found.scan.case_id
    if scan.series is None and (asked := [each for each in OF_DICOM if each in also]):
        raise MetsegError(f"{case_id} is no DICOM, so it has no {', '.join(asked)}; leave it out")
    if "bids" in also:
        complain_if_not_result(bids_path(scan, folder)[0])
    make_folder(folder)
    stored, places, notes = scan.scan.stored, result_paths(case_id, folder, also), []
    on_grid = {"volume": stored, "source": scan.file}
    paths = {"mask": places["mask"]}
    nifti.write_mask(from_axial(found.mask, stored), path=paths["mask"], is_result=True, **on_grid)
    if "regions" in also:
        paths["regions"] = places["regions"]
        labels = from_axial(label_map(found.regions), stored)
        nifti.write_mask(labels, path=paths["regions"], is_result=True, **on_grid)
        meaning = {str(number): part for number, part in PARTS.items()}
        record = {"labels": meaning, "main_region": [*found.regions][0], **asdict(found.origin)}
        write_json(folder / f"{case_id}_regions.json", record)
        told = "; ".join(f"{number} is {part}" for number, part in meaning.items())
        notes.append(f"{paths['regions'].name}: {told}")
    if "bids" in also:
        paths["bids"] = _write_bids(found, folder)
    if "probabilities" in also:
        paths["probabilities"] = places["probabilities"]
        nifti.write_probabilities(from_axial(found.prob_map, stored), path=paths["probabilities"], **on_grid)
    if wanted := [each for each in OF_DICOM if each in also]:
        if found.visit.lesions:
            paths |= _write_dicom(found, places, wanted)
        else:
            notes.append(
                f"{case_id} has no lesion, so there is no {', '.join(wanted)}: DICOM has no empty one"
            )
    if "report" in also:
        paths["report"] = write_report(report_of(found), folder / f"{case_id}_report")["html"]
    return paths, notes


def _write_bids(found: Segmented, folder: Path) -> Path:
    """Writes the mask with what it is beside it."""
    scan, origin = found.scan, found.origin
    path, sources = bids_path(scan, folder)
    make_folder(path.parent)
    mask = from_axial(found.mask, scan.scan.stored)
    nifti.write_mask(mask, scan.scan.stored, path, source=scan.file, is_result=True)
    bids.write_sidecar(path, sources=sources, description=f"Lesions by {origin.network} ({origin.version})")
    bids.write_dataset_description(folder)
    return path


def _write_dicom(found: Segmented, places: Mapping[str, Path], wanted: Collection[str]) -> dict[str, Path]:
    from metseg.data.writers.dicom_seg import Maker, write_seg
    from metseg.data.writers.dicom_sources import read_sources
    from metseg.data.writers.dicom_sr import Measured, write_sr
    from metseg.data.writers.rtstruct import write_rtstruct

    series, stored = found.scan.series, found.scan.scan.stored
    sources = read_sources(dict.fromkeys(series.files), stored.spacing_mm[0])
    labels, origin = from_axial(found.visit.numbers, stored), found.origin
    paths = {name: places[name] for name in wanted}
    given = labels, stored.affine, sources
    made_by = Maker(origin.network, origin.version, metseg.__version__)
    if "rtstruct" in wanted:
        write_rtstruct(*given, paths["rtstruct"], made_by)
    if "seg" in wanted or "sr" in wanted:
        paths["seg"] = places["seg"]
        order = [frame.index for frame in series.frames] if "NumberOfFrames" in sources[0] else None
        seg = write_seg(*given, paths["seg"], made_by, frame_order=order)
    if "sr" in wanted:
        measured = [
            Measured(each.volume_mm3, each.longest.mm, each.perpendicular.mm) for each in found.visit.lesions
        ]
        write_sr(measured, seg, sources, paths["sr"], made_by)
    return paths
