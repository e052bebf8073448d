"""The workbook: its notebooks, and how to run them unattended."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from metseg.base.errors import MetsegError
from metseg.base.files import make_folder, sole_writer
from metseg.base.recipe import choices
from metseg.training.config import config_among
from metseg.training.run_folder import RunFolder
from metseg.workbook.display import Event
from metseg.workbook.notebook_process import run_notebook
from metseg.workbook.parameters import check_parameters, defaults_of, read_profile


def numbered_notebooks(folder: Path) -> list[Path]:
    """Returns the numbered notebooks of a folder in the workbook's order: 04_ before 04b_ before 05_."""
    notebooks = Path(folder).glob("[0-9][0-9]*_*.ipynb")
    ordered = sorted(notebooks, key=lambda path: path.name.partition("_"))
    if not ordered:
        raise MetsegError(f"no notebooks such as 01_explore_data.ipynb in {folder}; name another folder")
    return ordered


def training_notebook(model: str, folder: Path) -> Path:
    """Returns the numbered notebook that trains a network."""
    starts = {notebook: defaults_of(notebook) for notebook in numbered_notebooks(folder)}
    by_model = {start["model"]: notebook for notebook, start in starts.items() if "model" in start}
    if model not in by_model:
        raise MetsegError(f"no notebook trains '{model}'{choices(model, by_model)}")
    return by_model[model]


def command_values(profile: str, typed: Mapping[str, Any], notebooks: Sequence[Path]) -> dict[str, Any]:
    """Returns the parameters that a command gives to notebooks: a profile's, then what was typed.

    A profile speaks to all notebooks; these get what they take.
    """
    known = {name for notebook in notebooks for name in defaults_of(notebook)}
    changes = read_profile(profile, notebooks[0].parent)
    return {**{name: value for name, value in changes.items() if name in known}, **typed}


def training_settings(notebook: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all parameters of a training as its notebook would take them, with absolute folders."""
    check_parameters(values, [notebook])
    settings = {**defaults_of(notebook), **values}
    for name in ("data_dir", "cache_dir"):
        settings[name] = os.path.normpath(notebook.parent / settings[name])
    return settings


def run_notebooks(
    notebooks: Sequence[Path],
    values: Mapping[str, Any],
    *,
    run_folder: Path,
    on_event: Callable[[Event], None] = lambda event: None,
) -> list[Path]:
    """Runs notebooks one after the other, each in a process of its own, and returns the executed copies.

    Args:
        notebooks: The notebooks, in order; each one's folder is its kernel's working directory.
        values: Parameters, in place of the recipe's; each notebook gets those that it takes. `run_name` and
            `output_dir` always follow from the run folder.
        run_folder: <output_dir>/<run_name>; executed copies go to its notebooks/, an HTML beside each.
        on_event: Called with every `Event`, from this thread; a `RunDisplay` shows them.

    Raises:
        MetsegError: A parameter does not fit (nothing is written then), the run folder is not writable or in
            use, or a notebook stops: those after it do not run.
    """
    notebooks = [Path(notebook).resolve() for notebook in notebooks]
    run_folder = Path(run_folder).resolve()
    check_parameters(values, notebooks)
    given = []
    for notebook in notebooks:
        own = defaults_of(notebook)
        own |= {name: value for name, value in values.items() if name in own}
        if {"model", "data_dir"} <= own.keys():
            config_among(own)  # raises what the training would, before the first notebook is run
        place = {"run_name": run_folder.name, "output_dir": output_dir_for(run_folder, notebook)}
        given.append(own | {name: value for name, value in place.items() if name in own})
    copies = [run_folder / "notebooks" / notebook.name for notebook in notebooks]
    with sole_writer(run_folder):
        make_folder(run_folder / "notebooks")
        for position, (notebook, copy, own) in enumerate(zip(notebooks, copies, given, strict=True), start=1):
            event = Event("started", run_folder.name, notebook, position, len(notebooks))
            started = time.monotonic()

            def report(kind: str, event: Event = event, started: float = started, **details: Any) -> None:
                on_event(replace(event, kind=kind, seconds=time.monotonic() - started, **details))

            report("started")
            progress = RunFolder(run_folder / own["model"]).progress if "model" in own else None
            run_notebook(notebook, copy, own, progress_file=progress, report=report)
            report("finished")
    return copies


def output_dir_for(run_folder: Path, notebook: Path) -> str:
    """Returns a run folder's parent as a notebook names it: relative in the checkout, absolute elsewhere."""
    parent = run_folder.parent
    inside = parent.is_relative_to(notebook.parent.parent)
    return Path(os.path.relpath(parent, notebook.parent)).as_posix() if inside else str(parent)
