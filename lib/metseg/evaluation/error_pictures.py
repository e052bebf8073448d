"""The worst, the median and the best scan, with what the network shows of itself."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from metseg.base.errors import MetsegError
from metseg.base.files import read_json
from metseg.data.cases import CaseFiles, load_case
from metseg.data.volume import Volume
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
    first, or the heads of deep supervision.
    """
    predictor, case = Predictor(model_dir), load_case(files)
    prob_map, z = predictor.prob_map(case.volume), fullest_slice(case.mask)
    mask, gates = predictor.mask_of(prob_map), predictor.gate_maps(case.volume, z)
    doubt = entropy(prob_map[z], threshold=predictor.postprocessing.threshold)
    maps = {"probability": prob_map[z], "entropy": doubt}
    maps |= {f"gate {k + 1}": gate for k, gate in enumerate(gates)}
    maps |= head_maps(model_dir, case.volume, z) if has_heads(model_dir) else {}
    return CasePicture(title, case.image[z], case.mask[z], mask[z], maps)


def head_maps(model_dir: Path, volume: Volume, z: int) -> dict[str, np.ndarray]:
    """Returns the probability map of each head of deep supervision for a slice of a volume.

    Args:
        model_dir: Folder of a finished training with deep supervision.
        volume: The scan, uint8.
        z: The slice.

    Returns:
        {name: (H, W) float32}, as U-Net++ names a network that ends with that head: L1 first.
    """
    config = Preprocessing(**read_json(Path(model_dir) / "model.json")["preprocessing"])
    network = load_network(Path(model_dir) / "model.keras")
    heads = network.predict(network_input(volume, config)[z : z + 1], verbose=0)[0]
    view = view_of(volume, config)
    return {f"L{k + 1}": restore(heads[..., k], volume.grid[1:], view) for k in range(heads.shape[-1])}
