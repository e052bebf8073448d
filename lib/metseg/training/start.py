"""The trained network that a training starts from, instead of random weights."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, shown, write_json
from metseg.data.split import Split
from metseg.models.channel_pruning import prune_channels
from metseg.training.config import TrainConfig
from metseg.training.seen import SeenSlices
from metseg.training.trained import SeenPatients, load_network, seen_patients, seen_slices, trained_config


def start_weights(
    config: TrainConfig, split: Split, model_dir: Path, *, slices: Mapping[str, Iterable[str]] | None = None
) -> list[np.ndarray]:
    """Returns the weights to start from, and writes what they came from into `model_dir` as `start.json`.

    Args:
        config: Of the new training; `start_from` is the folder of a finished one. Where that has more
            filters, the network is narrowed by `prune_channels`, unless its encoder is pretrained.
        split: Of the new training.
        model_dir: Folder of the new training.
        slices: {patient of the split: hashes of the slices, see `content.slice_hash`}; by them a scan is
            known under another name.

    Returns:
        The weights in the order of `build_model(config.model, **config.model_options)`.

    Raises:
        MetsegError: There is no finished training, it is of a network that cannot be narrowed to this one,
            or it has seen patients that this training tests or chooses on.
    """
    folder = Path(config.start_from)
    if not (folder / "manifest.json").is_file():
        raise MetsegError(
            f"start_from={shown(folder)} holds no finished training; "
            "give the folder with its manifest.json and model.keras"
        )
    manifest = read_json(folder / "manifest.json")
    if "members" in manifest:
        raise MetsegError(f"start_from={shown(folder)} is an ensemble; start from one of its networks")
    before = trained_config(folder)
    _complain_if_other_network(config, before)
    seen = seen_patients(folder)
    _complain_if_seen(config, split, seen)
    _complain_if_same_scans(config, split, seen, slices or {})
    network = load_network(folder / "model.keras")
    record = {
        "folder": config.start_from,
        "sha256": hashlib.sha256((folder / "model.keras").read_bytes()).hexdigest(),
        "filters": before.filters,
        "data": {name: manifest["data"][name] for name in ("name", "licence")},
        "learned_from": sorted(seen.learned_from),
        "chosen_on": sorted(seen.chosen_on),
        "slice_hashes": seen_slices(folder),
    }
    write_json(model_dir / "start.json", record)
    if config.filters == before.filters:
        return network.get_weights()
    return prune_channels(network, config.filters).get_weights()


def _complain_if_other_network(config: TrainConfig, before: TrainConfig) -> None:
    for name in ("model", "encoder", "deep_supervision", "neighbours"):
        there, here = getattr(before, name), getattr(config, name)
        if there != here:
            raise MetsegError(
                f"start_from={shown(config.start_from)} was trained with {name}={there}, not {here}; "
                "start from a training with the same"
            )
    if config.encoder != "plain" and config.filters != before.filters:
        raise MetsegError(
            f"filters={list(config.filters)} cannot be taken from start_from={shown(config.start_from)}: no "
            f"network with encoder={config.encoder} is narrowed; set filters to {list(before.filters)}"
        )
    same_levels = len(before.filters) == len(config.filters)
    if not same_levels or any(f > most for f, most in zip(config.filters, before.filters, strict=True)):
        raise MetsegError(
            f"filters={list(config.filters)} cannot be taken from start_from={shown(config.start_from)} with "
            f"{list(before.filters)}; choose as many levels and no more filters in any"
        )


def _complain_if_seen(config: TrainConfig, split: Split, seen: SeenPatients) -> None:
    """No patient crosses into the test, nor from those learned from to those chosen on."""
    tested = set(split.test) & (seen.learned_from | seen.chosen_on)
    validated = set(split.validation) & seen.learned_from
    for role, crossing in (("test", tested), ("validation", validated)):
        if crossing:
            raise MetsegError(
                f"start_from={shown(config.start_from)} has seen {len(crossing)} of this training's {role} "
                f"patients, {min(crossing)} among them; keep the data, split_seed, fractions and fold "
                "it was trained with"
            )


def _complain_if_same_scans(
    config: TrainConfig, split: Split, seen: SeenPatients, slices: Mapping[str, Iterable[str]]
) -> None:
    """The same, where somebody has another name by now."""
    hashes = seen_slices(Path(config.start_from))
    learned = SeenSlices({name: text for name, text in hashes.items() if name in seen.learned_from})
    for role, patients, known in (
        ("test", split.test, SeenSlices(hashes)),
        ("validation", split.validation, learned),
    ):
        for patient in patients:
            if names := known.names_of(slices.get(patient, ())):
                raise MetsegError(
                    f"start_from={shown(config.start_from)} has seen scans of this training's {role} patient "
                    f"{patient}, as {names[0]}; keep the names and the split it was trained with"
                )
