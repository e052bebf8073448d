"""The lesions of references, and pictures of what a network finds, misses and invents."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from metseg.data.cases import CaseFiles, load_case, load_mask
from metseg.data.phantom.insert import InsertedLesion
from metseg.data.phantom.insert_set import numbers_drawn
from metseg.data.scan import place_of_scan, read_reference
from metseg.data.volume import Case
from metseg.inference.predictor import Predictor
from metseg.masks.components import fullest_slice, label_lesions
from metseg.masks.regions import region_for
from metseg.metrics.detection import ball_diameter
from metseg.plots.lesion_detection import LesionPicture

KINDS = ("found", "missed", "invented")
_WINDOW_MM = 70.0


def reference_lesions(
    cases: Iterable[CaseFiles], inserted: Mapping[str, Sequence[InsertedLesion]] | None = None
) -> pd.DataFrame:
    """Returns the lesions of volumes' references, without reading the scans.

    Args:
        cases: Volumes; one whose voxels' size is unknown counts as without lesion.
        inserted: Which metastases were inserted into each, see `inserted_lesions`.

    Returns:
        A row a lesion: patient_id, case_id, lesion (its number, as in `lesion_rows`), diameter_mm (of the
        ball of its volume), origin ("synthetic" for what was inserted, else "own tumour"; "reference" where
        nothing was inserted).
    """
    rows = []
    for files in cases:
        place, numbers = place_of_scan(files.volumes.sequences), label_lesions(load_mask(files))
        if place.spacing_mm is None:
            continue
        voxels = np.bincount(numbers.ravel())[1:]
        origin = np.full(len(voxels) + 1, "reference" if inserted is None else "own tumour", object)
        if known := (inserted or {}).get(files.case_id):
            labels = read_reference(files.volumes)[0]
            origin[numbers_drawn(known, numbers, labels, place)] = "synthetic"
        columns = {
            "patient_id": files.patient_id,
            "case_id": files.case_id,
            "lesion": np.arange(len(voxels)) + 1,
            "diameter_mm": ball_diameter(voxels * np.prod(place.spacing_mm)),
            "origin": origin[1:],
        }
        rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True)


def lesion_pictures(
    model_dir: Path, cases: Sequence[CaseFiles], rows: pd.DataFrame, *, most: int = 5, scans: int = 3
) -> dict[str, list[LesionPicture]]:
    """Segments a few scans and shows lesions that a network finds, misses and invents.

    Args:
        model_dir: Folder of an exported network.
        cases: Those that it was scored on.
        rows: Its `LesionScores.served` by `voxel`; which lesions of the reference may be shown.
        most: How many pictures of each of `KINDS`, spread over all sizes in the scans.
        scans: How many scans; those that have most kinds of lesions to show, and most lesions.
    """
    kind = np.select([rows.false_positive, rows.found], ["invented", "found"], "missed")
    by_case = pd.Series(kind, rows.case_id).groupby(level=0).agg(["nunique", "size"])
    chosen = by_case.sort_values(["nunique", "size"], ascending=False, kind="stable").index[:scans]
    files, predictor = {each.case_id: each for each in cases}, Predictor(model_dir)
    found: dict[str, list[LesionPicture]] = {name: [] for name in KINDS}
    for case_id in chosen:
        case = load_case(files[case_id])
        masks = predictor.doing_without(files[case_id].missing).masks(case.volume)
        mask_pred = masks[region_for(next(iter(case.labels.regions)), masks)]
        numbers, predicted = label_lesions(case.mask), label_lesions(mask_pred)
        for row in rows[(rows.case_id == case_id) & ~rows.false_positive].itertuples():
            name = "found" if row.found else "missed"
            found[name].append(_picture(case, numbers == row.lesion, mask_pred))
        invented = np.setdiff1d(np.arange(1, predicted.max() + 1), predicted[case.mask])
        found["invented"] += [_picture(case, predicted == each, mask_pred) for each in invented]
    for name, pictures in found.items():
        pictures.sort(key=lambda each: each.diameter_mm)
        shown = np.unique(np.linspace(0, len(pictures) - 1, min(most, len(pictures))).astype(int))
        found[name] = [pictures[k] for k in shown]
    return found


def _picture(case: Case, lesion: np.ndarray, mask_pred: np.ndarray) -> LesionPicture:
    """Returns the slice with most of a lesion, around it."""
    z = fullest_slice(lesion)
    centre, spacing = np.argwhere(lesion[z]).mean(axis=0), case.volume.spacing_mm
    window = []
    for at, step, size in zip(centre, spacing[1:], lesion.shape[1:], strict=True):
        side = min(round(_WINDOW_MM / step), size)
        start = int(np.clip(at - side / 2, 0, size - side))
        window.append(slice(start, start + side))
    image = case.volume.array[case.volume.channels.index("t1c"), z]
    return LesionPicture(
        case.case_id,
        float(ball_diameter(lesion.sum() * np.prod(spacing))),
        image[tuple(window)],
        case.mask[z][tuple(window)],
        mask_pred[z][tuple(window)],
        spacing[1] / spacing[2],
    )
