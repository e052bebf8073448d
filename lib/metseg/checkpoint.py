"""The state of a training after its last finished epoch, safe against `kill -9` at any instant."""

import shutil
from pathlib import Path

import numpy as np

from metseg.backend import keras
from metseg.files import read_json, replacing, write_json


class Checkpoint:
    """Keeps a compiled model's weights, its optimizer's state, its best weights and its history.

    `state.json` is renamed into place last and names the files that belong to it; whatever an
    interrupted save left beside them is not looked at again.
    """

    def __init__(self, folder: Path, model: keras.Model):
        self._folder = folder
        self._model = model

    def restore(self) -> list[dict]:
        """Loads the last finished epoch into the model and returns the history up to it."""
        state = self._state()
        if state is None:
            return []
        self._model.optimizer.build(self._model.trainable_variables)
        self._model.load_weights(self._folder / state["last"])
        return state["history"]

    def save(self, history: list[dict]) -> None:
        """Saves the model as it is after the last epoch of `history`."""
        last = f"epoch-{len(history)}.weights.h5"
        with replacing(self._folder / last) as partial:
            self._model.save_weights(partial)
        best_epoch = 1 + int(np.argmax([row["val_dice"] for row in history]))
        state = {"last": last, "best": f"epoch-{best_epoch}.weights.h5", "history": history}
        write_json(self._folder / "state.json", state)
        for path in self._folder.glob("epoch-*.weights.h5"):
            if path.name not in (state["last"], state["best"]):
                path.unlink()

    def best_weights(self) -> list[np.ndarray]:
        """Returns the weights of the epoch with the best validation Dice, as `model.get_weights()` would."""
        self._model.load_weights(self._folder / self._state()["best"])
        return self._model.get_weights()

    def delete(self) -> None:
        """Removes the state of a training that is finished."""
        shutil.rmtree(self._folder)

    def _state(self) -> dict | None:
        path = self._folder / "state.json"
        return read_json(path) if path.exists() else None
