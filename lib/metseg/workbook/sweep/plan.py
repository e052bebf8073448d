"""The points of a sweep: which notebook runs with which parameters, all checked before the first one runs."""

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from metseg.base.errors import MetsegError
from metseg.preprocessing.pipeline import clip_count
from metseg.training.config import TrainConfig, config_among
from metseg.workbook.parameters import check_against, defaults_of
from metseg.workbook.run import command_values, training_notebook
from metseg.workbook.sweep.spec import MOST_POINTS, SweepSpec

_LONGEST_NAME = 60


@dataclass(frozen=True)
class Point:
    """One training of a sweep."""

    varied: dict[str, Any]  # model, the parameters that the sweep varies, and seed
    values: dict[str, Any]  # all parameters of the notebook
    notebook: Path

    @property
    def name(self) -> str:
        """A short name for people that is no other point's: attention_unet-clip_limit2-focal-seed0."""
        parts, exact = [str(self.varied["model"])], True
        for key, value in self.varied.items():
            if key != "model":
                text, kept = _short(value)
                parts.append(text if isinstance(value, str) else f"{key}{text}")
                exact &= kept
        name = "-".join(parts)
        if exact and len(name) <= _LONGEST_NAME:
            return name
        return f"{name[:_LONGEST_NAME]}-{sha256(as_text(self.varied).encode()).hexdigest()[:8]}"


def as_text(value: Any) -> str:
    """Returns a parameter's value, or a mapping of them, as text that is always the same."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _short(value: Any) -> tuple[str, bool]:
    """Returns a value as a part of a folder's name, and whether that is the whole of it."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        text = re.sub(r"[\[\]\" ]", "", as_text(value)).replace(",", "x")
        return re.sub(r"[^\w.+-]", "_", text), isinstance(value, bool | list)
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    clean = re.sub(r"[^\w.+-]", "_", text)
    return clean, clean == text and (not isinstance(value, float) or float(text) == value)


class Plan:
    """A sweep over the notebooks of a folder; building one checks all of it.

    Attributes:
        spec: What sweep.yml says.
        base: {model: all parameters of its notebook that the sweep leaves alone}.
        notes: A sentence on each pair of values that make no difference.

    Raises:
        MetsegError: A network has no notebook, a parameter is unknown for one of them, or a value is not
            what it takes; of a search the ends of each interval are tried, and each choice.
    """

    def __init__(self, spec: SweepSpec, notebooks: Path):
        self.spec = spec
        self.notebooks = {model: training_notebook(model, notebooks) for model in spec.models}
        self._starts = {model: defaults_of(notebook) for model, notebook in self.notebooks.items()}
        self.base = {}
        for model, notebook in self.notebooks.items():
            check_against([self._starts[model]], spec.set)
            values = self._starts[model] | command_values(spec.profile, spec.set, [notebook])
            varied = {"seed", *spec.grid, *(spec.search.parameters if spec.search else ())}
            but = {*varied, "run_name", "output_dir"}  # the last two are the trial's own
            self.base[model] = {name: value for name, value in values.items() if name not in but}
            if "restart" in values:  # whatever is saved in the notebook
                self.base[model]["restart"] = False
        limits: dict[tuple, set[float]] = {}
        for point in self._to_be_checked():
            config = self._check(point)
            if config and (count := clip_count(config.preprocessing)):
                size = config.preprocessing.image_size, config.preprocessing.tile_grid
                limits.setdefault((*size, count), set()).add(config.preprocessing.clip_limit)
        self.notes = [
            f"clip_limit {' and '.join(f'{each:g}' for each in sorted(same))} are one and the same at "
            f"image_size {size} and tile_grid {tiles}, where OpenCV rounds both to {count} pixels of a tile"
            for (size, tiles, count), same in sorted(limits.items())
            if len(same) > 1
        ]

    @property
    def count(self) -> int:
        """How many trials there are to be."""
        sizes = [len(values) for values in self.spec.grid.values()]
        points = self.spec.search.trials if self.spec.search else math.prod([len(self.spec.models), *sizes])
        return points * len(self.spec.seeds)

    def grid(self) -> Iterator[Point]:
        """Returns the points of a grid, all of the first seed before those of the next one."""
        names, values = [*self.spec.grid], [*self.spec.grid.values()]
        for seed, model, *chosen in itertools.product(self.spec.seeds, self.spec.models, *values):
            yield self.point({"model": model, **dict(zip(names, chosen, strict=True))}, seed)

    def point(self, varied: Mapping[str, Any], seed: int) -> Point:
        """Returns the point of a network and its parameters."""
        start = self._starts[varied["model"]]
        chosen = {name: _as_declared(value, start.get(name)) for name, value in varied.items()}
        chosen["seed"] = seed
        return Point(chosen, {**self.base[varied["model"]], **chosen}, self.notebooks[varied["model"]])

    def declared(self, name: str) -> Any:
        """Returns the default of a parameter that a search varies."""
        return self._starts[self.spec.models[0]].get(name)

    def _to_be_checked(self) -> Iterator[Point]:
        if self.spec.search is None:
            if self.count > MOST_POINTS:
                raise MetsegError(f"the grid has {self.count} points; leave some out, or search")
            yield from self.grid()
            return
        ends = {name: each.ends for name, each in self.spec.search.parameters.items()}
        for model, seed in itertools.product(self.spec.models, self.spec.seeds):
            middle = {"model": model, **{name: values[0] for name, values in ends.items()}}
            for name, values in ends.items():
                for value in values:
                    yield self.point({**middle, name: value}, seed)

    def _check(self, point: Point) -> TrainConfig | None:
        try:
            check_against([self._starts[point.varied["model"]]], point.varied)
            if "data_dir" in point.values:
                return config_among(point.values)
        except MetsegError as error:
            raise MetsegError(f"{point.varied['model']}: {error}") from None


def _as_declared(value: Any, default: Any) -> Any:
    """An int for a float is that float, so that 2 and 2.0 are one point."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole and isinstance(default, float) else value
