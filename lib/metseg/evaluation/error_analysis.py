"""Where a network fails: held-out patients by group, lesions by size, its probabilities."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import write_text
from metseg.data.cases import CaseFiles, load_case
from metseg.data.provenance import institution_of
from metseg.data.volume import CHANNELS, SEQUENCES, Case
from metseg.evaluation.evaluate import unseen_cases
from metseg.inference.predictor import Predictor
from metseg.inference.sliding_window import plane_maps
from metseg.masks.components import fullest_slice
from metseg.masks.regions import region_for
from metseg.metrics.lesion_matching import match_lesions
from metseg.metrics.overlap import dice, lesion_f1
from metseg.metrics.uncertainty import LEAST, count_pixels, entropy
from metseg.plots.errors import CasePicture
from metseg.preprocessing.pipeline import network_input, restore, view_of
from metseg.training.run_folder import RunFolder

SIZES = (100, 1_000, 10_000)  # mm³, or voxels, between classes of lesions


class ErrorAnalysis(NamedTuple):
    """What one pass over a network's held-out scans shows.

    `scans` has a row a scan: patient_id, case_id, fold (place of the network that segmented it), dice,
    ref_voxels, pred_voxels, tp_voxels, institution, missing (channels that only repeat FLAIR, for the
    sequence was not taken; "none" if there is none).
    """

    scans: pd.DataFrame
    lesions: pd.DataFrame  # rows of `match_lesions` with patient_id and mm3, nan where spacing is unknown
    pixels: np.ndarray  # `count_pixels` of all scans
    errors_unseen: float  # share of all wrong pixels that `pixels` does not count: it is sure of them


def analyse_errors(folders: Sequence[Path], cases: Iterable[CaseFiles]) -> ErrorAnalysis:
    """Segments the scans that networks have not seen, and looks at what went wrong.

    Args:
        folders: Folders of exported models: of one, or of the folds of a cross-validation.
        cases: Cases, those of their held-out patients among them.

    Raises:
        MetsegError: A model has seen all of these patients.
    """
    cases = list(cases)
    unseen = [(fold, files) for fold, folder in enumerate(folders) for files in unseen_cases(cases, folder)]
    predictors = [Predictor(folder) for folder in folders]
    scans, lesions, pixels, wrong = [], [], [], np.zeros(2, int)
    for fold, files in unseen:
        case, predictor = load_case(files), predictors[fold].doing_without(files.missing)
        main = next(iter(case.labels.regions))
        prob_map, mask = predictor.doing_without(files.missing).found_as(case.volume, main)
        known = [SEQUENCES[each] for each in files.missing]
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
                "missing": ", ".join(known or missing_channels(case)) or "none",
            }
        )
        matched, mm3 = match_lesions(case.mask, mask), np.prod(case.volume.spacing_mm or np.nan)
        lesions.append(matched.assign(patient_id=case.patient_id, mm3=matched.voxels * mm3))
        pixels.append(count_pixels(prob_map, case.mask))
        errors = case.mask != mask
        wrong += (errors & (prob_map < LEAST)).sum(), errors.sum()
    share = wrong[0] / wrong[1] if wrong[1] else float("nan")
    return ErrorAnalysis(pd.DataFrame(scans), pd.concat(lesions, ignore_index=True), sum(pixels), share)


def write_errors(found: ErrorAnalysis, folder: Path) -> list[Path]:
    """Writes `scans.csv` and `lesion_sizes.csv` (of `by_lesion_size`); returns both."""
    paths = [Path(folder) / "scans.csv", Path(folder) / "lesion_sizes.csv"]
    write_text(paths[0], found.scans.to_csv(index=False))
    write_text(paths[1], by_lesion_size(found.lesions).to_csv())
    return paths


def missing_channels(case: Case) -> list[str]:
    """Returns the channels in which another one stands in, as the LGG set does for a missing sequence."""
    channels = dict(zip(CHANNELS, np.moveaxis(case.image, -1, 0), strict=True))
    flair = channels.pop("FLAIR")
    return [name for name, channel in channels.items() if np.array_equal(channel, flair)]


def by_lesion_size(lesions: pd.DataFrame, sizes: Sequence[int] = SIZES) -> pd.DataFrame:
    """Returns a row a class of lesions by size, and one for all of them.

    Args:
        lesions: Rows of `ErrorAnalysis.lesions`; their size is in mm³ where all have one, else in voxels.
        sizes: Between the classes; a lesion of just this size is of the larger class.

    Returns:
        Indexed by class: lesions, sensitivity, dice (mean over the lesions, a missed one counting 0),
        false_positives (by the size of what was predicted), f1 (`lesion_f1`); nan where a class has none.
    """
    names = [f"< {sizes[0]:,}", *(f"{a:,} to {b:,}" for a, b in pairwise(sizes)), f"≥ {sizes[-1]:,}"]
    in_mm3 = "mm3" in lesions and len(lesions) > 0 and lesions.mm3.notna().all()
    place = np.digitize(lesions.mm3 if in_mm3 else lesions.voxels, sizes)
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
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("mm³" if in_mm3 else "voxels")


def example_pictures(
    found: ErrorAnalysis, folders: Sequence[Path], cases: Iterable[CaseFiles]
) -> list[CasePicture]:
    """Returns the worst, the median and the best scan; folders and cases as for `analyse_errors`.

    Raises:
        MetsegError: No scan has a Dice.
    """
    ranked = found.scans.dropna(subset="dice").sort_values("dice")
    if ranked.empty:
        raise MetsegError("no held-out scan has a Dice: no lesion, no prediction; give scans with lesions")
    files = {each.case_id: each for each in cases}
    pictures = []
    for place, row in {"worst": 0, "median": len(ranked) // 2, "best": len(ranked) - 1}.items():
        scan = ranked.iloc[row]
        title = f"{place}: {scan.case_id}\nvolume Dice {scan.dice:.2f}"
        pictures.append(case_picture(folders[scan.fold], files[scan.case_id], title))
    return pictures


def case_picture(model_dir: Path, files: CaseFiles, title: str) -> CasePicture:
    """Returns a scan's slice with most reference lesion, and what a network makes of it within its volume.

    The maps are its probability, its entropy, and attention gates, coarsest first, or the heads of deep
    supervision, L1 first.
    """
    predictor, case = Predictor(model_dir).doing_without(files.missing), load_case(files)
    run, z = RunFolder(model_dir), fullest_slice(case.mask)
    main = next(iter(case.labels.regions))
    prob_map, mask = predictor.found_as(case.volume, main)
    first, step = predictor.targets.index(region_for(main, predictor.targets)), len(predictor.targets)
    doubt = entropy(prob_map[z], threshold=predictor.postprocessing.threshold)
    maps = {"probability": prob_map[z], "entropy": doubt}
    maps |= {f"gate {k + 1}": gate for k, gate in enumerate(predictor.gate_maps(case.volume, z))}
    if run.has_heads:
        view = view_of(case.volume, predictor.preprocessing)
        small, network = network_input(case.volume, predictor.preprocessing), run.load_network()

        def heads_of(batch: np.ndarray) -> np.ndarray:
            heads = network.predict_on_batch(batch)[0][..., first::step]  # that region's
            return np.moveaxis(heads, -1, 0)

        if predictor.patch_size is None:
            heads = heads_of(small[z : z + 1])
        else:
            heads = plane_maps(small, predictor.patch_size, z, lambda each: heads_of(each[None])[..., None])
        for k, head in enumerate(heads):
            maps[f"L{k + 1}"] = restore(head, case.volume.grid[1:], view)
    return CasePicture(title, case.image[z], case.mask[z], mask[z], maps)
