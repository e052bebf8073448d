"""Notebook parameters: read from cells and recipes, taken from command lines, checked before use."""

import ast
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from metseg.base.errors import MetsegError
from metseg.base.recipe import START, choices, read_changes, read_value, reason
from metseg.training.config import PARAMETERS

# What a notebook takes whose cell names a recipe, beside its cell's own names.
_OF_THE_RECIPE = {*PARAMETERS, "output_dir", "cache_dir", "restart", "channel"}


def notebook_parameters(path: Path) -> dict[str, Any]:
    """Returns {name: default} that a notebook's one cell tagged `parameters` assigns, without running it.

    Raises:
        MetsegError: The notebook is unreadable, has no such cell or several, or a default is no plain value.
    """
    path = Path(path)
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MetsegError(f"{path} is not a readable notebook ({reason(error)}); restore it") from None
    if len(tagged) != 1:
        count = "no cell" if not tagged else f"{len(tagged)} cells"
        raise MetsegError(f"{path.name} has {count} tagged 'parameters'; tag the one cell of its defaults")
    parameters = {}
    try:
        for statement in ast.parse("".join(tagged[0]["source"])).body:
            (target,) = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            parameters[target.id] = ast.literal_eval(statement.value)
    except (SyntaxError, ValueError, AttributeError, TypeError):
        raise MetsegError(
            f"the parameters cell of {path.name} is more than plain values; write one NAME = VALUE a line"
        ) from None
    return parameters


def defaults_of(notebook: Path) -> dict[str, Any]:
    """Returns {parameter: value} that commands start from, of all parameters that a notebook takes.

    The values are those of `params/quick.yml` beside the notebook, where a section under its name is for it
    alone; its cell, which a person may have edited, counts for what that recipe does not name. A notebook
    whose cell names a recipe takes all that decides a training.
    """
    notebook = Path(notebook)
    path = notebook.parent / "params" / f"{START}.yml"
    recipe = read_changes(path) if path.is_file() else {}
    recipe |= recipe.get(notebook.stem) or {}
    declared = notebook_parameters(notebook)
    taken = [*declared, *(name for name in recipe if "recipe" in declared and name in _OF_THE_RECIPE)]
    values = {name: recipe.get(name, declared.get(name)) for name in taken}
    if values.get("model", "nested_unet") != "nested_unet":
        values.pop("deep_supervision", None)
    return values


def edits_told(notebooks: Iterable[Path]) -> list[str]:
    """Returns a line for each value saved in a cell that no command follows: somebody meant it to count."""
    return [
        f"note: {notebook.name} has {name} = {value!r}, which is for JupyterLab; commands start from "
        f"{start[name]!r}, see params/{START}.yml (--set {name}=...)"
        for notebook, start in ((notebook, defaults_of(notebook)) for notebook in notebooks)
        for name, value in notebook_parameters(notebook).items()
        if value != start.get(name, value)
    ]


def read_profile(name: str, folder: Path) -> dict[str, Any]:
    """Returns what a profile, params/<name>.yml beside the notebooks, changes; `quick` changes nothing."""
    files = {path.stem: path for path in sorted((Path(folder) / "params").glob("*.yml"))}
    if name == START:
        return {}
    if name not in files:
        raise MetsegError(f"no profile '{name}'{choices(name, {START, *files})}")
    return read_changes(files[name])


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Returns parameters as typed on a command line, ["epochs=3", "filters=[8,16]"]; the values are YAML."""
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        try:
            if not equals or not name.strip().isidentifier():
                raise ValueError
            name = name.strip()
            values[name] = text.strip() if name == "target" else read_value(text)  # of one label 3 is text
        except (ValueError, yaml.YAMLError):
            raise MetsegError(f"'{assignment}' is not NAME=VALUE; write it like epochs=3") from None
    return values


def check_parameters(values: Mapping[str, Any], notebooks: Iterable[Path]) -> None:
    """Checks that each value has a name that one of the notebooks takes and fits the type of its default.

    Raises:
        MetsegError: A name is unknown, or a value has another type: an int passes for a float, a list for a
            tuple, anything for a default of None; text never passes for a number.
    """
    check_against([defaults_of(notebook) for notebook in notebooks], values)


def check_against(starts: Iterable[Mapping[str, Any]], values: Mapping[str, Any]) -> None:
    """Checks values as `check_parameters` does, by what `defaults_of` returned for the notebooks."""
    known: dict[str, list[Any]] = {}
    for start in starts:
        for name, default in start.items():
            known.setdefault(name, []).append(list(default) if isinstance(default, tuple) else default)
    for name, value in values.items():
        if name not in known:
            raise MetsegError(f"no parameter '{name}'{choices(name, known)}")
        for default in known[name]:
            if not _fits(value, default):
                raise MetsegError(f"{name} is {value!r}, but must be of the kind of {default!r}")


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, list):
        is_list = isinstance(value, list | tuple)
        return is_list and (not default or all(any(_fits(v, d) for d in default) for v in value))
    return default is None or type(value) is type(default) or (type(default), type(value)) == (float, int)


def as_typed(value: Any) -> Any:
    """Returns a parameter's value; of a list papermill's -p passes the text, which is read here."""
    try:
        return read_value(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        raise MetsegError(f"{value!r} is no list; write it like [1, 2]") from None
