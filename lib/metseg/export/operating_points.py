"""The thresholds of a network of volumes, and what is found by them, from its validation scans."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from metseg.data.cases import CaseFiles, load_case
from metseg.data.phantom.insert_set import own_tumour
from metseg.data.volume import Case
from metseg.export.validation_dice import dice_of_patients
from metseg.inference.operating_points import (
    SERVED_AT,
    LesionCalibration,
    MaskSettings,
    OperatingPoint,
    OperatingPoints,
)
from metseg.inference.predictor import Predictor
from metseg.masks.components import label_lesions, log_odds
from metseg.masks.postprocess import Postprocessing, detection_map, postprocess
from metseg.metrics.calibration import fit_logistic
from metseg.metrics.detection import lesions_at, size_classes
from metseg.metrics.overlap import lesion_dice
from metseg.metrics.patient_sums import patient_sums, voxel_mm3

RULE = "voxel"
LESION_THRESHOLDS = tuple(k / 40 for k in range(2, 40))  # from 0.98 on large lesions are lost too
EXTENTS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_FEWEST = 20  # candidates to calibrate by
_COUNTS = ["ref", "pred", "tp"]


class ValidationScan(NamedTuple):
    """What is kept of a scan: the voxels that could be marked or are lesion, in their box."""

    patient_id: str
    spacing_mm: tuple[float, float, float]
    box: tuple[int, int, int]
    places: np.ndarray  # (n,) int, in the flattened box
    probabilities: np.ndarray  # (n,) float32
    is_lesion: np.ndarray  # (n,) bool
    is_own: np.ndarray  # (n,) bool: of these what counts neither as found nor as missed, see `own_tumour`

    @classmethod
    def of(cls, case: Case, prob_map: np.ndarray, own: np.ndarray | None = None) -> "ValidationScan":
        """Takes a case with what a network says of it, (Z, Y, X) float32, and its own tumour, if any."""
        own = np.zeros(case.mask.shape, bool) if own is None else own
        shown = (prob_map >= min(LESION_THRESHOLDS)) | case.mask
        sides = [np.flatnonzero(shown.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        box = tuple(slice(side[0], side[-1] + 1) if len(side) else slice(0, 1) for side in sides)
        shown = shown[box]
        found = (array[box][shown] for array in (prob_map, case.mask, own))
        return cls(case.patient_id, case.volume.spacing_mm, shown.shape, np.flatnonzero(shown), *found)

    @property
    def prob_map(self) -> np.ndarray:
        """(z, y, x) float32; 0 where it is less than any threshold."""
        return self._filled(self.probabilities)

    @property
    def mask_ref(self) -> np.ndarray:
        """(z, y, x) bool."""
        return self._filled(self.is_lesion)

    @property
    def own(self) -> np.ndarray:
        """(z, y, x) bool."""
        return self._filled(self.is_own)

    def _filled(self, values: np.ndarray) -> np.ndarray:
        found = np.zeros(self.box, values.dtype)
        found.flat[self.places] = values
        return found


class Settled(NamedTuple):
    """What is settled on validation scans."""

    settings: MaskSettings
    dice: float  # `metrics.overlap.lesion_dice`
    of_patients: dict[str, float]  # volume Dice of those with a lesion


def predicted_scans(
    predictor: Predictor,
    files: Sequence[CaseFiles],
    *,
    missing: Collection[str] = (),
    on_case: Callable[[int, int], None] | None = None,
) -> list[ValidationScan] | None:
    """Segments scans, each once and without the sequences in `missing`, see `Volume.without`.

    Returns None where one is no volume, or has voxels of unknown size.
    """
    scans = []
    if not all(each.volumes for each in files):
        return None
    for k, each in enumerate(files):
        case = load_case(each)
        if case.volume.spacing_mm is None:
            return None
        prob_map = predictor.prob_map(case.volume.without(missing), tta_flip=True)
        scans.append(ValidationScan.of(case, prob_map, own_tumour(each, case)))
        if on_case:
            on_case(k + 1, len(files))
    return scans


def settle(scans: Sequence[ValidationScan], own: Postprocessing) -> Settled:
    """Chooses the thresholds by which masks are made, and tells what is found by them and by others.

    A lesion extends from the threshold on whose masks have the best mean volume Dice of patients, false
    positives aside. It is kept from the `lesion_threshold` on that finds most lesions
    at no more than one false positive a scan, or, where there are always more, at the fewest; where that
    is below the first, the first follows. The own tumour of brains that metastases were drawn into is part
    of the Dice, and of nothing else.

    Args:
        scans: Of validation patients; one at least has a lesion.
        own: The network's settings; all but the thresholds stay.
    """
    scans = _with_lesions(scans)
    fits = {at: _mean_dice(_counts(scans, lambda scan, at=at: _hits(scan, at))) for at in EXTENTS}
    extent = max(fits, key=lambda each: (round(fits[each], 6), -abs(each - own.threshold)))
    points = _points(scans, extent)
    chosen = points.within(SERVED_AT) or points.fewest()
    setting = own.model_copy(update={"threshold": extent}).detecting_from(chosen.lesion_threshold)
    counts = _counts(scans, lambda scan: postprocess(scan.prob_map, setting))
    settings = measured(scans, setting, points if setting.threshold == extent else None)
    return Settled(settings, _mean_dice(counts), dice_of_patients(counts))


def measured(
    scans: Sequence[ValidationScan], setting: Postprocessing, points: OperatingPoints | None = None
) -> MaskSettings:
    """Tells what is found in validation scans by settings that were chosen before.

    Args:
        scans: As for `settle`.
        setting: The settings.
        points: What is found, where that is known.
    """
    scans = _with_lesions(scans)
    return MaskSettings(
        postprocessing=setting,
        operating_points=points or _points(scans, setting.threshold),
        lesion_calibration=_calibration(scans, setting.threshold),
    )


def _with_lesions(scans: Sequence[ValidationScan]) -> Sequence[ValidationScan]:
    """Returns the scans, their own tumours counting if there is nothing else to count."""
    if any((scan.is_lesion & ~scan.is_own).any() for scan in scans):
        return scans
    return [scan._replace(is_own=np.zeros_like(scan.is_own)) for scan in scans]


def _hits(scan: ValidationScan, threshold: float) -> np.ndarray:
    """Returns the mask at a threshold, without its false positives."""
    numbers = label_lesions(scan.prob_map >= threshold)
    real = np.bincount(numbers[scan.mask_ref], minlength=numbers.max() + 1) > 0
    real[0] = False
    return real[numbers]


def _counts(scans: Sequence[ValidationScan], mask_of: Callable[[ValidationScan], np.ndarray]) -> pd.DataFrame:
    """Returns voxels of the reference, of the masks and of both, a row a patient."""
    rows = []
    for scan in scans:
        mask = mask_of(scan)
        counts = scan.mask_ref.sum(), mask.sum(), (scan.mask_ref & mask).sum()
        rows.append((scan.patient_id, *counts, voxel_mm3(scan.spacing_mm)))
    return patient_sums(pd.DataFrame(rows, columns=["patient_id", *_COUNTS, "voxel_mm3"]), _COUNTS)


def _mean_dice(counts: pd.DataFrame) -> float:
    return lesion_dice(*(counts[name] for name in _COUNTS))


def _points(scans: Sequence[ValidationScan], extent: float) -> OperatingPoints:
    """Returns what each of `LESION_THRESHOLDS` finds, where lesions extend from a threshold on."""
    known = {"thresholds": LESION_THRESHOLDS, "rule": RULE}
    tables, set_aside = [], 0
    for scan in scans:
        shown = detection_map(scan.prob_map, extent)
        table = lesions_at(scan.mask_ref, shown, spacing_mm=scan.spacing_mm, **known)
        own = np.unique(label_lesions(scan.mask_ref)[scan.own])
        number = table.groupby("threshold").cumcount() + 1  # those of the reference come first
        tables.append(table[table.false_positive | ~number.isin(own)])
        set_aside += len(own)
    lesions = pd.concat(tables)
    real = lesions[~lesions.false_positive]
    false = lesions.groupby("threshold").false_positive.sum()
    real = real.assign(size=size_classes(real.diameter_mm))
    table = {"index": "threshold", "columns": "size", "values": "found", "fill_value": 0, "observed": False}
    found, of = (real.pivot_table(**table, aggfunc=how) for how in ("sum", "count"))
    points = [
        OperatingPoint(
            lesion_threshold=each,
            false_positives_per_scan=false[each] / len(scans),
            found=_with_all(found.loc[each]),
        )
        for each in sorted(LESION_THRESHOLDS)
    ]
    return OperatingPoints(
        rule=RULE,
        score="mean log odds",
        patients=len({scan.patient_id for scan in scans}),
        scans=len(scans),
        lesions=_with_all(of.iloc[0]),
        set_aside=set_aside,
        points=points,
    )


def _with_all(counts: pd.Series) -> dict[str, int]:
    return {name: int(count) for name, count in counts.items()} | {"all": int(counts.sum())}


def candidates(scans: Sequence[ValidationScan], extent: float) -> pd.DataFrame:
    """Returns what is marked from a threshold on, a row a lesion: the mean of its log odds, and real.

    What is of the own tumour alone is left out.
    """
    tables = []
    for scan in scans:
        prob_map = scan.prob_map
        numbers = label_lesions(prob_map >= extent)
        inside = numbers > 0
        own = scan.own[inside]
        columns = {"log_odds": log_odds(prob_map[inside]), "real": scan.mask_ref[inside] & ~own, "own": own}
        found = pd.DataFrame(columns).groupby(numbers[inside])
        found = found.agg({"log_odds": "mean", "real": "any", "own": "any"})
        tables.append(found[found.real | ~found.own].drop(columns="own"))
    return pd.concat(tables, ignore_index=True)


def _calibration(scans: Sequence[ValidationScan], extent: float) -> LesionCalibration:
    found = candidates(scans, extent)
    known = {"least": extent, "candidates": len(found), "lesions": int(found.real.sum())}
    if len(found) < _FEWEST or found.real.all() or not found.real.any():
        return LesionCalibration(**known)
    slope, intercept = fit_logistic(found.log_odds.to_numpy(), found.real.to_numpy(bool))
    if slope <= 0:  # a higher probability tells of no more lesions
        return LesionCalibration(**known)
    return LesionCalibration(slope=slope, intercept=intercept, **known)
