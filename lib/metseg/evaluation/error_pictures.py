"""The worst, the median and the best scan, with what the network shows of itself."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from metseg.base.errors import MetsegError
from metseg.base.files import read_json
from metseg.data.cases import CaseFiles, load_case
from metseg.evaluation.error_analysis import ErrorAnalysis
from metseg.export.variants import has_heads
from metseg.inference.predictor import Predictor
from metseg.metrics.uncertainty import entropy
from metseg.plots.errors import CasePicture
from metseg.plots.scans import fullest_slice
from metseg.preprocessing.pipeline import Preprocessing, network_input, restore, view_of
from metseg.training.trained import load_network


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
    volume, z = case.image, fullest_slice(case.mask)
    prob_map = predictor.prob_map(volume)
    doubt = entropy(prob_map[z], threshold=predictor.postprocessing.threshold)
    maps = {"probability": prob_map[z], "entropy": doubt}
    maps |= {f"gate {k + 1}": gate for k, gate in enumerate(predictor.gate_maps(volume, z))}
    if has_heads(model_dir):
        config = Preprocessing(**read_json(Path(model_dir) / "model.json")["preprocessing"])
        network, view = load_network(Path(model_dir) / "model.keras"), view_of(volume, config)
        (heads,) = network.predict(network_input(volume, config)[z : z + 1], verbose=0)
        for k in range(heads.shape[-1]):
            maps[f"L{k + 1}"] = restore(heads[..., k], volume.shape[1:3], view)
    return CasePicture(title, volume[z], case.mask[z], predictor.mask_of(prob_map)[z], maps)
