"""How far a training is: one line in the notebook, one small file for whoever watches from outside."""

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from IPython import get_ipython
from IPython.display import HTML, display

from metseg.base.errors import MetsegError
from metseg.base.files import write_text

_SECONDS_BETWEEN_REPORTS = 0.5


@dataclass(frozen=True)
class Progress:
    """Where a training stands; epochs and steps are counted from 1, times in seconds.

    `loss` is of the epoch under way; `last_loss` and `val_dice` are of the last of the finished epochs.
    `note` is what a person should know of the network that would be kept now.
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

    def __str__(self) -> str:
        dice = "–" if self.val_dice is None else f"{self.val_dice:.3f}"
        minutes, seconds = divmod(round(self.seconds_left), 60)
        left = "done" if self.done else f"{minutes}:{seconds:02d} left"
        text = f"epoch {self.epoch}/{self.epochs} · loss {self.loss:.3f} · validation Dice {dice} · {left}"
        return f"{text} · {self.note}" if self.note else text


class ProgressReporter:
    """Writes `progress.json` and refreshes one line of the notebook, if this is one."""

    def __init__(self, path: Path):
        self._path = path
        self._last = 0.0
        self._line = display(HTML(""), display_id=True) if get_ipython() is not None else None

    def report(self, progress: Progress, *, at_once: bool = False) -> None:
        """Tells of progress, but not more often than a person can read unless `at_once`."""
        now = time.monotonic()
        if not at_once and now - self._last < _SECONDS_BETWEEN_REPORTS:
            return
        self._last = now
        with suppress(MetsegError):  # Windows refuses while somebody reads it; the next one will do
            write_text(self._path, json.dumps(asdict(progress)), durable=False)
        if self._line is not None:
            share = (progress.epoch - 1 + progress.step / progress.steps) / progress.epochs
            self._line.update(HTML(f'<progress value="{share:.3f}"></progress> {progress}'))
