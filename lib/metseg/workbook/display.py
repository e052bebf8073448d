"""What a run reports, and how a terminal or a log shows it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


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
    """Shows the events of a run: a line an epoch, and live bars below them on a terminal.

    Args:
        console: Where to show them; by default stdout.
        live: Whether to draw bars; by default whether the console is a terminal.

    Example:
        with RunDisplay() as display:
            run_notebooks(notebooks, values, run_folder=folder, on_event=display)
    """

    def __init__(self, console: Console | None = None, live: bool | None = None) -> None:
        self.console = console or Console()
        is_terminal = self.console.is_terminal and self.console.file.isatty()
        self.live = is_terminal and not self.console.is_dumb_terminal if live is None else live
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.live,
            expand=True,
        )
        self.notebook_bar = self.bars.add_task("", total=None, detail="", visible=False)
        self.training_bar = self.bars.add_task("", total=None, detail="", visible=False)
        self.epoch_shown = 0

    def __enter__(self) -> "RunDisplay":
        self.bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bars.stop()

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        title = f"[{event.position}/{event.of}] {event.run_name}: {event.notebook.stem}"
        if event.kind == "started":
            self.epoch_shown = 0
            self.bars.reset(self.training_bar, visible=False)
            self._line(f"{title} started")
        elif event.kind == "finished":
            self._line(f"{title} finished in {_duration(event.seconds)}")
        elif event.kind == "training":
            self._show_epoch(event.training)
            self._move_training_bar(event.training)
        if event.kind != "training":
            within = 1.0 if event.kind == "finished" else max(event.cell - 1, 0) / max(event.cells, 1)
            self.bars.update(
                self.notebook_bar,
                description=event.notebook.stem,
                total=event.of,
                completed=event.position - 1 + within,
                detail=f"notebook {event.position} of {event.of}"
                + (f" · cell {event.cell} of {event.cells}" if event.kind == "cell" else ""),
                visible=True,
            )

    def _show_epoch(self, progress: dict[str, Any]) -> None:
        finished, resumed = progress["finished_epochs"], progress.get("resumed_after", 0)
        if resumed and not self.epoch_shown:
            self.epoch_shown = resumed
            self._line(f"  {progress['model']}: resumed at epoch {resumed + 1}")
        if finished > self.epoch_shown:
            self.epoch_shown = finished
            note = f" · {progress['note']}" if progress.get("note") else ""
            scores = _scores(progress, "last_loss", "validation Dice")
            self._line(f"  {progress['model']}: epoch {finished} of {progress['epochs']}{scores}{note}")

    def _move_training_bar(self, progress: dict[str, Any]) -> None:
        within = progress["step"] / max(progress["steps"], 1)
        self.bars.update(
            self.training_bar,
            description=f"  {progress['model']}",
            total=progress["epochs"],
            completed=progress["epochs"] if progress["done"] else progress["epoch"] - 1 + within,
            detail=f"epoch {progress['epoch']}/{progress['epochs']}{_scores(progress, 'loss', 'Dice')}",
            visible=True,
        )

    def _line(self, text: str) -> None:
        if self.live:  # above the bars
            self.console.print(text, markup=False, highlight=False)
        else:  # whatever its length, in one line
            print(text, file=self.console.file, flush=True)


def _scores(progress: dict[str, Any], loss: str, dice_label: str) -> str:
    parts = [
        f"loss {progress[loss]:.3f}" if progress.get(loss) is not None else None,
        f"{dice_label} {progress['val_dice']:.3f}" if progress.get("val_dice") is not None else None,
        f"{_duration(progress['seconds_left'])} left" if progress.get("seconds_left") else None,
    ]
    return "".join(f" · {part}" for part in parts if part)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes}:{rest:02} min" if minutes else f"{rest} s"
