"""How far a training is: one line in the notebook, one small file for whoever watches from outside."""

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
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


@dataclass(frozen=True)
class Progress:
    """Where a training stands; epochs and steps are counted from 1, times in seconds.

    `loss` is of the epoch under way; `last_loss` and `val_dice` are of the last of the finished epochs.
    `resumed_after` counts the epochs that an earlier, interrupted call had finished. `note` is what a person
    should know of the network that would be kept now.
    """

    model: str
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    finished_epochs: int
    last_loss: float | None
    val_dice: float | None
    seconds_left: float
    done: bool = False
    note: str = ""
    resumed_after: int = 0

    def __str__(self) -> str:
        dice = "–" if self.val_dice is None else f"{self.val_dice:.3f}"
        minutes, seconds = divmod(round(self.seconds_left), 60)
        left = "done" if self.done else f"{minutes}:{seconds:02d} left"
        text = f"epoch {self.epoch}/{self.epochs} · loss {self.loss:.3f} · validation Dice {dice} · {left}"
        return f"{text} · {self.note}" if self.note else text


class ProgressReporter:
    """Writes `progress.json`, prints a line an epoch, and refreshes one line of a notebook."""

    def __init__(self, path: Path):
        self._path = path
        self._last = 0.0
        self._line = display(HTML(""), display_id=True) if get_ipython() is not None else None

    def report(self, progress: Progress, *, epoch_done: bool = False) -> None:
        """Tells of progress, but not more often than a person can read unless an epoch is done."""
        now = time.monotonic()
        if not epoch_done and now - self._last < _SECONDS_BETWEEN_REPORTS:
            return
        self._last = now
        if epoch_done:
            print(replace(progress, note=""), flush=True)  # the note is said once, at the end
        with suppress(MetsegError):  # Windows refuses while somebody reads it; the next one will do
            write_text(self._path, json.dumps(asdict(progress)), durable=False)
        if self._line is not None:
            share = (progress.epoch - 1 + progress.step / progress.steps) / progress.epochs
            self._line.update(HTML(f'<progress value="{share:.3f}"></progress> {progress}'))


class EpochReporter(keras.callbacks.Callback):
    """Turns what Keras reports of each step into a `Progress`."""

    def __init__(self, config: TrainConfig, path: Path, steps: int, history: list[dict]):
        super().__init__()
        self._reporter = ProgressReporter(path)
        self._config, self._steps, self._history = config, steps, list(history)
        self._resumed_at, self._started = len(history), time.monotonic()
        if history:
            print(f"resumed at epoch {len(history) + 1}", flush=True)

    def on_train_batch_end(self, batch, logs=None):
        self._report(len(self._history), batch + 1, logs["loss"])

    def epoch_done(self, history: list[dict]) -> None:
        """Tells of a finished epoch, its validation included."""
        self._history, learning = list(history), self._config.learning
        finished = len(history) == learning.epochs or out_of_patience(history, learning)
        self._report(len(history) - 1, self._steps, history[-1]["loss"], finished=finished, epoch_done=True)

    def _pixels(self, first: int, end: int) -> int:
        """Returns a slice's pixels, summed over epochs: what their time grows with."""
        return sum(size_of(epoch, self._config) ** 2 for epoch in range(first, end))

    def _report(
        self, epoch: int, step: int, loss: float, *, finished: bool = False, epoch_done: bool = False
    ) -> None:
        learning, last = self._config.learning, self._history[-1] if self._history else {}
        kept = self._history[best_epoch(self._history, learning)] if self._history else {}
        done = self._pixels(self._resumed_at, epoch) + self._pixels(epoch, epoch + 1) * step / self._steps
        left = self._pixels(self._resumed_at, learning.epochs) - done
        progress = Progress(
            model=self._config.network.model,
            epoch=epoch + 1,
            epochs=learning.epochs,
            step=step,
            steps=self._steps,
            loss=float(loss),
            finished_epochs=len(self._history),
            last_loss=last.get("loss"),
            val_dice=last.get("val_dice"),
            seconds_left=(time.monotonic() - self._started) / done * left,
            done=finished,
            note=PREDICTS_NOTHING if kept.get("predicts_nothing") else "",
            resumed_after=self._resumed_at,
        )
        self._reporter.report(progress, epoch_done=epoch_done)
