"""The state of a training after its last finished epoch, safe against `kill -9` at any instant."""

from pathlib import Path

import numpy as np

from metseg.averaging import AveragedWeights
from metseg.backend import keras
from metseg.errors import MetsegError
from metseg.files import read_json, replacing, shown, write_json


class Checkpoint:
    """Keeps a compiled model's weights, its optimizer's state, the weights that serve, and the history.

    `state.json` is renamed into place last and names the files that belong to it; whatever an
    interrupted save left beside them is not looked at again.
    """

    def __init__(self, folder: Path, model: keras.Model, averaged: AveragedWeights):
        self._folder = folder
        self._model = model
        self._averaged = averaged

    def restore(self) -> list[dict]:
        """Loads the last finished epoch into the model and its average; returns the history up to it."""
        state = self._state()
        if state is None:
            return []
        self._model.optimizer.build(self._model.trainable_variables)
        self._model.load_weights(self._folder / state["last"])
        self._averaged.weights = self._read(state["last_serving"])
        return state["history"]

    def save(self, history: list[dict], *, best: int) -> None:
        """Saves the model and its average as they are after the last epoch of `history`.

        Args:
            history: A row for each finished epoch.
            best: Place in it of the epoch whose weights shall serve: one saved as best before, or the last.
        """
        last = f"epoch-{len(history)}.weights.h5"
        with replacing(self._folder / last) as partial:
            self._model.save_weights(partial)
        serving = f"epoch-{len(history)}.npz"
        with replacing(self._folder / serving) as partial:
            np.savez(partial, *self._averaged.weights)
        state = {
            "last": last,
            "last_serving": serving,
            "best_serving": f"epoch-{best + 1}.npz",
            "history": history,
        }
        write_json(self._folder / "state.json", state)
        for path in self._folder.glob("epoch-*"):
            if path.name not in state.values():
                path.unlink()

    def best_weights(self) -> list[np.ndarray]:
        """Returns the weights of the best epoch, as `model.get_weights()` would."""
        return self._read(self._state()["best_serving"])

    def _read(self, name: str) -> list[np.ndarray]:
        with np.load(self._folder / name) as stored:
            return [stored[f"arr_{k}"] for k in range(len(stored.files))]

    def _state(self) -> dict | None:
        path = self._folder / "state.json"
        state = read_json(path) if path.exists() else None
        if state is not None and "last_serving" not in state:
            raise MetsegError(
                f"{shown(self._folder.parent)} was begun by an older metseg; choose another run name"
            )
        return state
