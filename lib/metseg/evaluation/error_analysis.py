"""Where a network fails: held-out patients by group, lesions by size, its probabilities and its doubts."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from metseg.base.files import replacing
from metseg.data.cases import CaseFiles, load_case
from metseg.data.provenance import institution_of
from metseg.data.volume import CHANNELS, Case
from metseg.evaluation.evaluate import unseen_cases
from metseg.evaluation.lesion_contrast import standardised_contrast
from metseg.export.validation_dice import validation_cases
from metseg.inference.predictor import Predictor
from metseg.metrics.calibration import LEAST, count_pixels, fit_temperature
from metseg.metrics.overlap import dice, dice_from_counts, lesion_f1, match_lesions
from metseg.metrics.statistics import bootstrap_interval
from metseg.metrics.uncertainty import count_errors, entropy
from metseg.training.run_folder import RunFolder

SIZES = (100, 1_000, 10_000)  # voxels, between classes of lesions
CONTRASTS = {channel: f"contrast_{channel.lower().replace('-', '_')}" for channel in CHANNELS}


class ErrorAnalysis(NamedTuple):
    """What one pass over a network's held-out scans shows.

    Attributes:
        scans: A row a scan: patient_id, case_id, fold (place of the network that segmented it), dice,
            ref_voxels, pred_voxels, tp_voxels, institution, missing (channels that only repeat FLAIR, for the
            sequence was not taken; "none" if there is none), contrast_flair and so on
            (`standardised_contrast` of each channel; nan where it is missing).
        lesions: Rows of `match_lesions` with patient_id.
        pixels: `count_pixels` of each network's scans.
        doubts: {measure of uncertainty: `count_errors` of all scans}; counted are the pixels that
            `calibration` counts.
        errors_unasked: Share of all wrong pixels that are not counted: the network is sure of them; nan if
            none is wrong.
    """

    scans: pd.DataFrame
    lesions: pd.DataFrame
    pixels: list[np.ndarray]
    doubts: dict[str, np.ndarray]
    errors_unasked: float


def analyse_errors(
    folders: Sequence[Path],
    cases: Iterable[CaseFiles],
    *,
    on_case: Callable[[int, int], None] = lambda k, n: None,
) -> ErrorAnalysis:
    """Segments the scans that networks have not seen, and looks at what went wrong.

    Args:
        folders: Folders of exported models: of one, or of the folds of a cross-validation.
        cases: Cases, those of their held-out patients among them.
        on_case: Called with (finished, of) after each scan.

    Raises:
        MetsegError: A model has seen all of these patients.
    """
    cases = list(cases)
    unseen = [(fold, files) for fold, folder in enumerate(folders) for files in unseen_cases(cases, folder)]
    predictors = [Predictor(folder) for folder in folders]
    scans, lesions, doubts, wrong_pixels = [], [], [], 0
    pixels: list = [0] * len(folders)
    for k, (fold, files) in enumerate(unseen):
        case, predictor = load_case(files), predictors[fold]
        prob_map, disagreement = predictor.doubted(case.volume)
        mask, missing = predictor.mask_of(prob_map), missing_channels(case)
        contrasts = zip(CONTRASTS.items(), standardised_contrast(case.image, case.mask), strict=True)
        scans.append(
            {
                "patient_id": case.patient_id,
                "case_id": case.case_id,
                "fold": fold,
                "dice": dice(case.mask, mask, empty=np.nan),
                "ref_voxels": int(case.mask.sum()),
                "pred_voxels": int(mask.sum()),
                "tp_voxels": int((mask & case.mask).sum()),
                "institution": institution_of(case.case_id),
                "missing": ", ".join(missing) or "none",
                **{column: np.nan if name in missing else each for (name, column), each in contrasts},
            }
        )
        lesions.append(match_lesions(case.mask, mask).assign(patient_id=case.patient_id))
        pixels[fold] = pixels[fold] + count_pixels(prob_map, case.mask)
        counted, wrong = prob_map >= LEAST, case.mask != mask
        wrong_pixels += int(wrong.sum())
        measures = {
            "entropy of the decision": entropy(prob_map, threshold=predictor.postprocessing.threshold),
            "disagreement of mirrored slices": disagreement,
        }
        doubts.append({name: count_errors(each[counted], wrong[counted]) for name, each in measures.items()})
        on_case(k + 1, len(unseen))
    totals = {name: sum(each[name] for each in doubts) for name in doubts[0]}
    asked = next(iter(totals.values()))[1].sum()
    unasked = 1 - asked / wrong_pixels if wrong_pixels else float("nan")
    return ErrorAnalysis(pd.DataFrame(scans), pd.concat(lesions, ignore_index=True), pixels, totals, unasked)


def temperatures(folders: Sequence[Path], cases: Iterable[CaseFiles]) -> list[float]:
    """Returns each network's temperature, fitted on its own validation patients.

    Args:
        folders: As for `analyse_errors`.
        cases: Cases, those of the validation patients among them.
    """
    cases, found = list(cases), []
    for folder in folders:
        predictor = Predictor(folder)
        validation = map(load_case, validation_cases(RunFolder(folder), cases))
        counts = [count_pixels(predictor.prob_map(case.volume), case.mask) for case in validation]
        found.append(fit_temperature(sum(counts)))
    return found


def write_errors(found: ErrorAnalysis, folder: Path) -> list[Path]:
    """Writes `scans.csv` and `lesion_sizes.csv` (of `by_lesion_size`); returns both."""
    tables = {"scans.csv": found.scans, "lesion_sizes.csv": by_lesion_size(found.lesions).reset_index()}
    for name, table in tables.items():
        with replacing(Path(folder) / name) as partial:
            table.to_csv(partial, index=False)
    return [Path(folder) / name for name in tables]


def missing_channels(case: Case) -> list[str]:
    """Returns the channels in which another one stands in, as the LGG set does for a missing sequence."""
    channels = dict(zip(CHANNELS, np.moveaxis(case.image, -1, 0), strict=True))
    flair = channels.pop("FLAIR")
    return [name for name, channel in channels.items() if np.array_equal(channel, flair)]


def dice_and_contrast(scans: pd.DataFrame) -> pd.DataFrame:
    """Returns how the Dice of scans goes with the contrast of their lesions, a row a channel.

    Args:
        scans: `ErrorAnalysis.scans`; those without lesion are left out.

    Returns:
        Indexed by channel: scans, spearman (rank correlation), and the same at equal size of the lesions
        (the partial rank correlation, given `ref_voxels`); nan of fewer than four scans.

    Reference:
        Kim 2015, ppcor: An R Package for a Fast Calculation to Semi-partial Correlation Coefficients,
        Commun. Stat. Appl. Methods 22:665-674 (partial correlation of ranks).
    """
    rows = {}
    for channel, column in CONTRASTS.items():
        known = scans[["dice", column, "ref_voxels"]].dropna()
        (_, contrast, size), (*_, size_contrast), _ = known.corr("spearman", min_periods=4).to_numpy()
        left = np.sqrt((1 - size**2) * (1 - size_contrast**2))  # by size unexplained
        at_equal_size = (contrast - size * size_contrast) / left if left > 0 else np.nan
        rows[channel] = {"scans": len(known), "spearman": contrast, "spearman_at_equal_size": at_equal_size}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("channel")


def dice_by(scans: pd.DataFrame, group: str) -> pd.DataFrame:
    """Returns a row a group, indexed by it: patients, dice_mean with its bootstrap interval, dice_median.

    Args:
        scans: `ErrorAnalysis.scans`; of a patient's scans in a group the voxels are added, and patients
            without a Dice are left out.
        group: The column to group by.
    """
    voxels = ["ref_voxels", "pred_voxels", "tp_voxels"]
    sums = scans.groupby([group, "patient_id"], observed=True)[voxels].sum()
    ratios = pd.Series(dice_from_counts(*sums.to_numpy().T, empty=np.nan), sums.index).dropna()
    rows = {}
    for name, dices in ratios.groupby(level=group):
        low, high = bootstrap_interval(dices)
        rows[name] = {
            "patients": len(dices),
            "dice_mean": dices.mean(),
            "dice_mean_low": low,
            "dice_mean_high": high,
            "dice_median": dices.median(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(group)


def by_lesion_size(lesions: pd.DataFrame, sizes: Sequence[int] = SIZES) -> pd.DataFrame:
    """Returns a row a class of lesions by size in voxels, and one for all of them.

    Args:
        lesions: Rows of `match_lesions`.
        sizes: Voxels between the classes; a lesion of just as many is of the larger class.

    Returns:
        Indexed by class: lesions, sensitivity, dice (mean over the lesions, a missed one counting 0),
        false_positives (by the size of what was predicted), f1 = 2·found / (2·found + missed + false
        positives); nan where a class has none to tell by.
    """
    names = [f"< {sizes[0]:,}", *(f"{a:,} to {b:,}" for a, b in pairwise(sizes)), f"≥ {sizes[-1]:,}"]
    place = np.digitize(lesions.voxels, sizes)
    rows = {}
    for name, part in [*((name, lesions[place == k]) for k, name in enumerate(names)), ("all", lesions)]:
        reference, invented = part[~part.false_positive], int(part.false_positive.sum())
        found = int(reference.found.sum())
        rows[name] = {
            "lesions": len(reference),
            "sensitivity": reference.found.mean(),
            "dice": reference.dice.mean(),
            "false_positives": invented,
            "f1": lesion_f1(found=found, missed=len(reference) - found, false_positives=invented),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("voxels")
