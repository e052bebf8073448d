"""How well validation patients are segmented, and whether another form of a network segments them as well."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError
from metseg.data.cases import CaseFiles, load_case
from metseg.data.volume import Volume
from metseg.inference.predictor import Predictor
from metseg.metrics.overlap import dice_from_counts, false_alarm_worth
from metseg.metrics.statistics import refuse_different
from metseg.training.run_folder import RunFolder

DICE_TOLERANCE = 0.002  # of the mean volume Dice, by which a faster form may differ
PATIENT_TOLERANCE = 0.01  # of each patient's: the mean hides the few with a faint lesion, who lose most


def validation_cases(run: RunFolder, cases: Iterable[CaseFiles]) -> list[CaseFiles]:
    """Returns the cases of the patients that a training was validated on.

    Raises:
        MetsegError: There is none of one of them.
    """
    validation = set(run.read_split().validation)
    files = [each for each in cases if each.patient_id in validation]
    if missing := sorted(validation - {each.patient_id for each in files}):
        raise MetsegError(
            f"no scan of {', '.join(missing)}, on whom {run} was validated; give the scans it was trained on"
        )
    return files


class VolumeDice(NamedTuple):
    """How well some patients are segmented.

    Attributes:
        of_patient: The volume Dice of those with a lesion, by patient_id.
        false_alarm: `metrics.overlap.false_alarm_worth` of those without, by patient_id.
    """

    of_patient: pd.Series
    false_alarm: pd.Series

    @property
    def mean(self) -> float:
        """Returns `metrics.overlap.lesion_dice`: the mean of those with a lesion, lowered by false alarms."""
        worth = len(self.of_patient) + self.false_alarm.sum()
        return float(self.of_patient.sum() / worth) if len(self.of_patient) else float("nan")


def volume_dice(
    predictor: Predictor,
    cases: Sequence[CaseFiles],
    *,
    single_slices: bool = False,
    on_case: Callable[[int, int], None] | None = None,
) -> VolumeDice:
    """Returns the volume Dice of some patients.

    Args:
        predictor: What segments them.
        cases: Their cases.
        single_slices: Segment every slice as if it were uploaded by itself.
        on_case: Called with (finished, of) after each case.
    """
    rows = []
    for k, case in enumerate(map(load_case, cases)):
        if single_slices:
            alone = (Volume.of_slice(image, case.volume.channels) for image in case.image)
            mask = np.concatenate([predictor.mask(each) for each in alone])
        else:
            mask = predictor.mask(case.volume)
        rows.append((case.patient_id, case.mask.sum(), mask.sum(), (case.mask & mask).sum()))
        if on_case:
            on_case(k + 1, len(cases))
    volumes = pd.DataFrame(rows, columns=["patient_id", "ref", "pred", "tp"]).groupby("patient_id").sum()
    has = volumes.ref > 0
    dice = dice_from_counts(volumes.ref[has], volumes.pred[has], volumes.tp[has], empty=0.0)
    worth = false_alarm_worth(volumes.ref, volumes.pred)
    return VolumeDice(pd.Series(dice, volumes.index[has]), pd.Series(worth, volumes.index[~has]))


def dice_both_ways(
    predictor: Predictor, cases: Sequence[CaseFiles], on_case: Callable[[int, int], None] | None = None
) -> list[VolumeDice]:
    """Returns `volume_dice` of whole volumes, and of every slice as if it were uploaded by itself."""
    return [volume_dice(predictor, cases, single_slices=alone, on_case=on_case) for alone in (False, True)]


class DiceChange(NamedTuple):
    """What changes in the volume Dice of some patients from one form of a network to another.

    Attributes:
        mean: The change of `VolumeDice.mean` of whole volumes.
        mean_single_slices: The same, every slice by itself.
        largest: Of one patient, in either way, up or down; of one without a lesion the worth of the false
            alarm. Where lesions have few voxels a single one may decide it.
    """

    mean: float = 0.0
    mean_single_slices: float = 0.0
    largest: float = 0.0

    @property
    def negligible(self) -> bool:
        """Whether the other form may take the first one's place."""
        limits = (DICE_TOLERANCE, DICE_TOLERANCE, PATIENT_TOLERANCE)
        # 0.702 - 0.7 is above 0.002
        return all(round(abs(each), 9) <= most for each, most in zip(self, limits, strict=True))


def dice_change(before: Sequence[VolumeDice], after: Sequence[VolumeDice]) -> DiceChange:
    """Compares what `dice_both_ways` returned for two forms.

    Raises:
        ValueError: They are of different patients.
    """
    means, changes = [], []
    for old, new in zip(before, after, strict=True):
        means.append(new.mean - old.mean)
        for a, b in ((old.of_patient, new.of_patient), (old.false_alarm, new.false_alarm)):
            refuse_different(a.index, b.index, "before", "after")
            changes += (b - a).tolist()
    return DiceChange(*means, max(changes, key=abs))
