"""A finished training read again: its parameters, its network, and the patients that went into it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from metseg.base.backend import keras
from metseg.base.errors import MetsegError
from metseg.base.files import file_sha256, read_json, shown, taking_apart
from metseg.data.split import read_split
from metseg.training.config import TrainConfig, train_config, with_defaults
from metseg.training.seen import joined_hashes, split_hashes


class SeenPatients(NamedTuple):
    """Patients of a training and of all trainings that it started from."""

    learned_from: set[str]
    chosen_on: set[str]


def seen_patients(model_dir: Path) -> SeenPatients:
    """Returns whom a network has seen, from the `split.json` and `manifest.json` of its folder.

    Raises:
        MetsegError: One of them is missing or damaged.
    """
    split, manifest = read_split(Path(model_dir) / "split.json"), read_json(Path(model_dir) / "manifest.json")
    earlier = manifest.get("start") or {"learned_from": (), "chosen_on": ()}
    with taking_apart(Path(model_dir) / "manifest.json"):
        return SeenPatients(
            {*split.train, *earlier["learned_from"]}, {*split.validation, *earlier["chosen_on"]}
        )


def seen_slices(model_dir: Path) -> dict[str, str]:
    """Returns {patient: hashes of the slices} of `seen_patients`; an older training knows none."""
    path = Path(model_dir) / "manifest.json"
    manifest, seen = read_json(path), set().union(*seen_patients(model_dir))
    with taking_apart(path):
        found = {name: text for name, text in manifest.get("slice_hashes", {}).items() if name in seen}
        return merged_slices([found, (manifest.get("start") or {}).get("slice_hashes", {})])


def merged_slices(parts: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Puts several results of `seen_slices` together."""
    hashes = defaultdict[str, list[str]](list)
    for part in parts:
        for name, text in part.items():
            hashes[name] += split_hashes(text)
    return {name: joined_hashes(hashes[name]) for name in sorted(hashes)}


def trained_config(model_dir: Path) -> TrainConfig:
    """Returns the parameters of a finished training, from its `manifest.json`.

    Raises:
        MetsegError: It has parameters that this metseg does not know.
    """
    path = Path(model_dir) / "manifest.json"
    manifest = read_json(path)
    with taking_apart(path):
        values = with_defaults(manifest["config"])
    try:
        return train_config(**values)
    except MetsegError as error:
        raise MetsegError(
            f"{shown(model_dir)} was trained by another metseg ({error}); "
            f"use revision {manifest.get('git_revision')}, or train again"
        ) from error


def load_network(path: Path) -> keras.Model:
    """Loads a `model.keras`.

    Raises:
        MetsegError: It is missing or damaged, is not the one that `manifest.json` beside it describes, or
            carries code.
    """
    _complain_if_other(path)
    try:
        # Safe mode: a .keras file may carry code, and none of it is run.
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras and the readers of ZIP, JSON and HDF5 have kinds of their own
        raise MetsegError(
            f"{path} is missing, is damaged, or carries code, which is never run; train the network again"
        ) from error


def _complain_if_other(path: Path) -> None:
    manifest = path.with_name("manifest.json")
    sha256 = (
        read_json(manifest).get("network_sha256") if manifest.is_file() else None
    )  # an older one has none
    if sha256 is not None and path.is_file() and file_sha256(path) != sha256:
        raise MetsegError(
            f"{path} is damaged, or was replaced: it is not the network that {manifest.name} describes; "
            "train it again or put a copy of it back"
        )
