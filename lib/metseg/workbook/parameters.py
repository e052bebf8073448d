"""Notebook parameters: read from cells and recipes, taken from command lines, checked before use."""

import ast
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from metseg.base.errors import MetsegError
from metseg.base.recipe import START, choices, read_changes, read_value, reason
from metseg.training.config import PARAMETERS

_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_TYPES |= {list: "a list", tuple: "a list", dict: "a mapping", type(None): "no value"}
# What a notebook takes whose cell names a recipe, beside its cell's own names.
_OF_THE_RECIPE = {*PARAMETERS, "output_dir", "cache_dir", "restart", "channel"}


class Parameter(NamedTuple):
    """A name that a notebook's parameters cell assigns."""

    name: str
    default: Any
    help: str  # the comment behind the assignment


def notebook_parameters(path: Path) -> dict[str, Parameter]:
    """Returns what a notebook's one cell tagged `parameters` assigns, without running it.

    The cell is read as Python: papermill's own reader drops a line whose comment holds an equals sign, and
    cuts a text at a hash.

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


def defaults_of(notebook: Path) -> dict[str, Any]:
    """Returns {parameter: value} that commands start from, of all parameters that a notebook takes.

    The values are those of `params/quick.yml` beside the notebook, where a section under the notebook's name
    is for it alone, so that what a person saved in its cell changes no command; the cell counts for what
    that recipe does not name. A notebook whose cell names a recipe takes all that decides a training.
    """
    notebook = Path(notebook)
    path = notebook.parent / "params" / f"{START}.yml"
    recipe = read_changes(path) if path.is_file() else {}
    recipe |= recipe.get(notebook.stem) or {}
    declared = {name: each.default for name, each in notebook_parameters(notebook).items()}
    taken = [*declared, *(name for name in recipe if "recipe" in declared and name in _OF_THE_RECIPE)]
    values = {name: recipe.get(name, declared.get(name)) for name in taken}
    if values.get("model", "nested_unet") != "nested_unet":
        values.pop("deep_supervision", None)
    return values


def edits_told(notebooks: Iterable[Path]) -> list[str]:
    """Returns a line for each value saved in a cell that no command follows: somebody meant it to count."""
    lines = []
    for notebook in notebooks:
        start = defaults_of(notebook)
        lines += [
            f"note: {notebook.name} has {name} = {each.default!r}, which is for JupyterLab; commands start "
            f"from {start[name]!r}, see params/{START}.yml (--set {name}=...)"
            for name, each in notebook_parameters(notebook).items()
            if name in start and each.default != start[name]
        ]
    return lines


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
            values[name.strip()] = read_value(text)
        except (ValueError, yaml.YAMLError):
            raise MetsegError(f"'{assignment}' is not NAME=VALUE; write it like epochs=3") from None
    return values


def check_parameters(values: Mapping[str, Any], notebooks: Iterable[Path]) -> None:
    """Checks that each value has a name that one of the notebooks takes and fits the type of its default.

    Raises:
        MetsegError: A name is unknown, or a value has another type: an int passes for a float, a list for a
            tuple, anything for a default of None; text never passes for a number.
    """
    known: dict[str, list[Any]] = {}
    for notebook in notebooks:
        for name, default in defaults_of(notebook).items():
            known.setdefault(name, []).append(default)
    for name, value in values.items():
        if name not in known:
            raise MetsegError(f"no parameter '{name}'{choices(name, known)}")
        for default in known[name]:
            if not _fits(value, default):
                example = list(default) if isinstance(default, tuple) else default
                got, expected = _type_of(value), _type_of(default)
                raise MetsegError(f"{name} is {value!r} ({got}) but must be {expected} such as {example!r}")


def _type_of(value: Any) -> str:
    name = _TYPES.get(type(value), type(value).__name__)
    if isinstance(value, list | tuple) and value:
        name += " with " + _TYPES.get(type(value[0]), type(value[0]).__name__)
    return name


def _fits(value: Any, default: Any) -> bool:
    if default is None:
        return True
    if isinstance(default, list | tuple):
        if not isinstance(value, list | tuple):
            return False
        return not default or all(any(_fits(v, d) for d in default) for v in value)
    return type(value) is type(default) or (type(default) is float and type(value) is int)


def as_typed(value: Any) -> Any:
    """Returns a parameter's value; of a list papermill's -p passes the text, which is read here."""
    try:
        return read_value(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        raise MetsegError(f"{value!r} is no list; write it like [1, 2]") from None
