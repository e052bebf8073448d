"""The configuration of a training notebook: its own names, over the recipe that it names."""

import ast
import difflib
from collections.abc import Mapping
from contextlib import suppress

from metseg.base.errors import MetsegError
from metseg.base.paths import located
from metseg.base.recipe import notebook_settings
from metseg.training.config import PARAMETERS, TrainConfig, train_config

_PLAIN = (bool, int, float, str, list, tuple, dict, type(None))


def notebook_config(names: Mapping[str, object]) -> TrainConfig:
    """Returns the configuration of a notebook: `notebook_config(globals())`.

    A name in the notebook wins over the recipe that the notebook names (`notebook_settings`). What papermill
    makes of a typed value is made good: a list that it passes as text, and a folder's name of digits that it
    passes as a number.

    Raises:
        MetsegError: A value does not fit, or a name is so near to a parameter's that it was meant; it would
            silently have kept its default.
    """
    settings = vars(notebook_settings(names))
    _complain_of_misspelt({name: value for name, value in names.items() if name not in settings})
    known = {**settings, **names}
    values = {name: known[name] for name in PARAMETERS if name in known}
    if isinstance(values.get("filters"), str):
        with suppress(ValueError, SyntaxError):
            values["filters"] = ast.literal_eval(values["filters"])
    if values.get("model") != "nested_unet":
        values.pop("deep_supervision", None)  # in a recipe for all networks it is meant for this one
    if isinstance(values.get("data_dir"), str | int):
        values["data_dir"] = located(str(values["data_dir"])).as_posix()
    return train_config(**values)


def _complain_of_misspelt(names: Mapping[str, object]) -> None:
    known = [*PARAMETERS, "run_name", "output_dir", "cache_dir", "restart", "recipe"]
    for name, value in names.items():
        if name in known or name.startswith("_") or not isinstance(value, _PLAIN):
            continue
        if near := difflib.get_close_matches(name, known, n=1, cutoff=0.8):
            raise MetsegError(
                f"{name!r} is no parameter (did you mean {near[0]}?); rename it, and restart the kernel"
            )
