"""Notebook parameters: read from the notebooks, taken from profiles and command lines, checked before use."""

import ast
import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from metseg.base.errors import MetsegError
from metseg.base.files import shown

RECIPE = "quick"  # the profile from which all commands start
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


def defaults_of(notebook: Path) -> dict[str, Any]:
    """What commands start from: a value for each parameter that a notebook declares.

    It is the recipe's, params/quick.yml beside the notebook, so that what a person saved in the notebook's
    own cell changes no command; the cell counts for what the recipe does not name.
    """
    recipe = _recipe_for(notebook)
    return {name: recipe.get(name, each.default) for name, each in notebook_parameters(notebook).items()}


def edited_parameters(notebook: Path) -> dict[str, tuple[Any, Any]]:
    """{name: (value in the notebook's saved cell, value that commands start from)} where the two differ."""
    saved, start = notebook_parameters(notebook), defaults_of(notebook)
    return {name: (saved[name].default, start[name]) for name in start if saved[name].default != start[name]}


def _recipe_for(notebook: Path) -> dict[str, Any]:
    """What the recipe says to one notebook; a section under its name is for it alone."""
    path = Path(notebook).parent / "params" / f"{RECIPE}.yml"
    values = _read_values(path) if path.is_file() else {}
    own = values.get(Path(notebook).stem)
    return {**values, **(own if isinstance(own, dict) else {})}


def read_profile(name: str, folder: Path) -> dict[str, Any]:
    """The values of a profile, params/<name>.yml beside the notebooks, over the recipe's.

    `quick` is the recipe itself, which commands start from anyway, and has none.
    """
    files = {path.stem: path for path in sorted((Path(folder) / "params").glob("*.yml"))}
    if name == RECIPE:
        return {}
    if name not in files:
        raise MetsegError(f"no profile '{name}'{choices(name, {RECIPE, *files})}")
    return _read_values(files[name])


def _read_values(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_ParameterLoader) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise MetsegError(f"{shown(path)} is not readable YAML: {_reason(error)}; mend it") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise MetsegError(f"{shown(path)} is no mapping of parameters; write one NAME: VALUE a line")
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
        for name, default in defaults_of(notebook).items():
            declared.setdefault(name, []).append(default)
    for name, value in values.items():
        if name not in declared:
            raise MetsegError(f"no parameter '{name}'{choices(name, declared)}")
        for default in declared[name]:
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
    """A parameter's value; of a list or a mapping papermill's -p passes the text, which is read here."""
    if not isinstance(value, str):
        return value
    try:
        return yaml.load(value, Loader=_ParameterLoader)
    except yaml.YAMLError:
        raise MetsegError(f"{value!r} is no list or mapping; write it like [1, 2] or {{epochs: 3}}") from None


def choices(name: str, valid: Iterable[str]) -> str:
    """The nearest valid name, if any is near, and all of them."""
    names = sorted(str(candidate) for candidate in valid)
    close = difflib.get_close_matches(str(name), names, n=1)
    return (f" (did you mean {close[0]}?)" if close else "") + f"; valid: {', '.join(names) or 'none'}"


def _reason(error: Exception) -> str:
    """The cause of an error in one line."""
    return " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())
