"""Cases become a trained model, its history and a manifest; an interrupted training goes on where it was."""

import math
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from metseg.base.backend import keras
from metseg.base.errors import MetsegError
from metseg.base.files import read_json, replacing, sole_writer
from metseg.base.hardware import best_precision
from metseg.data.cases import doubtful, find_cases
from metseg.data.split import Split, kfold_by_patient, split_by_patient
from metseg.models import build_model
from metseg.models.encoders.efficientnet_lite import load_imagenet
from metseg.models.fused import training_copy
from metseg.training.batches import EpochBatches, epoch_rows
from metseg.training.begun import begin, complain_if_begun_otherwise
from metseg.training.cache import SliceCache, open_cache
from metseg.training.checkpoint import Checkpoint, keep_last_epoch
from metseg.training.config import TrainConfig
from metseg.training.devices import data_parallel, shared_out
from metseg.training.ema import AveragedWeights
from metseg.training.losses import LOSSES
from metseg.training.manifest import write_manifest
from metseg.training.normalisation import MOST_SLICES, PopulationStatistics
from metseg.training.progress import Progress, ProgressReporter
from metseg.training.schedule import best_epoch, learning_rate_of, out_of_patience, size_of
from metseg.training.seen import SeenSlices, joined_hashes
from metseg.training.start import start_weights
from metseg.training.trained import load_network
from metseg.training.validation import validate

PREDICTS_NOTHING = "predicts nothing on validation patients: train longer"


@dataclass(frozen=True)
class Dataset:
    """A training's data: its slices and who is in which set."""

    cache: SliceCache
    split: Split


def prepare_data(config: TrainConfig, *, cache_dir: Path) -> Dataset:
    """Finds the scans, fills or opens the cache, and splits the patients.

    Args:
        config: Where the scans are, their preprocessing, and the split.
        cache_dir: Folder of the caches.

    Raises:
        MetsegError: There are no scans, one cannot be read, names leave open who is who, there are too few
            patients for the split, too few of them have a lesion, or the network would see none of it.
    """
    cases = find_cases(Path(config.data_dir))
    if doubts := doubtful(cases):
        raise MetsegError(doubts[0])
    cache = open_cache(cases, config.preprocessing, folder=cache_dir)
    _complain_if_same_scans(cache)
    shared = {
        "fingerprint": cache.fingerprint,
        "validation_fraction": config.validation_fraction,
        "seed": config.split_seed,
    }
    patients = cache.slices.patient_id
    # On the scans' own grid: trainings on another image_size share their patients.
    shared["with_lesion"] = patients[cache.slices.scan_lesion_px > 0].unique()
    if config.folds:
        split = kfold_by_patient(patients, folds=config.folds, **shared)[config.fold]
    else:
        split = split_by_patient(patients, test_fraction=config.test_fraction, **shared)
    for role, chosen in (("training", split.train), ("validation", split.validation)):
        if len(cache.rows(chosen, exclude_empty=True)) == 0:
            raise MetsegError(
                f"at image_size={config.image_size} no lesion of the {role} patients is left; "
                "choose a larger image_size"
            )
    return Dataset(cache, split)


def _complain_if_same_scans(cache: SliceCache) -> None:
    """One scan under two names would be on both sides of a split."""
    hashes = cache.slices.groupby("patient_id", observed=True).image_hash.agg(list).to_dict()
    known = SeenSlices({patient: joined_hashes(own) for patient, own in hashes.items()})
    for patient, own in hashes.items():
        if others := [name for name in known.names_of(own) if name != patient]:
            raise MetsegError(
                f"patients {patient} and {others[0]} have the same scan; give the person one name, in "
                "patients.csv, or remove one of them"
            )


def train(config: TrainConfig, model_dir: Path, *, cache_dir: Path, restart: bool = False) -> keras.Model:
    """Trains one network, or goes on with it, or returns it when it was finished before.

    Writes into `model_dir`, each file whole or not at all: `config.json`, `split.json`, `history.csv` and
    `checkpoint/` after every epoch, and at the end `model.keras` (in float32, the epoch with the best
    validation Dice among those on slices of the whole size) and `manifest.json`. The same folder and
    configuration after an interruption, even a `kill -9`, resume at the last finished epoch with the same
    result as an undisturbed run. With more `epochs`, or another `patience`, it goes on from there, finished
    or not; what was exported and scored is then taken away as the new network takes the former one's place.

    Args:
        config: All that decides the result.
        model_dir: Folder of the training.
        cache_dir: Folder of the caches.
        restart: Where the folder holds a training with other settings or data, set that one aside, into
            `before-1` in it, and begin anew. One with the same settings goes on.

    Raises:
        MetsegError: The folder holds a training with another configuration or other data, another process
            is writing to it, or the data cannot be used.
    """
    model_dir = Path(model_dir)
    with sole_writer(model_dir):
        if not restart:
            complain_if_begun_otherwise(config, model_dir)  # before minutes of preparing
        data = prepare_data(config, cache_dir=cache_dir)
        if begin(config, data.split, model_dir, restart=restart):
            _train_epochs(config, data, model_dir)
        keep_last_epoch(model_dir / "checkpoint")
    manifest = read_json(model_dir / "manifest.json")
    if manifest.get("predicts_nothing"):
        print(f"{config.model} {PREDICTS_NOTHING} than {manifest['epochs_trained']} epochs")
    return load_network(model_dir / "model.keras")


def _train_epochs(config: TrainConfig, data: Dataset, model_dir: Path) -> None:
    precision = best_precision() if config.precision == "auto" else config.precision
    cv2.setNumThreads(1)  # its own threads double the CPU time of a batch, and take it from the network's
    keras.utils.set_random_seed(config.seed)
    with data_parallel(config.devices):
        model = training_copy(_build(config, precision))
        model.compile(keras.optimizers.Adam(config.learning_rate), shared_out(LOSSES[config.loss]))
    averaged, statistics = AveragedWeights(model, config.ema_momentum), PopulationStatistics(model)
    checkpoint = Checkpoint(model_dir / "checkpoint", model, averaged)
    # A row older than coarse epochs does not tell its size.
    history = [
        {**row, "image_size": row.get("image_size", config.image_size)} for row in checkpoint.restore()
    ]
    if history:  # with no epoch that the checkpoint does not have
        _write_history(history, model_dir)
    if config.start_from and not history:
        by_patient = data.cache.slices.groupby("patient_id", observed=True).image_hash.agg(list).to_dict()
        model.set_weights(start_weights(config, data.split, model_dir, slices=by_patient))
    elif config.encoder != "plain" and not history:
        load_imagenet(model)
    chosen = partial(
        epoch_rows,
        data.cache,
        data.split.train,
        exclude_empty=config.exclude_empty,
        balance_empty=config.balance_empty,
        seed=config.seed,
    )
    some = np.random.default_rng(config.seed).permutation(chosen(epoch=0))[:MOST_SLICES]
    slices = len(chosen(epoch=0))
    reporter = _EpochReporter(config, model_dir / "progress.json", -(-slices // config.batch_size), history)

    while len(history) < config.epochs and not out_of_patience(history, config):
        epoch = len(history)
        started = time.perf_counter()
        size = size_of(epoch, config)
        if epoch == config.coarse_epochs:
            # Traced anew: for a second size Keras would leave height and width open, and upsampling fails.
            model.train_function = model.predict_function = None
        model.optimizer.learning_rate = rate = learning_rate_of(epoch, history, config)
        kind = {
            "size": size,
            "batch_size": config.batch_size,
            "augmentation": config.augmentation,
            "seed": config.seed,
        }
        batches = EpochBatches(data.cache, chosen(epoch=epoch), **kind, epoch=epoch, devices=config.devices)
        fitted = model.fit(
            batches.prepared_ahead(),
            initial_epoch=epoch,
            epochs=epoch + 1,
            shuffle=False,
            verbose=0,
            callbacks=[averaged, reporter],
        )
        if not math.isfinite(fitted.history["loss"][-1]):
            raise MetsegError(f"the loss is no number in epoch {epoch + 1}; choose a lower learning_rate")
        with averaged.in_place():
            statistics.estimate(EpochBatches(data.cache, some, **kind, epoch=0))
            averaged.weights = [np.array(each) for each in model.get_weights()]  # with their statistics
            rows = data.cache.rows(data.split.validation)
            found = validate(model, data.cache, rows, config, size=size)
        row = {
            "epoch": epoch + 1,
            "image_size": size,
            "loss": fitted.history["loss"][-1],
            "val_loss": found.loss,
            "val_dice": found.dice,
            "predicts_nothing": found.predicts_nothing,
            "learning_rate": rate,
            "seconds": time.perf_counter() - started,
        }
        history.append(row)
        # Before the checkpoint: a kill between the two repeats this epoch, and its row is not lost.
        _write_history(history, model_dir)
        checkpoint.save(history, best=best_epoch(history, config))
        reporter.epoch_done(history)

    best = _build(config, "float32")
    best.set_weights(checkpoint.best_weights())
    with replacing(model_dir / "model.keras") as unfinished:
        best.save(unfinished)
        for name in ("evaluation/evaluation.json", "model.json"):
            (model_dir / name).unlink(missing_ok=True)  # of the network so far, where it went on for longer
    write_manifest(
        model_dir, config, data.cache, history, precision=precision, parameters=best.count_params()
    )


def _write_history(history: list[dict], model_dir: Path) -> None:
    with replacing(model_dir / "history.csv") as unfinished:
        pd.DataFrame(history).to_csv(unfinished, index=False)


def _build(config: TrainConfig, precision: str) -> keras.Model:
    """Builds under a dtype policy without leaving it set for whoever builds next."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return build_model(config.model, **config.model_options)
    finally:
        keras.config.set_dtype_policy(policy)


class _EpochReporter(keras.callbacks.Callback):
    """Turns what Keras reports of each step into a `Progress`."""

    def __init__(self, config: TrainConfig, path: Path, steps: int, history: list[dict]):
        super().__init__()
        self._reporter = ProgressReporter(path)
        self._config, self._steps, self._history = config, steps, list(history)
        self._resumed_at, self._started = len(history), time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self._report(len(self._history), batch + 1, logs["loss"])

    def epoch_done(self, history: list[dict]) -> None:
        """Tells of a finished epoch, its validation included."""
        self._history = list(history)
        finished = len(history) == self._config.epochs or out_of_patience(history, self._config)
        self._report(len(history) - 1, self._steps, history[-1]["loss"], finished=finished, at_once=True)

    def _pixels(self, first: int, end: int) -> int:
        """Returns a slice's pixels, summed over epochs: what their time grows with."""
        return sum(size_of(epoch, self._config) ** 2 for epoch in range(first, end))

    def _report(
        self, epoch: int, step: int, loss: float, *, finished: bool = False, at_once: bool = False
    ) -> None:
        kept = self._history[best_epoch(self._history, self._config)] if self._history else {}
        done = self._pixels(self._resumed_at, epoch) + self._pixels(epoch, epoch + 1) * step / self._steps
        left = self._pixels(self._resumed_at, self._config.epochs) - done
        progress = Progress(
            model=self._config.model,
            epoch=epoch + 1,
            epochs=self._config.epochs,
            step=step,
            steps=self._steps,
            loss=float(loss),
            finished_epochs=len(self._history),
            last_loss=self._history[-1]["loss"] if self._history else None,
            val_dice=self._history[-1]["val_dice"] if self._history else None,
            seconds_left=(time.monotonic() - self._started) / done * left,
            done=finished,
            note=PREDICTS_NOTHING if kept.get("predicts_nothing") else "",
        )
        self._reporter.report(progress, at_once=at_once)
