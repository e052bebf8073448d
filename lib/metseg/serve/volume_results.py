"""What is made of an uploaded scan: its lesions, and files of them as one ZIP or the mask alone."""

import os
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metseg.data.provenance import RESEARCH_USE
from metseg.data.scan_inputs import OpenScan
from metseg.inference.operating_points import LesionCalibration, least_of, told_of
from metseg.inference.predictor import Predictor
from metseg.masks.encode import archive
from metseg.masks.postprocess import Postprocessing, detection_map, volume_mask
from metseg.reports.large_dropped import large_dropped
from metseg.reports.matching import Visit
from metseg.reports.patient import write_visits
from metseg.reports.results import Segmented, network_for, segment, write_results
from metseg.serve.visits import Compared
from metseg.serve.volume_upload import UPLOAD


def notes_of(found: Segmented) -> list[str]:
    """Returns all that is to be known of a scan and its mask, as sentences."""
    return [*found.scan.scan.notes, *found.cautions]


class ThresholdChoice(NamedTuple):
    """What a visitor chooses a threshold by.

    Attributes:
        first: The network's own.
        prob_map: (Z, Y, X) in [0, 1]; cut at a threshold it shows the mask.
        points: {"threshold", "told": what to expect there} of each operating point, the lowest first; empty
            where the network has none, and any threshold can be chosen.
        calibration: Of a lesion's probability, where the network has one.
    """

    first: float
    prob_map: np.ndarray
    points: Sequence[dict] = ()
    calibration: LesionCalibration | None = None


def threshold_choice(found: Segmented, predictor: Predictor) -> ThresholdChoice:
    """Returns what there is to choose: where lesions must reach a score the `lesion_threshold`."""
    own, points = predictor.postprocessing, predictor.operating_points
    if own.lesion_threshold is None:
        return ThresholdChoice(own.threshold, found.prob_map, (), predictor.lesion_calibration)
    told = [
        {"threshold": each.lesion_threshold, "told": points.told(each)}
        for each in (points.points if points else ())
    ]
    shown = detection_map(found.prob_map, own.threshold)
    return ThresholdChoice(own.lesion_threshold, shown, told, predictor.lesion_calibration)


def settings_at(predictor: Predictor, threshold: float) -> Postprocessing:
    """Returns a network's settings at a threshold that was chosen so."""
    own = predictor.postprocessing
    if own.lesion_threshold is None:
        return own.model_copy(update={"threshold": threshold})
    return own.detecting_from(threshold)


def mask_with(prob_map: np.ndarray, predictor: Predictor, settings: Postprocessing) -> np.ndarray:
    """Returns the mask of a volume as `Predictor.mask_of` does, with settings of a visitor's."""
    return volume_mask(prob_map, settings, predictor.min_volume_share)


def segment_with(
    scan: OpenScan, predictor: Predictor, settings: Postprocessing, *, trust_anyway: bool = False
) -> Segmented:
    """Segments a scan with these settings in the place of the network's own."""
    return with_settings(segment(scan, predictor, trust_anyway=trust_anyway), predictor, settings)


def with_settings(found: Segmented, predictor: Predictor, settings: Postprocessing) -> Segmented:
    """Returns a scan with the mask that these settings make of its probabilities, and with a note of them."""
    predictor = network_for(found.scan, predictor)
    own = predictor.postprocessing
    if settings == own:
        return found
    mask = mask_with(found.prob_map, predictor, settings)
    known = {"prob_map": found.prob_map, "scored_from": least_of(found.calibration)}
    visit = Visit.of_mask(found.visit.name, found.visit.volume, mask, **known)
    changed = [
        f"{name} was {value}, not the network's own {getattr(own, name)}"
        for name, value in settings.model_dump().items()
        if value != getattr(own, name)
    ]
    scan = found.scan.scan
    noted = scan._replace(notes=[*scan.notes, f"As asked for, {' and '.join(changed)}."])
    origin = replace(found.origin, operating_point=told_of(predictor.operating_points, own, settings))
    dropped = large_dropped(found.prob_map, settings, scan.volume.spacing_mm)
    of_mask = {"mask": mask, "visit": visit, "origin": origin, "dropped": dropped}
    return found._replace(scan=replace(found.scan, scan=noted), **of_mask)


def write_archive(
    found: Segmented, also: Collection[str], home: Path | None = None, compared: Compared | None = None
) -> tuple[str, bytes]:
    """Returns a file's name and content: the mask as NIfTI, or a ZIP with it where more is asked for.

    Args:
        found: The scan with its lesions.
        also: As in `write_results`.
        home: Where the files are made that go into the ZIP, and removed.
        compared: This visit and another; then their report is there as well, in a folder `follow_up`.

    Raises:
        MetsegError: As by `write_results`.
    """
    with tempfile.TemporaryDirectory(prefix=f"{UPLOAD}{os.getpid()}-results-", dir=home) as folder:
        paths, notes = write_results(found, Path(folder), also)
        if not also and not compared:
            return paths["mask"].name, paths["mask"].read_bytes()
        if compared:
            written = {"compared": compared.changes, "notes": [*compared.cautions, *compared.notes]}
            write_visits(compared.found, Path(folder) / "follow_up", **written)
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file()
        }
    told = [RESEARCH_USE, found.origin.caution, *notes_of(found), *notes]
    told += [each for each in (found.origin.operating_point,) if each]
    files["notes.txt"] = "\n".join([*told, ""]).encode()
    return f"{found.scan.case_id}_metseg.zip", archive(files)
