"""How a model's probabilities become masks: chosen on its validation patients, never on others."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, shown, write_json
from metseg.data.cases import CaseFiles, load_case
from metseg.data.split import read_split
from metseg.data.volume import Volume
from metseg.inference.predictor import Predictor
from metseg.masks.components import label_lesions
from metseg.masks.postprocess import Postprocessing, is_major, postprocess
from metseg.metrics.overlap import dice_from_counts, false_alarm_worth, lesion_dice
from metseg.metrics.statistics import max_t_test, refuse_different

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
MIN_LESIONS_PX = (0, 10, 25, 50, 100)
# Not 1: where the largest is no lesion at all, a patient's only one would be dropped for it.
MIN_VOLUME_SHARES = (0.0, 0.1, 0.3)
_WITH_SMALL = 1 / 8  # of the scans: where more have a lesion that small, as with metastases, it is no speck
DICE_TOLERANCE = 0.002  # of the mean volume Dice, by which a faster form may differ
PATIENT_TOLERANCE = 0.01  # of each patient's: the mean hides the few with a faint lesion, who lose most
SIGNIFICANCE = 0.05  # with which another setting must be better than the usual one
_SAME = 0.003  # a difference of the mean that counts for nothing


def candidates(usual: float = Postprocessing().threshold) -> list[Postprocessing]:
    """Returns the settings to choose from; the usual threshold is among them."""
    thresholds = sorted({*THRESHOLDS, usual})
    return [
        Postprocessing(threshold=threshold, min_lesion_px=min_px, fill_holes=fill)
        for threshold, min_px, fill in itertools.product(thresholds, MIN_LESIONS_PX, (False, True))
    ]


def choose_postprocessing(
    model_dir: Path, cases: Iterable[CaseFiles], *, on_case: Callable[[int, int], None] | None = None
) -> pd.DataFrame:
    """Chooses how masks are made of a model's probabilities, and writes it to `model.json`.

    To choose are threshold, smallest lesion, hole filling, the share of the largest lesion of a volume that
    another must have, and flip averaging.

    The usual setting is the threshold of the training, 1/2 unless it was set, all holes left open, averaging
    with the mirrored slice, and of a volume's lesions those of 30 % of its largest or more, or of 10 %, or
    all: the first by which no validation patient loses a lesion that is found if all are kept, and that
    hardly a scan of those learned from and validated on has a lesion to lose by. For Dice alone would drop
    small metastases, which hardly weigh in a volume.

    A dozen patients say little about the rest. Another setting that finds those lesions too takes its place
    only if the Dice is higher by 0.003, and beyond chance among the patients with a lesion,
    `statistics.max_t_test`; of several alike the one that differs least from the usual. What the choice is
    worth on slices uploaded one by one is measured and written as well.

    Args:
        model_dir: Folder of an exported model.
        cases: Cases, those of all the model's validation patients among them; of those it learned from the
            masks are looked at, and others are not used.
        on_case: Called with (finished, of) after each validation case.

    Returns:
        A row for each setting: flip_average, threshold, min_lesion_px, fill_holes, min_volume_share, dice
        (`metrics.lesion_dice` on the scan's own grid: the mean of the patients with a lesion, lowered by
        false alarms in the others), lesions_found, chosen.

    Raises:
        MetsegError: A validation patient is not among the cases, or none has a lesion.
    """
    model_dir, cases = Path(model_dir), list(cases)
    files = validation_cases(model_dir, cases)
    learned_from = set(read_split(model_dir / "split.json").train)
    shares = _harmless_shares(files + [each for each in cases if each.patient_id in learned_from])
    predictor, rows = Predictor(model_dir), []
    usual = read_json(model_dir / "model.json").get("usual_threshold", Postprocessing().threshold)
    for k, each in enumerate(files):
        case = load_case(each)
        lesions = label_lesions(case.mask)
        for flip in (False, True):
            prob_map = predictor.prob_map(case.volume, flip_average=flip)
            for setting in candidates(usual):
                known = (case.patient_id, flip, *setting.model_dump().values())
                mask = postprocess(prob_map, setting)
                rows += [(*known, *counts) for counts in _counts(lesions, mask, shares)]
        if on_case:
            on_case(k + 1, len(files))
    keys = ["flip_average", *Postprocessing.model_fields, "min_volume_share"]
    columns = ["patient_id", *keys, "ref", "pred", "tp", "lesions_found"]
    volumes = pd.DataFrame(rows, columns=columns).groupby(["patient_id", *keys], as_index=False).sum()
    with_lesion = volumes[volumes.ref > 0].copy()
    if with_lesion.empty:
        raise MetsegError(
            f"none of the patients that {shown(model_dir)} was validated on has a lesion to choose masks by; "
            "train again: a split now gives validation one"
        )
    with_lesion["dice"] = dice_from_counts(with_lesion.ref, with_lesion.pred, with_lesion.tp, empty=0.0)
    dice, found = (
        with_lesion.pivot_table(index=keys, columns="patient_id", values=name)
        for name in ("dice", "lesions_found")
    )
    table = dice.index.to_frame(index=False)
    scores = [lesion_dice(each.ref, each.pred, each.tp) for _, each in volumes.groupby(keys)]
    table["dice"], table["lesions_found"] = scores, found.sum(axis=1).to_numpy(int)
    table["chosen"] = table.index == _best(table, dice.to_numpy(), found.to_numpy(), usual=usual)
    _write_choice(model_dir, table, volumes.patient_id.nunique())
    path = model_dir / "model.json"
    alone = volume_dice(Predictor(model_dir), files, single_slices=True).mean
    write_json(path, {**read_json(path), "validation_dice_single_slices": alone})
    return table


def _harmless_shares(files: Iterable[CaseFiles]) -> list[float]:
    """Returns those of `MIN_VOLUME_SHARES` by which few scans would lose a lesion if all were found."""
    smallest = []
    for each in files:
        voxels = np.bincount(label_lesions(load_case(each).mask).ravel())[1:]
        smallest += [voxels.min() / voxels.max()] if len(voxels) else []
    return [
        share
        for share in MIN_VOLUME_SHARES
        if np.count_nonzero(np.array(smallest) < share) <= _WITH_SMALL * len(smallest)
    ]


def _counts(
    lesions: np.ndarray, mask: np.ndarray, shares: Iterable[float]
) -> Iterator[tuple[float, int, int, int, int]]:
    """Yields (share, ref, pred, tp, lesions found) for each share of the largest lesion.

    Args:
        lesions: The reference's, as `label_lesions` numbers them.
        mask: Of the model, bool of the same shape.
        shares: That another lesion must have to be kept.
    """
    numbers = label_lesions(mask)
    voxels = np.bincount(numbers.ravel())
    tp = np.bincount(numbers[lesions > 0], minlength=len(voxels))
    # Which lesion by which of the mask's: pairs of numbers, each as one.
    pairs = np.unique(lesions[mask].astype(np.int64) * len(voxels) + numbers[mask])
    lesion, number = np.divmod(pairs, len(voxels))
    for share in shares:
        kept = is_major(voxels, share)
        found = np.count_nonzero(np.unique(lesion[kept[number]]))
        yield share, np.count_nonzero(lesions), voxels[kept].sum(), tp[kept].sum(), found


def validation_cases(model_dir: Path, cases: Iterable[CaseFiles]) -> list[CaseFiles]:
    """Returns the cases of the patients that a training was validated on.

    Raises:
        MetsegError: There is none of one of them.
    """
    validation = set(read_split(Path(model_dir) / "split.json").validation)
    files = [each for each in cases if each.patient_id in validation]
    if missing := sorted(validation - {each.patient_id for each in files}):
        raise MetsegError(
            f"no scan of {', '.join(missing)}, on whom {shown(model_dir)} was validated; "
            "give the scans it was trained on"
        )
    return files


class VolumeDice(NamedTuple):
    """How well some patients are segmented.

    Attributes:
        of_patient: The volume Dice of those with a lesion, by patient_id.
        false_alarm: `metrics.false_alarm_worth` of those without, by patient_id.
    """

    of_patient: pd.Series
    false_alarm: pd.Series

    @property
    def mean(self) -> float:
        """`metrics.lesion_dice`: the mean of those with a lesion, lowered by the others' false alarms."""
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
        mask = (
            np.concatenate([predictor.mask(Volume.of_slice(image)) for image in case.image])
            if single_slices
            else predictor.mask(case.volume)
        )
        rows.append((case.patient_id, case.mask.sum(), mask.sum(), (case.mask & mask).sum()))
        if on_case:
            on_case(k + 1, len(cases))
    volumes = pd.DataFrame(rows, columns=["patient_id", "ref", "pred", "tp"]).groupby("patient_id").sum()
    has = volumes.ref > 0
    dice = dice_from_counts(volumes.ref[has], volumes.pred[has], volumes.tp[has], empty=0.0)
    worth = false_alarm_worth(volumes.ref, volumes.pred)
    return VolumeDice(pd.Series(dice, volumes.index[has]), pd.Series(worth, volumes.index[~has]))


class DiceChange(NamedTuple):
    """What changes in the volume Dice of some patients from one form of a network to another.

    Attributes:
        mean: The change of `VolumeDice.mean`.
        largest: Of one patient, up or down; of one without a lesion the worth of the false alarm. Where
            lesions have few voxels a single one may decide it.
    """

    mean: float = 0.0
    largest: float = 0.0

    @property
    def negligible(self) -> bool:
        """Whether the other form may take the first one's place."""
        mean, largest = round(abs(self.mean), 9), round(abs(self.largest), 9)  # 0.702 - 0.7 is above 0.002
        return mean <= DICE_TOLERANCE and largest <= PATIENT_TOLERANCE


def dice_change(before: VolumeDice, after: VolumeDice) -> DiceChange:
    """Compares what `volume_dice` returned for two forms.

    Raises:
        ValueError: They are of different patients.
    """
    changes = []
    for old, new in zip(before, after, strict=True):
        refuse_different(old.index, new.index, "before", "after")
        changes.append(new - old)
    change = pd.concat([each for each in changes if len(each)])
    return DiceChange(after.mean - before.mean, float(change[change.abs().idxmax()]))


def _best(
    settings: pd.DataFrame, dice: np.ndarray, found: np.ndarray, *, usual: float = Postprocessing().threshold
) -> int:
    """Returns which setting to take.

    Args:
        settings: A row each, as `choose_postprocessing` returns it, with its `dice`; other columns do not
            matter.
        dice: Volume Dice by setting and patient with a lesion: whether a gain is beyond chance is tested
            among them alone, for a false alarm would move all of them alike.
        found: Lesions found, likewise.
        usual: The usual threshold.
    """
    settings = settings.reset_index(drop=True)
    plain = Postprocessing(threshold=usual).model_dump()
    is_plain = settings.flip_average & (settings[[*plain]] == pd.Series(plain)).all(axis=1)
    able = (found >= found[is_plain & (settings.min_volume_share == 0)]).all(axis=1)
    first = int(settings[is_plain & able].min_volume_share.idxmax())
    gains, scores = dice - dice[first], settings.dice.to_numpy()
    means, p_values = scores - scores[first], np.ones(len(gains))
    p_values[able] = max_t_test(gains[able])
    better = able & (means > _SAME) & (p_values <= SIGNIFICANCE)
    if not better.any():
        return first
    close = settings[better & (means >= means[better].max() - _SAME)]
    was, keys = settings.loc[first], [*plain, "flip_average", "min_volume_share"]
    nearness = pd.DataFrame(
        {
            "other": (close[keys] != was[keys]).sum(axis=1),
            "flip": close.flip_average != was.flip_average,
            "threshold": np.round((close.threshold - was.threshold).abs(), 3),
            "share": np.round((close.min_volume_share - was.min_volume_share).abs(), 3),
            "min_px": close.min_lesion_px,
        }
    )
    return int(nearness.sort_values([*nearness]).index[0])


def _write_choice(model_dir: Path, table: pd.DataFrame, patients: int) -> None:
    chosen = table[table.chosen].iloc[0]
    path = model_dir / "model.json"
    description = read_json(path)
    description["postprocessing"] = Postprocessing(
        **{name: chosen[name].item() for name in Postprocessing.model_fields}
    ).model_dump()
    description["flip_average"] = bool(chosen.flip_average)
    description["min_volume_share"] = float(chosen.min_volume_share)
    description["validation_dice"] = float(chosen.dice)
    description["validation_patients"] = patients
    write_json(path, description)
