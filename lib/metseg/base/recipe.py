"""Recipes: YAML files beside the notebooks that name parameters and their values.

`quick.yml` names every parameter once and is what all commands start from; any other one names what it
changes.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from metseg.base.errors import MetsegError
from metseg.base.files import shown
from metseg.base.paths import notebooks_dir

START = "quick"
RECIPE = f"params/{START}.yml"  # where a notebook's cell names none


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as in Python, and no name stands twice.

    PyYAML alone takes the first for text, and of the second all but the last for nothing.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise yaml.YAMLError(f"line {line} names '{key.value}' twice in one mapping")
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_value(text: str) -> Any:
    """Returns a value as it is typed on a command line; raises `yaml.YAMLError` if it is none."""
    return yaml.load(text, Loader=_Loader)


def read_changes(path: Path) -> dict[str, Any]:
    """Returns {parameter: value} of what one recipe names itself.

    Raises:
        MetsegError: It cannot be read, or names a parameter that `quick.yml` beside it does not have.
    """
    try:
        values = read_value(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise MetsegError(f"{shown(path)} is not readable YAML: {reason(error)}; mend it") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise MetsegError(f"{shown(path)} is no mapping of parameters; write one NAME: VALUE a line")
    start = path.with_name(f"{START}.yml")
    if path != start and start.is_file():
        known = read_changes(start)
        if unknown := sorted(values.keys() - known.keys()):
            raise MetsegError(f"{shown(path)}: no parameter '{unknown[0]}'{choices(unknown[0], known)}")
    return values


def read_recipe(path: Path) -> dict[str, Any]:
    """Returns {parameter: value} of a recipe, over those of `quick.yml` beside it."""
    start = path.with_name(f"{START}.yml")
    return {**(read_changes(start) if start.is_file() else {}), **read_changes(path)}


def notebook_settings(names: Mapping[str, Any]) -> SimpleNamespace:
    """Returns all parameters of a notebook: `notebook_settings(globals())`.

    The notebook's own names, typed into its cell or passed by papermill, win over the recipe that its cell
    names.
    """
    recipe = Path(names.get("recipe") or RECIPE)
    values = read_recipe(recipe if recipe.is_file() else notebooks_dir() / recipe)
    return SimpleNamespace(**{name: names.get(name, value) for name, value in values.items()})


def choices(name: str, valid: Iterable[str]) -> str:
    """Returns the nearest valid name, if any is near, and all of them."""
    names = sorted(str(candidate) for candidate in valid)
    close = difflib.get_close_matches(str(name), names, n=1)
    return (f" (did you mean {close[0]}?)" if close else "") + f"; valid: {', '.join(names) or 'none'}"


def reason(error: Exception) -> str:
    """Returns the cause of an error in one line."""
    return " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())
