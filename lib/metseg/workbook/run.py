"""The workbook: its notebooks, their parameters, and how to run them unattended.

Every value is checked against what the notebooks declare before anything is written or started; then each
notebook runs in a process of its own, from the recipe's values, and its executed copy lies in the run's
folder.
"""

import csv
import io
import itertools
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from metseg.base.errors import MetsegError
from metseg.base.files import shown, sole_writer, write_text
from metseg.training.config import config_among
from metseg.workbook.display import Event
from metseg.workbook.notebook_process import run_notebook
from metseg.workbook.parameters import check_parameters, choices, defaults_of

_PLACE = ("run_name", "output_dir")  # which follow from a run's folder


def numbered_notebooks(folder: Path) -> list[Path]:
    """The numbered notebooks of a folder in the workbook's order: 04_ before 04b_ before 05_."""
    notebooks = Path(folder).glob("[0-9][0-9]*_*.ipynb")
    ordered = sorted(notebooks, key=lambda path: path.name.partition("_"))
    if not ordered:
        raise MetsegError(f"no notebooks such as 01_explore_data.ipynb in {folder}; name another folder")
    return ordered


def training_notebook(model: str, folder: Path) -> Path:
    """The numbered notebook whose parameter `model` is by default this model."""
    by_model = {}
    for notebook in numbered_notebooks(folder):
        if "model" in (defaults := defaults_of(notebook)):
            by_model[defaults["model"]] = notebook
    if model not in by_model:
        raise MetsegError(f"no notebook trains '{model}'{choices(model, by_model)}")
    return by_model[model]


def run_notebooks(
    notebooks: Sequence[Path],
    values: Mapping[str, Any],
    *,
    run_folder: Path,
    on_event: Callable[[Event], None] = lambda event: None,
) -> list[Path]:
    """Runs notebooks one after the other, each in a process of its own.

    Args:
        notebooks: The notebooks, in order; each one's folder is its kernel's working directory.
        values: Parameters, in place of the recipe's; each notebook gets those that it declares. `run_name`
            and `output_dir` are not taken from here: they always follow from the run folder.
        run_folder: <output_dir>/<run_name>; executed copies go to its notebooks/, an HTML beside each.
        on_event: Called with every `Event`, from this thread; a `RunDisplay` shows them.

    Returns:
        The executed copies.

    Raises:
        MetsegError: A parameter does not fit (nothing is written then), the run folder is not writable or in
            use, or a notebook stops; its executed copy so far is kept and the notebooks after it do not run.
    """
    notebooks = [Path(notebook).resolve() for notebook in notebooks]
    run_folder = Path(run_folder).resolve()
    check_parameters(values, notebooks)
    _check_trainings(notebooks, values)
    copies = [run_folder / "notebooks" / notebook.name for notebook in notebooks]
    with sole_writer(run_folder):
        for position, (notebook, copy) in enumerate(zip(notebooks, copies, strict=True), start=1):
            copy.parent.mkdir(exist_ok=True)
            given = defaults_of(notebook)
            place = {"run_name": run_folder.name, "output_dir": _output_dir(run_folder, notebook)}
            given |= {name: value for name, value in {**values, **place}.items() if name in given}
            model = given.get("model")
            event = Event("started", run_folder.name, notebook, position, len(notebooks))
            started = time.monotonic()

            def report(kind: str, event: Event = event, started: float = started, **details: Any) -> None:
                on_event(replace(event, kind=kind, seconds=time.monotonic() - started, **details))

            report("started")
            progress_file = run_folder / str(model) / "progress.json" if model is not None else None
            run_notebook(notebook, copy, given, progress_file=progress_file, report=report)
            report("finished")
    return copies


def _check_trainings(notebooks: Sequence[Path], values: Mapping[str, Any]) -> None:
    """Raises the `MetsegError` that a training notebook would, before the first notebook is run."""
    for notebook in notebooks:
        defaults = defaults_of(notebook)
        if {"model", "data_dir"} <= defaults.keys():
            config_among({**defaults, **{name: values[name] for name in values if name in defaults}})


def sweep(
    notebook: Path,
    grid: Mapping[str, list[Any]],
    values: Mapping[str, Any],
    *,
    run_folder: Path,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Path:
    """Runs a notebook once for each combination of the grid, as <run folder>/<run_name>-1, -2 and so on.

    Combinations that the table has as finished with the same parameters are skipped; one that fails does not
    stop the others.

    Returns:
        <run folder>/sweep.csv: run, status, and the parameters as JSON.
    """
    run_folder = Path(run_folder).resolve()
    if not grid or not all(isinstance(choices, list) and choices for choices in grid.values()):
        raise MetsegError("the sweep has nothing to vary; write NAME=[VALUE, VALUE] like dropout=[0.0, 0.2]")
    combinations = [{**values, **dict(zip(grid, c, strict=True))} for c in itertools.product(*grid.values())]
    rows = []
    for k, combination in enumerate(combinations, start=1):
        check_parameters(combination, [notebook])
        _check_trainings([notebook], combination)
        # All of them: a recipe that has changed since makes another run of it.
        known = {**defaults_of(notebook), **combination}
        cells = {name: json.dumps(value, default=str) for name, value in known.items() if name not in _PLACE}
        rows.append({"run": f"{run_folder.name}-{k}", "status": "waiting"} | cells)
    table = run_folder / "sweep.csv"
    with sole_writer(run_folder):
        text = table.read_text(encoding="utf-8") if table.is_file() else ""
        for row in csv.DictReader(io.StringIO(text)):
            rows = [{**new, "status": "finished"} if _is_finished(row, new) else new for new in rows]
        for k, (row, combination) in enumerate(zip(rows, combinations, strict=True), start=1):
            if row["status"] == "finished":
                continue
            row["status"] = "running"
            _write_table(table, rows)

            def renumbered(event: Event, k: int = k) -> None:
                on_event(replace(event, position=k, of=len(rows)))

            try:
                folder = run_folder / row["run"]
                run_notebooks([notebook], combination, run_folder=folder, on_event=renumbered)
                row["status"] = "finished"
            except MetsegError as error:
                row["status"] = f"failed: {error}"
        _write_table(table, rows)
    if failed := [row for row in rows if row["status"] != "finished"]:
        names = ", ".join(row["run"] for row in failed)
        raise MetsegError(
            f"{len(failed)} of {len(rows)} runs failed ({names}), the first with: "
            f"{failed[0]['status'].removeprefix('failed: ')}. Mend the cause, which {shown(table)} gives for "
            "each, and sweep again: finished runs are skipped"
        )
    return table


def _is_finished(row: dict[str, str], wanted: dict[str, str]) -> bool:
    """Tells whether a row of the table is that of a wanted run, as far as it names parameters."""
    finished = {**wanted, "status": "finished"}
    return all(finished.get(name) == cell for name, cell in row.items())


def _output_dir(run_folder: Path, notebook: Path) -> str:
    """The run folder's parent as the notebook names it: relative inside the checkout, absolute elsewhere."""
    parent = run_folder.parent
    inside = parent.is_relative_to(notebook.parent.parent)
    return Path(os.path.relpath(parent, notebook.parent)).as_posix() if inside else str(parent)


def _write_table(path: Path, rows: list[dict[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
