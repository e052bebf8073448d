"""The state of a training after its last finished epoch, safe against `kill -9`, a power cut, and damage."""

import os
import shutil
import warnings
from pathlib import Path

import numpy as np

from metseg.base.backend import keras
from metseg.base.errors import MetsegError, MetsegWarning
from metseg.base.files import file_sha256, shown, sync_file, sync_folder, write_sealed
from metseg.training.ema import AveragedWeights
from metseg.training.run_folder import CHECKPOINT_STATE, DamagedEpoch, epoch_state, epochs_kept

_NETWORK, _SERVING, _BEST = "network.weights.h5", "serving.npz", "best.npz"
KEPT = 2  # epochs: where the last one is damaged, the training goes on from the one before


class Checkpoint:
    """Keeps a compiled model's weights, its optimizer's state, the weights that serve, and the history.

    Each epoch has a folder of its own, `epoch-<n>`, that is renamed into place whole; its `state.json` has
    the hashes of what lies beside it and of itself.
    """

    def __init__(self, folder: Path, model: keras.Model, averaged: AveragedWeights):
        self._folder = Path(folder)
        self._model = model
        self._averaged = averaged
        self._best = list[np.ndarray]()

    def restore(self) -> list[dict]:
        """Loads the last finished epoch into the model and its average; returns the history up to it.

        Where it is damaged, the epoch before takes its place, and a warning says so.

        Raises:
            MetsegError: All epochs that are kept are damaged.
        """
        found = epochs_kept(self._folder)
        for number in sorted(found, reverse=True):
            try:
                history = self._load(found[number])
            except DamagedEpoch as damage:
                told = f"the checkpoint of epoch {number} in {shown(self._folder)} is damaged ({damage})"
                if number == min(found):
                    raise MetsegError(
                        f"{told}, and there is no epoch before it; remove that folder to train from the "
                        "start, or put a copy of it back"
                    ) from damage
                told += "; the training goes on from the epoch before"
                warnings.warn(told, MetsegWarning, stacklevel=2)
                continue
            for later in found:
                if later > number:
                    shutil.rmtree(found[later])
            return history
        return []

    def save(self, history: list[dict], *, best: int) -> None:
        """Saves the model and its average as they are after the last epoch of `history`.

        Args:
            history: A row for each finished epoch.
            best: Place in it of the epoch whose weights shall serve: the last, or the one so far.

        Raises:
            MetsegError: The disk is full, or the folder cannot be written to.
        """
        if best == len(history) - 1:
            self._best = [np.array(each) for each in self._averaged.weights]
        home = self._folder / f"epoch-{len(history)}"
        work = home.with_name(f".{home.name}.part")
        try:
            shutil.rmtree(work, ignore_errors=True)  # what a killed process left
            work.mkdir(parents=True)
            self._model.save_weights(work / _NETWORK)
            np.savez(work / _SERVING, *self._averaged.weights)
            np.savez(work / _BEST, *self._best)
            names = (_NETWORK, _SERVING, _BEST)
            for name in names:
                sync_file(work / name)
            hashes = {name: file_sha256(work / name) for name in names}
            write_sealed(work / CHECKPOINT_STATE, {"sha256": hashes, "history": history})
            shutil.rmtree(home, ignore_errors=True)
            os.rename(work, home)
            sync_folder(self._folder)
        except OSError as error:
            raise MetsegError(
                f"cannot write {home} ({error.strerror or error}); "
                "free disk space or choose another output folder"
            ) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
        keep_epochs(self._folder, KEPT)  # only now, for the new one is on the disk

    def best_weights(self) -> list[np.ndarray]:
        """Returns the weights of the best epoch, as `model.get_weights()` would."""
        return [np.array(each) for each in self._best]

    def _load(self, home: Path) -> list[dict]:
        """Loads an epoch, and changes nothing where it is damaged."""
        state = epoch_state(home)
        self._model.optimizer.build(self._model.trainable_variables)
        self._model.load_weights(home / _NETWORK)
        self._averaged.weights, self._best = _read(home / _SERVING), _read(home / _BEST)
        return state["history"]


def keep_epochs(folder: Path, count: int) -> None:
    """Removes all but the last epochs, and what a killed process left."""
    kept = epochs_kept(folder)
    for path in (*(kept[number] for number in sorted(kept)[:-count]), *Path(folder).glob(".epoch-*.part")):
        shutil.rmtree(path, ignore_errors=True)


def _read(path: Path) -> list[np.ndarray]:
    with np.load(path) as stored:
        return [stored[f"arr_{k}"] for k in range(len(stored.files))]
