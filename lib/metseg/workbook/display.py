"""What a run reports, and how a terminal or a log shows it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console


@dataclass(frozen=True)
class Event:
    """What happened in a run: a notebook started or finished, a cell began, training moved on."""

    kind: Literal["started", "cell", "training", "finished"]
    run_name: str
    notebook: Path
    position: int  # of this notebook among those of the run, from 1
    of: int  # notebooks in the run
    cell: int = 0  # code cell now running, from 1
    cells: int = 0  # code cells of this notebook, the injected parameters included
    training: dict[str, Any] | None = None  # the notebook's progress.json
    seconds: float = 0.0  # since the notebook started


class RunDisplay:
    """Shows the events of a run: a line an epoch, and on a terminal a line below them that moves.

    Example:
        with RunDisplay() as display:
            run_notebooks(notebooks, values, run_folder=folder, on_event=display)
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self.live = self.console.is_terminal and not self.console.is_dumb_terminal
        self.status = self.console.status("")
        self.cell, self.epoch_shown = "", 0

    def __enter__(self) -> "RunDisplay":
        if self.live:
            self.status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.status.stop()

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        title = f"[{event.position}/{event.of}] {event.run_name}: {event.notebook.stem}"
        if event.kind == "started":
            self.cell, self.epoch_shown = "", 0
            self._line(f"{title} started")
        elif event.kind == "finished":
            self._line(f"{title} finished in {_duration(event.seconds)}")
        elif event.kind == "cell":
            self.cell = f" · cell {event.cell} of {event.cells}"
        else:
            self._show_epoch(event.training)
        text = f"notebook {event.position} of {event.of}{self.cell}"
        if event.training:
            text += f" · epoch {event.training['epoch']}/{event.training['epochs']}"
            text += _scores(event.training, "loss")
        self.status.update(text)

    def _show_epoch(self, progress: dict[str, Any]) -> None:
        finished, resumed = progress["finished_epochs"], progress.get("resumed_after", 0)
        if resumed and not self.epoch_shown:
            self.epoch_shown = resumed
            self._line(f"  {progress['model']}: resumed at epoch {resumed + 1}")
        if finished > self.epoch_shown:
            self.epoch_shown = finished
            note = f" · {progress['note']}" if progress.get("note") else ""
            scores = _scores(progress, "last_loss")
            self._line(f"  {progress['model']}: epoch {finished} of {progress['epochs']}{scores}{note}")

    def _line(self, text: str) -> None:
        if self.live:  # above the line that moves
            self.console.print(text, markup=False, highlight=False)
        else:  # whatever its length, in one line
            print(text, file=self.console.file, flush=True)


def _scores(progress: dict[str, Any], loss: str) -> str:
    text = f" · loss {progress[loss]:.3f}"
    if progress.get("val_dice") is not None:
        text += f" · validation Dice {progress['val_dice']:.3f}"
    return text + (f" · {_duration(progress['seconds_left'])} left" if progress["seconds_left"] else "")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes}:{rest:02} min" if minutes else f"{rest} s"
