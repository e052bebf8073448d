"""What the scans were like that a network has seen: kept with it, so that others can be held against them."""

from collections.abc import Iterable

import numpy as np

from metseg.base.files import read_json, write_json
from metseg.data.cases import CaseFiles, read_scan_of
from metseg.data.volume import Volume
from metseg.export.validation_dice import few
from metseg.inference.trust import Trust, measure, rows_seen
from metseg.preprocessing.pipeline import Preprocessing, preprocess, view_of
from metseg.training.run_folder import RunFolder

MOST_SCANS = 200  # evenly spaced; reading takes most of the time
_EVERY = 3  # slice is measured alone as well


def set_trust(run: RunFolder, cases: Iterable[CaseFiles]) -> None:
    """Measures the scans of the patients that an exported network has seen, and writes it to `model.json`.

    Args:
        run: Folder of an exported network, a released one too; nothing else in its `model.json` changes.
        cases: Cases, those of all its patients among them.

    Raises:
        MetsegError: A scan cannot be read.
    """
    description = read_json(run.description)
    seen = {*description["seen"]}
    trust = trust_of(
        [case for case in cases if case.patient_id in seen], Preprocessing(**description["preprocessing"])
    )
    write_json(run.description, {**description, "trust": trust.model_dump()})


def trust_of(cases: list[CaseFiles], config: Preprocessing) -> Trust:
    """Measures up to `MOST_SCANS` scans as volumes, and every third of their slices as if it came alone."""
    cases = few(cases, MOST_SCANS)
    volumes, slices, oriented = [], [], True
    for case in cases:
        volume = read_scan_of(case)
        volumes.append(_measured(volume, config))
        oriented &= volume.affine is not None
        slices += [
            _measured(Volume.of_slice(image, volume.channels, spacing_mm=volume.spacing_mm), config)
            for image in volume.channels_last[::_EVERY]
        ]
    patients = len({case.patient_id for case in cases})
    return Trust.of(volumes, slices, patients=patients, oriented=oriented)


def _measured(volume: Volume, config: Preprocessing) -> dict[str, float]:
    view = view_of(volume, config)
    images = volume.channels_last[rows_seen(volume.grid[0])]
    return measure(volume, np.stack([preprocess(image, config, view) for image in images]))
