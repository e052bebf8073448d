"""How a network's probabilities become masks: one way for all, checked on validation patients."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, write_json
from metseg.data.cases import CaseFiles, load_case, load_mask
from metseg.export.operating_points import predicted_scans, settle
from metseg.export.validation_dice import (
    dice_of_patients,
    few,
    training_cases,
    validation_cases,
    volume_dice,
)
from metseg.inference.incomplete import missing_key
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
) -> None:
    """Settles how masks are made of a network's probabilities, and writes it to `model.json`.

    A pixel is lesion from the threshold of the training on, its probability averaged with the mirrored
    slice's; holes stay open. Of a volume's lesions those of 30 % of its largest or more are kept, or of
    10 %, or all: the first by which no validation patient loses a lesion that is found if all are kept, and
    that hardly a scan of those learned from and validated on has a lesion to lose by. Dice alone would drop
    small metastases, which hardly weigh in a volume.

    A network whose validation scans are volumes with voxels of known size is settled otherwise: by `settle`,
    lesion by lesion, whatever their share. It is of those with all sequences; where none of these has a
    lesion, of the others, and then it holds for scans that lack the same.

    Args:
        run: Folder of an exported network, with the split of its training.
        cases: Cases of all its patients.
        on_case: Called with (finished, of) after each validation case.

    Raises:
        MetsegError: A validation patient is not among the cases, or none has a lesion.
    """
    cases = list(cases)
    files = validation_cases(run, cases)
    setting = Postprocessing(**read_json(run.description)["postprocessing"])
    predictor = Predictor(run.path)
    asked = asked_of(files)
    scans = predicted_scans(predictor, asked, on_case=on_case)
    if scans is None:
        known = _by_share(run, predictor, files, cases, setting, on_case)
    else:
        _complain_without_lesion(any(each.is_lesion.any() for each in scans), run)
        found, kinds = settle(scans, setting), {case.missing for case in asked}
        settled = found.settings.model_dump()
        of_complete = settled if () in kinds else {"postprocessing": settled["postprocessing"]}
        of_others = {missing_key(each): settled for each in kinds if each}
        known = {
            **of_complete,
            **({"without_sequences": of_others} if of_others else {}),
            "min_volume_share": 0.0,
            "validation_dice": found.dice,
            "validation_dice_of_patients": found.of_patients,
            "validation_patients": found.settings.operating_points.patients,
        }
    description = {**read_json(run.description), "tta_flip": True, **known}
    write_json(run.description, description)
    if predictor.patch_size is not None:
        return
    some = files if scans is None else few(files)
    alone = volume_dice(Predictor(run.path), some, single_slices=True).mean
    write_json(run.description, {**description, "validation_dice_single_slices": alone})


def asked_of(files: list[CaseFiles]) -> list[CaseFiles]:
    """Returns the scans that have all sequences; all scans, if none of these has a lesion."""
    complete = [case for case in files if not case.missing]
    return complete if any(load_mask(each).any() for each in complete) else files


def _by_share(
    run: RunFolder,
    predictor: Predictor,
    files: list[CaseFiles],
    cases: list[CaseFiles],
    setting: Postprocessing,
    on_case: Callable[[int, int], None] | None,
) -> dict:
    """Returns what `model.json` is to tell of the share of the largest lesion that others must have."""
    harmless = _harmless_shares(files + training_cases(run, cases))
    rows = []
    for k, case in enumerate(map(load_case, files)):
        mask = postprocess(predictor.prob_map(case.volume, tta_flip=True), setting)
        lesions, numbers = label_lesions(case.mask), label_lesions(mask)
        voxels = np.bincount(numbers.ravel())
        for share in MIN_VOLUME_SHARES:
            kept = is_major(voxels, share)[numbers]
            hit = lesions[kept & case.mask]
            found = len(np.unique(hit))
            rows.append((share, case.patient_id, case.mask.sum(), kept.sum(), len(hit), found))
        if on_case:
            on_case(k + 1, len(files))
    columns = ["share", "patient_id", "ref", "pred", "tp", "found"]
    volumes = pd.DataFrame(rows, columns=columns).groupby(columns[:2]).sum()
    _complain_without_lesion(volumes.ref.any(), run)
    share = next(each for each in harmless if (volumes.found[each] >= volumes.found[0.0]).all())
    chosen = volumes.loc[share]
    dice = lesion_dice(chosen.ref, chosen.pred, chosen.tp)
    return {
        "min_volume_share": share,
        "validation_dice": dice,
        "validation_dice_of_patients": dice_of_patients(chosen),
        "validation_patients": len(chosen),
    }


def _complain_without_lesion(has_lesion: bool, run: RunFolder) -> None:
    if not has_lesion:
        raise MetsegError(
            f"none of the patients that {run} was validated on has a lesion to choose masks by; "
            "train again: a split now gives validation one"
        )


def _harmless_shares(files: Iterable[CaseFiles]) -> list[float]:
    """Returns those of `MIN_VOLUME_SHARES` by which few scans would lose a lesion if all were found."""
    voxels = [np.bincount(label_lesions(load_mask(each)).ravel())[1:] for each in files]
    smallest = np.array([each.min() / each.max() for each in voxels if len(each)])
    return [each for each in MIN_VOLUME_SHARES if (smallest < each).sum() <= _WITH_SMALL * len(smallest)]
