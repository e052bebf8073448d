"""The worst, the median and the best scan, with what the network shows of itself."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from metseg.base.errors import MetsegError
from metseg.data.cases import CaseFiles, load_case
from metseg.evaluation.error_analysis import ErrorAnalysis
from metseg.inference.predictor import Predictor
from metseg.metrics.uncertainty import entropy
from metseg.plots.errors import CasePicture
from metseg.plots.scans import fullest_slice
from metseg.preprocessing.pipeline import network_input, restore, view_of
from metseg.training.run_folder import RunFolder


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

    The maps are its probability, its entropy, and what the network shows of itself: attention gates, coarsest
    first, or the heads of deep supervision, L1 (as U-Net++ names a network that ends with that head) first.
    """
    predictor, case = Predictor(model_dir), load_case(files)
    run, z = RunFolder(model_dir), fullest_slice(case.mask)
    prob_map = predictor.prob_map(case.volume)
    doubt = entropy(prob_map[z], threshold=predictor.postprocessing.threshold)
    maps = {"probability": prob_map[z], "entropy": doubt}
    maps |= {f"gate {k + 1}": gate for k, gate in enumerate(predictor.gate_maps(case.volume, z))}
    if run.has_heads:
        view = view_of(case.volume, predictor.preprocessing)
        small = network_input(case.volume, predictor.preprocessing)[z : z + 1]
        (heads,) = run.load_network().predict(small, verbose=0)
        for k in range(heads.shape[-1]):
            maps[f"L{k + 1}"] = restore(heads[..., k], case.volume.grid[1:], view)
    return CasePicture(title, case.image[z], case.mask[z], predictor.mask_of(prob_map)[z], maps)
