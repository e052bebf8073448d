"""The workbook: its notebooks, their parameters, and how to run them unattended.

Every value is checked against the notebooks' own parameters cells before anything is written or started;
then each notebook runs in a process of its own, and its executed copy lies in the run's folder.
"""

import ast
import csv
import difflib
import io
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from metseg.errors import MetsegError
from metseg.files import shown, sole_writer, write_text
from metseg.notebook_process import run_notebook
from metseg.run_display import Event

_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_TYPES |= {list: "a list", tuple: "a list", dict: "a mapping", type(None): "no value"}


class Parameter(NamedTuple):
    """A name that a notebook's parameters cell assigns."""

    name: str
    default: Any
    help: str  # the comment behind the assignment


class _ParameterLoader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as in Python; PyYAML alone takes it for text."""


_ParameterLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def project_root() -> Path:
    """The checkout that holds notebooks/: around this package, or else the working directory."""
    for root in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (root / "notebooks").is_dir():
            return root
    raise MetsegError(f"no notebooks/ folder in {Path.cwd()}; change to the workbook's checkout first")


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
        if "model" in (parameters := notebook_parameters(notebook)):
            by_model[parameters["model"].default] = notebook
    if model not in by_model:
        raise MetsegError(f"no notebook trains '{model}'{_choices(model, by_model)}")
    return by_model[model]


def notebook_parameters(path: Path) -> dict[str, Parameter]:
    """The parameters of a notebook, read from its one cell tagged `parameters` without running it.

    The cell is read as Python, since papermill's own reader drops a line whose comment holds an equals sign
    and cuts a text at a hash; where papermill reads a line whole, both agree.

    Raises:
        MetsegError: The notebook is unreadable, has no such cell or several, or a default is no plain value.
    """
    path = Path(path)
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = _reason(error)
        raise MetsegError(f"{path} is not a readable notebook ({reason}); restore it from git") from None
    if len(tagged) != 1:
        count = "no cell" if not tagged else f"{len(tagged)} cells"
        raise MetsegError(f"{path.name} has {count} tagged 'parameters'; tag the one cell of its defaults")
    source = "".join(tagged[0]["source"])
    parameters = {}
    try:
        for statement in ast.parse(source).body:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            (name,) = (target.id for target in targets)
            last_line = source.splitlines()[statement.end_lineno - 1].encode()
            comment = last_line[statement.end_col_offset :].decode().partition("#")[2].strip()
            parameters[name] = Parameter(name, ast.literal_eval(statement.value), comment)
    except (SyntaxError, ValueError, AttributeError, TypeError):
        raise MetsegError(
            f"the parameters cell of {path.name} is more than plain values; write one NAME = VALUE a line"
        ) from None
    return parameters


def read_profile(name: str, folder: Path) -> dict[str, Any]:
    """The values of a profile, params/<name>.yml beside the notebooks; quick is their own defaults."""
    files = {path.stem: path for path in sorted((Path(folder) / "params").glob("*.yml"))}
    if name not in files:
        if name == "quick":
            return {}
        raise MetsegError(f"no profile '{name}'{_choices(name, {'quick', *files})}")
    try:
        values = yaml.load(files[name].read_text(encoding="utf-8"), Loader=_ParameterLoader) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise MetsegError(f"{shown(files[name])} is not readable YAML: {_reason(error)}; mend it") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise MetsegError(f"{shown(files[name])} is no mapping of parameters; write one NAME: VALUE a line")
    return values


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Parameters as typed on a command line: ["epochs=3", "filters=[8,16]"], the values being YAML."""
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        try:
            if not equals or not name.strip().isidentifier():
                raise ValueError
            values[name.strip()] = yaml.load(text, Loader=_ParameterLoader)
        except (ValueError, yaml.YAMLError):
            raise MetsegError(f"'{assignment}' is not NAME=VALUE; write it like epochs=3") from None
    return values


def check_parameters(values: Mapping[str, Any], notebooks: Iterable[Path]) -> None:
    """Checks that each value has a name that one of the notebooks declares and fits the type of its default.

    Raises:
        MetsegError: A name is unknown, or a value has another type: an int passes for a float, a list for a
            tuple, anything for a default of None; text never passes for a number.
    """
    declared: dict[str, list[Any]] = {}
    for notebook in notebooks:
        for parameter in notebook_parameters(notebook).values():
            declared.setdefault(parameter.name, []).append(parameter.default)
    for name, value in values.items():
        if name not in declared:
            raise MetsegError(f"no parameter '{name}'{_choices(name, declared)}")
        for default in declared[name]:
            if not _fits(value, default):
                example = list(default) if isinstance(default, tuple) else default
                got, expected = _TYPES.get(type(value), type(value).__name__), _TYPES.get(type(default))
                raise MetsegError(f"{name} is {value!r} ({got}) but must be {expected} such as {example!r}")


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
        values: Parameters; each notebook gets those that it declares. `run_name` and `output_dir` are not
            taken from here: they always follow from the run folder.
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
    copies = [run_folder / "notebooks" / notebook.name for notebook in notebooks]
    with sole_writer(run_folder):
        for position, (notebook, copy) in enumerate(zip(notebooks, copies, strict=True), start=1):
            copy.parent.mkdir(exist_ok=True)
            declared = notebook_parameters(notebook)
            given = {**values, "run_name": run_folder.name, "output_dir": _output_dir(run_folder, notebook)}
            given = {name: value for name, value in given.items() if name in declared}
            model = given.get("model", declared["model"].default if "model" in declared else None)
            event = Event("started", run_folder.name, notebook, position, len(notebooks))
            started = time.monotonic()

            def report(kind: str, event: Event = event, started: float = started, **details: Any) -> None:
                on_event(replace(event, kind=kind, seconds=time.monotonic() - started, **details))

            report("started")
            progress_file = run_folder / str(model) / "progress.json" if model is not None else None
            run_notebook(notebook, copy, given, progress_file=progress_file, report=report)
            report("finished")
    return copies


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
        cells = {name: json.dumps(value, default=str) for name, value in combination.items()}
        rows.append({"run": f"{run_folder.name}-{k}", "status": "waiting"} | cells)
    table = run_folder / "sweep.csv"
    with sole_writer(run_folder):
        text = table.read_text(encoding="utf-8") if table.is_file() else ""
        for row in csv.DictReader(io.StringIO(text)):
            rows = [row if row == {**new, "status": "finished"} else new for new in rows]
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
    if failed := [row["run"] for row in rows if row["status"] != "finished"]:
        raise MetsegError(
            f"{len(failed)} of {len(rows)} runs failed ({', '.join(failed)}); mend the cause that "
            f"{shown(table)} gives and sweep again: finished runs are skipped"
        )
    return table


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


def _fits(value: Any, default: Any) -> bool:
    if default is None:
        return True
    if isinstance(default, list | tuple):
        if not isinstance(value, list | tuple):
            return False
        return not default or all(any(_fits(v, d) for d in default) for v in value)
    return type(value) is type(default) or (type(default) is float and type(value) is int)


def _choices(name: str, valid: Iterable[str]) -> str:
    """The nearest valid name, if any is near, and all of them."""
    names = sorted(str(candidate) for candidate in valid)
    close = difflib.get_close_matches(str(name), names, n=1)
    return (f" (did you mean {close[0]}?)" if close else "") + f"; valid: {', '.join(names) or 'none'}"


def _reason(error: Exception) -> str:
    """The cause of an error in one line."""
    return " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())
