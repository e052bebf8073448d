"""How well validation patients are segmented, and whether another form of a network segments them as well."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError
from metseg.data.cases import CaseFiles, load_case
from metseg.data.volume import Volume
from metseg.inference.predictor import Predictor
from metseg.metrics.overlap import dice_from_counts, false_alarm_worth
from metseg.metrics.patient_sums import patient_sums, voxel_mm3
from metseg.training.run_folder import RunFolder

DICE_TOLERANCE = 0.002  # of the mean volume Dice, by which a faster form may differ
PATIENT_TOLERANCE = 0.01  # of each patient's: the mean hides the few with a faint lesion, who lose most
MOST_SCANS = 6  # volumes, which take minutes, where a figure is only to be told


def training_cases(run: RunFolder, cases: Iterable[CaseFiles]) -> list[CaseFiles]:
    """Returns the cases of the patients that a training learned from."""
    learned_from = set(run.read_split().train)
    return [case for case in cases if case.patient_id in learned_from]


def validation_cases(run: RunFolder, cases: Iterable[CaseFiles]) -> list[CaseFiles]:
    """Returns the cases of the patients that a training was validated on.

    Raises:
        MetsegError: There is none of one of them.
    """
    validation = set(run.read_split().validation)
    files = [case for case in cases if case.patient_id in validation]
    if missing := sorted(validation - {case.patient_id for case in files}):
        raise MetsegError(
            f"no scan of {', '.join(missing)}, on whom {run} was validated; give the scans it was trained on"
        )
    return files


def few(files: Sequence[CaseFiles], most: int | None = None) -> list[CaseFiles]:
    """Returns up to `most` scans, evenly spaced; `MOST_SCANS` if left out."""
    count = min(len(files), MOST_SCANS if most is None else most)
    return [files[k * len(files) // count] for k in range(count)]


class VolumeDice(NamedTuple):
    """How well some patients are segmented, by patient_id."""

    of_patient: pd.Series  # volume Dice of those with a lesion
    false_alarm: pd.Series  # `metrics.overlap.false_alarm_worth` of those without

    @property
    def mean(self) -> float:
        """`metrics.overlap.lesion_dice`: the mean of those with a lesion, lowered by false alarms."""
        worth = len(self.of_patient) + self.false_alarm.sum()
        return float(self.of_patient.sum() / worth) if len(self.of_patient) else float("nan")


def volume_dice(
    predictor: Predictor,
    cases: Sequence[CaseFiles],
    *,
    single_slices: bool = False,
    missing: Collection[str] = (),
    on_case: Callable[[int, int], None] | None = None,
) -> VolumeDice:
    """Returns the volume Dice of the patients of some cases.

    Args:
        predictor: What segments them.
        cases: The cases.
        single_slices: Segment every slice as if it were uploaded by itself.
        missing: Sequences to do without, see `Volume.without`.
        on_case: Called with (finished, of) after each case.
    """
    rows = []
    for k, files in enumerate(cases):
        case = load_case(files)
        of_such, volume = predictor.doing_without({*missing, *files.missing}), case.volume.without(missing)
        volumes = [volume]
        if single_slices:
            volumes = [Volume.of_slice(image, volume.channels) for image in volume.channels_last]
        main = next(iter(case.labels.regions))
        mask = np.concatenate([of_such.found_as(each, main)[1] for each in volumes])
        counts = case.mask.sum(), mask.sum(), (case.mask & mask).sum()
        rows.append((case.patient_id, *counts, voxel_mm3(case.volume.spacing_mm)))
        if on_case:
            on_case(k + 1, len(cases))
    scans = pd.DataFrame(rows, columns=["patient_id", "ref", "pred", "tp", "voxel_mm3"])
    counts = ["ref", "pred", "tp"]
    of, weighed = scans.groupby("patient_id")[counts].sum(), patient_sums(scans, counts)
    has = of.ref > 0
    dice = dice_from_counts(*(weighed.loc[has, name] for name in counts), empty=0.0)
    worth = false_alarm_worth(of.ref, of.pred)
    return VolumeDice(pd.Series(dice, of.index[has]), pd.Series(worth, of.index[~has]))


def dice_of_patients(counts: pd.DataFrame) -> dict[str, float]:
    """Returns {patient_id: volume Dice} of those with a lesion, from a table of `ref`, `pred` and `tp`."""
    has = counts[counts.ref > 0]
    dice = dice_from_counts(has.ref, has.pred, has.tp, empty=0.0)
    return dict(zip(map(str, has.index), dice.tolist(), strict=True))


def dice_both_ways(
    predictor: Predictor, cases: Sequence[CaseFiles], on_case: Callable[[int, int], None] | None = None
) -> list[VolumeDice]:
    """Returns `volume_dice` of whole volumes, and of every slice as if it were uploaded by itself.

    A network of volumes knows no slice by itself: then both are of whole volumes.
    """
    if predictor.patch_size is not None:
        return [volume_dice(predictor, cases, on_case=on_case)] * 2
    return [volume_dice(predictor, cases, single_slices=alone, on_case=on_case) for alone in (False, True)]


class DiceChange(NamedTuple):
    """What changes in the volume Dice of some patients from one form of a network to another."""

    mean: float = 0.0  # of `VolumeDice.mean` of whole volumes
    mean_single_slices: float = 0.0
    largest: float = 0.0  # of one patient, whole or slice by slice, up or down; or of a false alarm's worth

    @property
    def negligible(self) -> bool:
        """Whether the other form may take the first one's place."""
        limits = (DICE_TOLERANCE, DICE_TOLERANCE, PATIENT_TOLERANCE)
        # 0.702 - 0.7 is above 0.002
        return all(round(abs(each), 9) <= most for each, most in zip(self, limits, strict=True))


def dice_change(before: Sequence[VolumeDice], after: Sequence[VolumeDice]) -> DiceChange:
    """Compares what `dice_both_ways` returned for two forms and the same patients."""
    ways = list(zip(before, after, strict=True))
    changes = [b - a for old, new in ways for a, b in zip(old, new, strict=True)]
    return DiceChange(*(new.mean - old.mean for old, new in ways), max(pd.concat(changes), key=abs))
