"""What a visitor takes home: the results as one ZIP."""

import json
from hashlib import sha256
from pathlib import PurePosixPath

from metseg import __version__
from metseg.data.provenance import RESEARCH_USE
from metseg.masks.encode import archive, encode_png, lesions_csv, mask_png, mask_tiff, overlay
from metseg.serve.dashboard.networks import NetworkResult
from metseg.serve.dashboard.state import DashboardState


def result_archive(state: DashboardState) -> tuple[str, bytes]:
    """Returns the results of the slice as a ZIP file: masks, overlay, lesions, and the settings behind them.

    With networks side by side, each has a folder of its own. The file is called after the slice and its own
    content, so that no other is called so.
    """
    files = {}
    for result in state.results:
        folder = f"{result.network}/" if len(state.results) > 1 else ""
        picture = overlay(state.picture(), result.mask, opacity=state.opacity)
        record = json.dumps(_record(state, result), indent=1, ensure_ascii=False)
        files |= {
            f"{folder}mask.png": mask_png(result.mask),
            f"{folder}mask.tif": mask_tiff(result.mask),
            f"{folder}overlay.png": encode_png(picture),
            f"{folder}lesions.csv": lesions_csv(result.lesions),
            f"{folder}settings.json": record.encode(),
        }
    content = archive(files)
    stem = PurePosixPath(state.file_name.replace("\\", "/")).stem
    plain = "".join(character if character.isalnum() or character in "-_." else "_" for character in stem)
    return f"{plain or 'slice'}_metseg_{sha256(content).hexdigest()[:8]}.zip", content


def _record(state: DashboardState, result: NetworkResult) -> dict:
    """Returns what a mask was made of and how, as JSON knows it."""
    model = state.models[result.network]
    reference = None
    if state.reference is not None:
        agreement = result.agreement(state.reference)
        pixels = {f"{part}_px": agreement[part] for part in ("hit", "extra", "missed")}
        reference = {"name": state.reference_name, "slice_dice": agreement["dice"], **pixels}
    return {
        "input": {"name": state.file_name, "sha256": state.upload.sha256, "remarks": list(state.remarks)},
        "model": result.network,
        "sha256": model["sha256"],
        "settings": result.settings.model_dump(),
        "min_lesion_mm2": state.min_lesion if state.unit == "mm²" else None,
        "tta_flip": model["tta_flip"],
        "reference": reference,
        "overlay": {name: getattr(state, name) for name in ("channel", "opacity", "window", "level")},
        "spacing_mm": state.upload.spacing_mm,
        "changes_to_the_slice": list(state.upload.notes),
        "unlike_training": list(result.notes),
        "trained_on": model["data"]["name"],
        "licence": model["data"]["licence"],
        "caution": model["data"]["caution"],
        "note": RESEARCH_USE,
        "metseg": __version__,
    }
