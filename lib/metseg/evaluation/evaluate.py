"""A model's masks for patients it has never seen, scored on the scans' own grid."""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import make_folder, read_json, replacing, shown, write_json, write_text
from metseg.base.hardware import cpu_name
from metseg.data.cases import CaseFiles, lesion_told, load_case
from metseg.data.content import fingerprint
from metseg.data.phantom.insert_set import own_tumour
from metseg.data.provenance import provenance_of
from metseg.evaluation.lesion_scores import lesion_rows, served_threshold
from metseg.evaluation.origin import refuse_scans_unlike_the_phantom
from metseg.inference.description import postprocessing_without
from metseg.inference.predictor import Predictor
from metseg.masks.components import fullest_slice
from metseg.masks.regions import region_for
from metseg.metrics.case_scores import LESIONWISE, evaluate_case, region_scores
from metseg.metrics.compare import combine_cases
from metseg.training.run_folder import RunFolder
from metseg.training.seen import sort_cases

_PARTS = ("image", "mask_ref", "mask_pred")
_NO_LESIONWISE = "not scored: the files tell no voxel size, and without it a lesion has no volume"


def refuse_other_scans(folders: Iterable[Path], cases: Iterable[CaseFiles], data_dir: Path) -> None:
    """Raises `MetsegError` unless these are the scans that all these models were trained on."""
    found = fingerprint(list(cases))
    for folder in folders:
        if RunFolder(folder).read_split().fingerprint != found:
            trained = f"the scans that {shown(folder)} was trained on"
            raise MetsegError(f"{data_dir} does not hold {trained}; give those")


def unseen_cases(
    cases: Iterable[CaseFiles], model_dir: Path, *, include_same_name: bool = False
) -> list[CaseFiles]:
    """Returns the cases of patients that a model neither learned from nor was chosen on; see `sort_cases`.

    `include_same_name` adds those whose patient's name was seen with other scans.

    Raises:
        MetsegError: It has seen them all, or does not tell whom it has seen; or somebody who was held out
            was learned from under another name.
    """
    cases, run = list(cases), RunFolder(model_dir)
    found = sort_cases(cases, model_dir)
    chosen = {*found.unseen, *(found.same_name if include_same_name else ())}
    if not chosen:
        why = "; ".join(["give others", *found.notes()])
        raise MetsegError(f"{model_dir} was trained or chosen on all of these patients; {why}")
    # Nobody who was held out may leave the score without a word.
    held_out = set(run.read_split().test) if run.split.is_file() else set()
    if seen := sorted(case.case_id for case in cases if case.patient_id in held_out and case not in chosen):
        raise MetsegError(
            f"{', '.join(seen)} was held out from {run}, which has learned the same scan under "
            "another name; mend the names (metseg check-data) and train again"
        )
    return [case for case in cases if case in chosen]


def evaluate(
    model_dir: Path,
    cases: Iterable[CaseFiles],
    output: Path,
    *,
    on_case: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Segments cases and writes the scores that `compare` reads.

    Args:
        model_dir: Folder with an exported model.
        cases: Cases that the model has not seen; see `unseen_cases`.
        output: Folder for `per_patient.csv`, `per_slice.csv`, `examples.npz` (of each patient the slice with
            the largest reference: image, mask_ref, mask_pred), of volumes whose voxels' size is known
            `lesions.csv` (`lesion_rows` of all), and, last, `evaluation.json`.
        on_case: Called with (finished, of) after each case.

    Returns:
        The table of `per_patient.csv`: one row a case, columns as in `metrics.evaluate_case`, and ref_sha256,
        by which scores against other masks are told apart. All of that is of the cases' main region, held
        against what the network finds as that, or as its own main one; of each further region that both know,
        such as ET, there are ref_voxels_ET, pred_voxels_ET, tp_voxels_ET and dice_ET.
    """
    cases, output = list(cases), Path(output)
    predictor = Predictor(model_dir)
    make_folder(output)  # before an hour of work, not after
    rows, tables, lesions, examples, seconds, slices = [], [], [], {}, 0.0, 0
    served = served_threshold(predictor.postprocessing.model_dump())
    for k, files in enumerate(cases):
        case = load_case(files)
        started = time.perf_counter()
        maps = predictor.prob_maps(case.volume)
        of_such = predictor.doing_without(files.missing)
        masks = of_such.masks_of(maps)
        seconds += time.perf_counter() - started
        slices += len(case.image)
        main, *others = case.labels.regions
        found_as = region_for(main, masks)
        mask_pred = masks[found_as]
        row, table = evaluate_case(case.mask, mask_pred, spacing_mm=case.volume.spacing_mm)
        for name in (each for each in others if each in masks):
            scores = region_scores(case.labels.region(name), masks[name])
            row |= {f"{score}_{name}": value for score, value in scores.items()}
        mask_bytes = str(case.mask.shape).encode() + np.packbits(case.mask).tobytes()
        mask_hash = hashlib.sha256(mask_bytes).hexdigest()[:16]
        who = {"patient_id": case.patient_id, "case_id": case.case_id}
        rows.append({**who, **row, "ref_sha256": mask_hash})
        tables.append(table.assign(**who, slice_index=np.asarray(case.slice_index)))
        if case.volume.spacing_mm is not None and len(case.mask) > 1:
            known = {
                "settings": of_such.postprocessing,
                "spacing_mm": case.volume.spacing_mm,
                "served": served,
                "own": own_tumour(files, case),
            }
            lesions.append(lesion_rows(case.mask, maps[found_as], mask_pred, **known).assign(**who))
        z = fullest_slice(case.mask)
        parts = zip(_PARTS, (case.image[z], case.mask[z], mask_pred[z]), strict=True)
        examples |= {f"{case.case_id}/{part}": array for part, array in parts}
        if on_case:
            on_case(k + 1, len(cases))
    per_patient, per_slice = pd.DataFrame(rows), pd.concat(tables, ignore_index=True)
    for name in ("evaluation.json", "lesions.csv"):  # so that it never stands beside another's tables
        (output / name).unlink(missing_ok=True)
    write_text(output / "per_patient.csv", per_patient.to_csv(index=False))
    write_text(output / "per_slice.csv", per_slice.to_csv(index=False))
    sized = len(lesions) == len(cases)  # a curve of some of the scans would pass for one of all
    if sized:
        text = pd.concat(lesions, ignore_index=True).to_csv(index=False, float_format="%.6g")
        write_text(output / "lesions.csv", text)
    with replacing(output / "examples.npz") as partial:
        np.savez_compressed(partial, **examples)
    served = ("sha256", "precision", "tta_flip", "min_volume_share")
    summary = {
        "model": predictor.name,
        **{name: getattr(predictor, name) for name in served},
        "parameters": predictor.description["parameters"],
        "postprocessing": predictor.postprocessing.model_dump(),
        "without_sequences": postprocessing_without(predictor.description),
        "cases": len(cases),
        "slices": slices,
        "seconds_per_slice": seconds / slices,
        "timed": f"all but reading, {predictor.library} in {predictor.precision} on {cpu_name()}",
        "data": provenance_of(files.case_id for files in cases).name,
        "lesion": lesion_told(cases),
        "lesionwise": lesionwise_means(per_patient) or _NO_LESIONWISE,
        "lesion_rows": sum(map(len, lesions)) if sized else _NO_LESIONWISE,
    }
    write_json(output / "evaluation.json", summary)
    return per_patient


def score_volumes(run: RunFolder, cases: Sequence[CaseFiles], elsewhere: Path) -> RunFolder:
    """Returns a folder with a network's scores of those of these volumes that it has not seen.

    It is the network's own, where they are of this data set and of what it serves; else they are made.

    Args:
        run: Folder of an exported network.
        cases: All of a data set of volumes.
        elsewhere: Folder for scores that are made.
    """
    scored = run.lesions.is_file() and run.scored_as_served and run.split.is_file()
    scored = scored and read_json(run.scored).get("lesion") == lesion_told(cases)
    if scored and run.read_split().fingerprint == fingerprint(list(cases)):
        return run
    refuse_scans_unlike_the_phantom(read_json(run.description), str(run), [case.case_id for case in cases])
    scores = RunFolder(elsewhere)
    evaluate(run.path, unseen_cases(cases, run.path), scores.evaluation)
    return scores


def lesionwise_means(per_patient: pd.DataFrame) -> dict[str, float | None]:
    """Returns the mean over patients of each lesion-wise score; None where it is undefined in all of them.

    Empty where no scan has any, as with slices: see `evaluate_case`.
    """
    means = combine_cases(per_patient)[[*LESIONWISE]].mean()
    return means.astype(object).where(means.notna(), None).to_dict() if means.notna().any() else {}


def example(arrays: Mapping[str, np.ndarray], case_id: str) -> tuple[np.ndarray, ...]:
    """Returns image, mask_ref and mask_pred of a case in the arrays of an `examples.npz`."""
    return tuple(arrays[f"{case_id}/{part}"] for part in _PARTS)


def examples_of(run: RunFolder) -> dict[str, tuple[np.ndarray, ...]]:
    """Returns {case and its volume Dice: `example`} of a scored network's first scans, at most twelve."""
    dice = run.read_tables()[0].set_index("case_id").dice
    with np.load(run.examples) as arrays:
        names = sorted(dice.index)[:12]
        return {f"{case}\nvolume Dice {dice[case]:.2f}": example(arrays, case) for case in names}
