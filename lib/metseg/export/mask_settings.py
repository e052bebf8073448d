"""How a network's probabilities become masks: one way for all, checked on validation patients."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, write_json
from metseg.data.cases import CaseFiles, load_case
from metseg.export.validation_dice import validation_cases, volume_dice
from metseg.inference.predictor import Predictor
from metseg.masks.components import label_lesions
from metseg.masks.postprocess import Postprocessing, is_major, postprocess
from metseg.metrics.overlap import lesion_dice
from metseg.training.run_folder import RunFolder

# Not 1: where the largest is no lesion at all, a patient's only one would be dropped for it.
MIN_VOLUME_SHARES = (0.3, 0.1, 0.0)
_WITH_SMALL = 1 / 8  # of the scans: where more have a lesion that small, as with metastases, it is no speck


def set_masks(
    run: RunFolder, cases: Iterable[CaseFiles], *, on_case: Callable[[int, int], None] | None = None
) -> pd.DataFrame:
    """Settles how masks are made of a network's probabilities, and writes it to `model.json`.

    A pixel is lesion from the threshold of the training on, its probability averaged with the mirrored
    slice's; holes stay open. Of a volume's lesions those of 30 % of its largest or more are kept, or of
    10 %, or all: the first by which no validation patient loses a lesion that is found if all are kept, and
    that hardly a scan of those learned from and validated on has a lesion to lose by. Dice alone would drop
    small metastases, which hardly weigh in a volume. To choose more by a dozen patients was no better
    (outputs/reference, section 6).

    Args:
        run: Folder of an exported network, with the split of its training.
        cases: Cases of all its patients.
        on_case: Called with (finished, of) after each validation case.

    Returns:
        A row a share: min_volume_share, dice (`metrics.overlap.lesion_dice` on the scan's own grid),
        lesions_found, chosen.

    Raises:
        MetsegError: A validation patient is not among the cases, or none has a lesion.
    """
    cases, learned_from = list(cases), set(run.read_split().train)
    files = validation_cases(run, cases)
    harmless = _harmless_shares(files + [each for each in cases if each.patient_id in learned_from])
    setting = Postprocessing(**read_json(run.description)["postprocessing"])
    predictor, rows = Predictor(run.path), []
    for k, case in enumerate(map(load_case, files)):
        mask = postprocess(predictor.prob_map(case.volume, tta_flip=True), setting)
        counted = _counts(label_lesions(case.mask), mask)
        rows += [(share, case.patient_id, *numbers) for share, *numbers in counted]
        if on_case:
            on_case(k + 1, len(files))
    keys, counts = ["min_volume_share", "patient_id"], ["ref", "pred", "tp", "lesions_found"]
    volumes = pd.DataFrame(rows, columns=[*keys, *counts]).groupby(keys).sum()
    if not (volumes.ref > 0).any():
        raise MetsegError(
            f"none of the patients that {run} was validated on has a lesion to choose masks by; "
            "train again: a split now gives validation one"
        )
    found = volumes.lesions_found
    share = next(each for each in harmless if (found.loc[each] >= found.loc[0.0]).all())
    table = found.groupby(level=0, sort=False).sum().loc[list(MIN_VOLUME_SHARES)].reset_index()
    of_share = [volumes.loc[each] for each in MIN_VOLUME_SHARES]
    table.insert(1, "dice", [lesion_dice(each.ref, each.pred, each.tp) for each in of_share])
    table["chosen"] = table.min_volume_share == share
    description = {
        **read_json(run.description),
        "tta_flip": True,
        "min_volume_share": share,
        "validation_dice": float(table.dice[table.chosen].item()),
        "validation_patients": len(of_share[0]),
    }
    write_json(run.description, description)
    alone = volume_dice(Predictor(run.path), files, single_slices=True).mean
    write_json(run.description, {**description, "validation_dice_single_slices": alone})
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


def _counts(lesions: np.ndarray, mask: np.ndarray) -> list[tuple[float, int, int, int, int]]:
    """Returns (share, ref, pred, tp, lesions found) for each share of the largest lesion.

    Args:
        lesions: The reference's, as `label_lesions` numbers them.
        mask: Of the model, bool of the same shape.
    """
    numbers = label_lesions(mask)
    voxels = np.bincount(numbers.ravel())
    rows = []
    for share in MIN_VOLUME_SHARES:
        kept = is_major(voxels, share)[numbers]
        found = np.unique(lesions[kept & (lesions > 0)])
        rows.append((share, (lesions > 0).sum(), kept.sum(), (kept & (lesions > 0)).sum(), len(found)))
    return rows
