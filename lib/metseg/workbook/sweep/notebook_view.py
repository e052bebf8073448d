"""A running sweep in a notebook: follows its table and its trials' progress while other cells run."""

import asyncio
import os
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets
import pandas as pd
from filelock import FileLock, Timeout
from pandas.io.formats.style import Styler

from metseg.base.errors import MetsegError
from metseg.base.files import read_json
from metseg.training.run_folder import RunFolder
from metseg.workbook.sweep.table import read_sweep

_ENDED = ("done", "failed", "pruned")
_MOST_SHOWN, _BEST = 12, 5


def is_running(folder: Path) -> bool:
    """Whether a process runs a sweep now, on this machine or on one that shares the folder's locks."""
    lock = FileLock(Path(folder) / ".lock", timeout=0)
    if not Path(lock.lock_file).exists():
        return False
    try:
        with lock:
            return False
    except Timeout:
        return True
    except OSError:  # it cannot be written to: nobody of this user runs it
        return False


def linked(trials: pd.DataFrame) -> Styler:
    """Returns trials as a notebook shows them, each with a link to its executed copy, if that is there."""

    def link(path: str) -> str:
        name = escape(Path(path).stem)
        return f'<a href="{escape(Path(os.path.relpath(path)).as_posix())}">{name}</a>' if path else ""

    there = trials.assign(notebook=[path if path and Path(path).exists() else "" for path in trials.notebook])
    styled = there.style.hide(axis="index").format(precision=3, na_rep="–", escape="html")
    whole = [name for name in ("epochs", "seconds") if name in trials]
    return styled.format(link, subset=["notebook"]).format("{:.0f}", subset=whole, na_rep="–")


def follow_sweep(folder: Path, *, every: float = 5.0) -> ipywidgets.HTML | None:
    """Returns a widget that shows a sweep until it ends, or None where none runs.

    It is refreshed by the kernel's own loop between and after other cells, so it holds nothing up and ends
    with the kernel.

    Args:
        folder: Of the sweep.
        every: Seconds from one look to the next.
    """
    if not is_running(folder):
        return None
    widget = ipywidgets.HTML()
    _refresh(widget, Path(folder))  # an executed copy keeps what it showed first
    widget.task = asyncio.get_running_loop().create_task(_follow(widget, Path(folder), every))
    return widget


async def _follow(widget: ipywidgets.HTML, folder: Path, every: float) -> None:
    while _refresh(widget, folder):
        await asyncio.sleep(every)


def _refresh(widget: ipywidgets.HTML, folder: Path) -> bool:
    """Shows a sweep as it is now, and returns whether it goes on."""
    goes_on = is_running(folder)
    try:
        widget.value = "".join(_lines(folder, goes_on))
    except MetsegError as error:
        widget.value = escape(str(error))
    return goes_on


def _lines(folder: Path, goes_on: bool) -> Iterator[str]:
    table = read_sweep(folder)
    counts, ended = table.state.value_counts(), int(table.state.isin(_ENDED).sum())
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    what = "runs" if goes_on else "has ended: run this notebook again for its figures"
    bar = f"<progress value={ended / max(1, len(table)):.3f}></progress>"
    yield f"<b>{escape(folder.name)}</b> {what} · {bar} {ended} of {len(table)} trials ({told})<br>"
    running = table[table.state == "running"] if goes_on else table[:0]
    rows = [_progress(row) for row in running.head(_MOST_SHOWN).itertuples()]
    best = table[table.state == "done"].nlargest(_BEST, "validation_dice")
    rows += [f"<td>{escape(row.trial)}<td>done<td>{row.validation_dice:.3f}" for row in best.itertuples()]
    yield (
        "<table><tr><th>trial<th>epoch<th>validation Dice"
        + "".join(f"<tr>{row}" for row in rows)
        + "</table>"
    )


def _progress(row: Any) -> str:
    try:
        told = read_json(RunFolder(row.run_folder).progress)
        epoch, dice = f"{told['epoch']}/{told['epochs']}", told["val_dice"]
    except (MetsegError, KeyError):  # not begun, or half-written
        epoch, dice = "", None
    return f"<td>{escape(row.trial)}<td>{epoch}<td>" + ("" if dice is None else f"{dice:.3f}")
