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
from metseg.workbook.sweep.view import duration

_ENDED = ("done", "failed", "pruned")
_STATES = ("done", "running", "waiting", "failed", "pruned")
_TABLE = "border-collapse: collapse; line-height: 1.7; margin-top: 0.6em; font-variant-numeric: tabular-nums"
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
    names = {} if goes_on else {"running": "interrupted"}
    told = " · ".join(f"{counts[state]} {names.get(state, state)}" for state in _STATES if state in counts)
    bar = _bar(ended, len(table), "12em")
    yield f"<b>{escape(folder.name)}</b> {_what(goes_on, ended < len(table))}<br>"
    yield f"{bar} {ended} of {len(table)} trials ended: {told}"
    running = table[table.state == "running"] if goes_on else table[:0]
    rows = [_progress(row) for row in running.head(_MOST_SHOWN).itertuples()]
    if (more := len(running) - _MOST_SHOWN) > 0:
        rows.append((f"and {more} more", "", "", ""))
    best = table[table.state == "done"].nlargest(_BEST, "validation_dice")
    ended_rows = [
        (row.trial, f"{row.epochs:.0f}", f"{row.validation_dice:.3f}", "") for row in best.itertuples()
    ]
    yield f'<table style="{_TABLE}">'
    if rows:
        yield _group("under way", "epoch", "validation Dice", "left", rows=rows)
    if ended_rows:
        yield _group("best so far" if goes_on else "best", "epochs", "validation Dice", "", rows=ended_rows)
    yield "</table>"


def _what(goes_on: bool, is_more: bool) -> str:
    if goes_on:
        return "runs"
    if is_more:
        return "has stopped: the same <code>metseg sweep</code> goes on with it"
    return "has ended: run this notebook again for its figures"


def _bar(done: float, of: float, width: str) -> str:
    share = done / of if of else 0.0
    return f'<progress value="{share:.3f}" style="width: {width}; vertical-align: middle"></progress>'


def _group(*names: str, rows: list[tuple[str, str, str, str]]) -> str:
    """Returns the lines of a table below a heading of their own; what is in `rows` but the name is HTML."""
    heads = "".join(f'<th style="{_side(k)}">{name}</th>' for k, name in enumerate(names))
    lines = [f'<tr style="border-bottom: 1px solid currentColor">{heads}</tr>']
    for name, *others in rows:
        cells = [escape(name), *others]
        lines.append(
            "<tr>" + "".join(f'<td style="{_side(k)}">{each}</td>' for k, each in enumerate(cells)) + "</tr>"
        )
    return "".join(lines)


def _side(column: int) -> str:
    """The name stands on the left, figures on the right."""
    space = "padding: 0 1.5em 0 0" if column == 0 else "padding: 0 0 0 1.5em"
    return f"text-align: {'right' if column else 'left'}; {space}; white-space: nowrap"


def _progress(row: Any) -> tuple[str, str, str, str]:
    try:
        told = read_json(RunFolder(row.run_folder).progress)
        bar = _bar(told["epoch"], told["epochs"], "5em")
        dice = "" if told["val_dice"] is None else f"{told['val_dice']:.3f}"
        left = told.get("seconds_left")
        return (
            row.trial,
            f"{bar} {told['epoch']}/{told['epochs']}",
            dice,
            "" if left is None else duration(left),
        )
    except (MetsegError, KeyError):  # not begun, or half-written
        return row.trial, "starts", "", ""
