"""How a terminal or a log shows a sweep under way."""

import time
from collections import Counter

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from metseg.workbook.sweep.coordinator import Coordinator, Running

_ENDED = ("done", "pruned", "failed")
_MOST_SHOWN = 20  # trials under way; a terminal has few lines


class SweepView:
    """Shows a sweep: a line a finished trial, and on a terminal a table of those under way below them.

    Example:
        with SweepView() as view:
            run_sweep(plan, folder, on_change=view)
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        terminal = self.console.is_terminal and not self.console.is_dumb_terminal
        self._live = Live(console=self.console, auto_refresh=False, transient=True) if terminal else None
        self._shown: set[str] | None = None
        self._started = time.monotonic()

    def __enter__(self) -> "SweepView":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, sweep: Coordinator) -> None:
        """Shows where a sweep stands."""
        rows = sweep.ledger.rows
        ended = {name for name, row in rows.items() if row["state"] in _ENDED}
        if self._shown is None:
            self._shown, self._before = ended, len(ended)
        for name in [each for each in rows if each in ended and each not in self._shown]:
            self._shown.add(name)
            row = rows[name]
            dice = row.get("validation_dice")
            score = f"validation Dice {dice:.3f}" if dice is not None else row.get("reason", "")
            took = f" · {duration(row['seconds'])}" if "seconds" in row else ""
            line = f"[{len(self._shown)}/{sweep.ledger.plan.count}] {name}: {row['state']} · {score}{took}"
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        if self._live:
            self._live.update(Group(self._summary(sweep), _table(sweep)), refresh=True)

    def _summary(self, sweep: Coordinator) -> Text:
        rows, total = sweep.ledger.rows.values(), sweep.ledger.plan.count
        counts = Counter(row["state"] for row in rows)
        ended = sum(counts[state] for state in _ENDED)
        parts = [f"{ended} of {total} trials", *(f"{counts[each]} {each}" for each in _ENDED if counts[each])]
        best = max((row["validation_dice"] for row in rows if row["state"] == "done"), default=None)
        if best is not None:
            parts.append(f"best validation Dice {best:.3f}")
        if now := ended - self._before:
            left = (time.monotonic() - self._started) / now * (total - ended)
            parts.append(f"about {duration(left)} left")
        if not sweep.machines:
            parts.append("waiting for workers")
        return Text(" · ".join(parts))


def _table(sweep: Coordinator) -> Table:
    table = Table("trial", "epoch", "validation Dice", "left", "try", box=None, pad_edge=False)
    for name, each in list(sweep.running.items())[:_MOST_SHOWN]:
        table.add_row(name, *_progress(each), str(each.attempts))
    if (more := len(sweep.running) - _MOST_SHOWN) > 0:
        table.add_row(f"and {more} more")
    return table


def _progress(each: Running) -> tuple[str, str, str]:
    told = each.progress
    if not told:
        return "", "", ""
    dice = f"{told['dice'][-1]:.3f}" if told["dice"] else ""
    return f"{told['epoch']}/{told['epochs']}", dice, duration(told["seconds_left"])


def duration(seconds: float) -> str:
    """Returns a time as people read it: 1:05 min, 2:30 h."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d} h" if minutes >= 60 else f"{minutes}:{rest:02d} min"
