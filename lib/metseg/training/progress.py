"""How far a training is: in the notebook, in a small file for whoever watches, and when it is interrupted."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from IPython import get_ipython
from IPython.display import HTML, display

from metseg.base.backend import keras
from metseg.base.errors import MetsegError
from metseg.base.files import write_text
from metseg.training.config import TrainConfig
from metseg.training.schedule import best_epoch, out_of_patience, size_of

PREDICTS_NOTHING = "predicts nothing on validation patients: train longer"
_SECONDS_BETWEEN_REPORTS = 0.5


class EpochReporter(keras.callbacks.Callback):
    """Writes `progress.json`, prints a line an epoch, and refreshes one line of a notebook."""

    def __init__(self, config: TrainConfig, path: Path, history: list[dict]):
        super().__init__()
        self._config, self._path, self._steps, self._history = config, path, 1, list(history)
        self._resumed_at, self._started, self._last = len(history), time.monotonic(), 0.0
        self._line = display(HTML(""), display_id=True) if get_ipython() is not None else None
        if history:
            print(f"resumed at epoch {len(history) + 1}", flush=True)

    def on_epoch_begin(self, epoch, logs=None):
        self._steps = self.params["steps"]  # of this epoch; they need not be as many in each

    def on_train_batch_end(self, batch, logs=None):
        if time.monotonic() - self._last >= _SECONDS_BETWEEN_REPORTS:  # not more often than one can read
            self._report(len(self._history), batch + 1, logs["loss"])

    def epoch_done(self, history: list[dict]) -> None:
        """Tells of a finished epoch, its validation included."""
        self._history, learning = list(history), self._config.learning
        done = len(history) == learning.epochs or out_of_patience(history, learning)
        print(self._report(len(history) - 1, self._steps, history[-1]["loss"], done=done), flush=True)

    def _pixels(self, first: int, end: int) -> int:
        """Returns a slice's pixels, summed over epochs: what their time grows with."""
        return sum(size_of(epoch, self._config) ** 2 for epoch in range(first, end))

    def _report(self, epoch: int, step: int, loss: float, *, done: bool = False) -> str:
        """Tells where the training stands, and returns it as a line; epochs and steps count from 1."""
        learning, last = self._config.learning, self._history[-1] if self._history else {}
        kept = self._history[best_epoch(self._history, learning)] if self._history else {}
        seen = self._pixels(self._resumed_at, epoch) + self._pixels(epoch, epoch + 1) * step / self._steps
        left = self._pixels(self._resumed_at, learning.epochs) - seen
        self._last = time.monotonic()
        seconds_left = (self._last - self._started) / seen * left
        known = {
            "model": self._config.network.model,
            "epoch": epoch + 1,
            "epochs": learning.epochs,
            "step": step,
            "steps": self._steps,
            "loss": float(loss),  # of the epoch under way
            "finished_epochs": len(self._history),
            "last_loss": last.get("loss"),  # of the last finished epoch, as is `val_dice`
            "val_dice": last.get("val_dice"),
            "seconds_left": seconds_left,
            "done": done,
            "note": PREDICTS_NOTHING if kept.get("predicts_nothing") else "",  # of the network kept so far
            "resumed_after": self._resumed_at,  # epochs of an earlier, interrupted call
        }
        with suppress(MetsegError):  # Windows refuses while somebody reads it; the next one will do
            write_text(self._path, json.dumps(known), durable=False)
        dice = f"{last['val_dice']:.3f}" if last else "–"
        time_left = "done" if done else "{}:{:02d} left".format(*divmod(round(seconds_left), 60))
        line = f"epoch {epoch + 1}/{learning.epochs} · loss {loss:.3f} · validation Dice {dice} · {time_left}"
        if self._line is not None:
            share = (epoch + step / self._steps) / learning.epochs
            note = f" · {known['note']}" if known["note"] else ""
            self._line.update(HTML(f'<progress value="{share:.3f}"></progress> {line}{note}'))
        return line


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or a kernel that was interrupted; a notebook shows its sentence and no traceback."""

    def _render_traceback_(self) -> list[str]:  # what IPython shows
        return [str(self)]


@contextmanager
def told_in_a_sentence(what: object) -> Iterator[None]:
    """Raises `Interrupted` in place of a `KeyboardInterrupt`; `what` was being done."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            f"{what} was interrupted; run it again, and it goes on after the last finished epoch"
        ) from None
