"""A sweep as it is written: sweep.yml, read and checked."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from metseg.base.errors import MetsegError
from metseg.base.files import shown
from metseg.base.paths import checked_run_name
from metseg.base.recipe import choices, read_value, reason

MOST_POINTS = 100_000
# What a sweep decides itself, and how.
DECIDED = {
    "model": "name networks under models",
    "seed": "name seeds under seeds",
    "run_name": "each trial has its own",
    "output_dir": "use the option --output-dir",
    "restart": "give the sweep another name",
    "recipe": "name it as profile",
}
# What pydantic calls a value of another kind, in a reader's words.
_KINDS = {
    "list_type": "a list, such as [0, 1]",
    "dict_type": "a mapping, such as {epochs: 4}",
    "model_type": "a mapping, such as {low: 0.1, high: 0.2}",
    "string_type": "a text; put quotes around it",
    "too_short": "one value or more",
} | dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number")
_KINDS |= dict.fromkeys(("float_type", "float_parsing"), "a number")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Range(_Part):
    """Numbers from one to another, both included where the step meets them."""

    first: float = Field(alias="from", allow_inf_nan=False)
    last: float = Field(alias="to", allow_inf_nan=False)
    step: float = Field(gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _holds_some(self) -> "Range":
        if self.last < self.first:
            raise ValueError(f"from {self.first:g} to {self.last:g} is an empty range; swap them")
        if (self.last - self.first) / self.step > MOST_POINTS:
            raise ValueError(f"a step of {self.step:g} makes more than {MOST_POINTS} values; enlarge it")
        return self

    @property
    def values(self) -> list[float | int]:
        count = int((self.last - self.first) / self.step + 1e-9) + 1
        found = [round(self.first + k * self.step, 12) for k in range(count)]  # not 0.30000000000000004
        whole = all(each.is_integer() for each in (self.first, self.step))
        return [int(each) for each in found] if whole else found


class Sampled(_Part):
    """What a search draws a parameter from: an interval, or choices."""

    low: int | float | None = Field(None, allow_inf_nan=False)
    high: int | float | None = Field(None, allow_inf_nan=False)
    log: bool = False
    choices: list[Any] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _one_of_both(self) -> "Sampled":
        if (self.choices is None) != (self.low is not None and self.high is not None):
            raise ValueError("give either low and high, or choices")
        if self.choices is None:
            if self.low >= self.high:
                raise ValueError(f"low {self.low:g} to high {self.high:g} is an empty range")
            if self.log and self.low <= 0:
                raise ValueError(f"low {self.low:g} has no logarithm; start above 0, or leave log out")
        return self

    @property
    def ends(self) -> list[Any]:
        """All choices, or the two ends of the interval."""
        return [self.low, self.high] if self.choices is None else self.choices


class Search(_Part):
    """Points that are chosen one after the other."""

    parameters: dict[str, Sampled] = Field(min_length=1)
    sampler: Literal["random", "tpe"] = "tpe"
    trials: int = Field(ge=1, le=MOST_POINTS)
    seed: int = Field(0, ge=0)
    pruner: Literal["none", "epochs", "patients"] = "none"

    @field_validator("parameters", mode="before")
    @classmethod
    def _lists_are_choices(cls, found: Any) -> Any:
        named = isinstance(found, dict)
        return {k: {"choices": v} if isinstance(v, list) else v for k, v in found.items()} if named else found


class SweepSpec(_Part):
    """What sweep.yml says."""

    name: str
    models: list[str] = Field(min_length=1)
    profile: str = "quick"
    set: dict[str, Any] = {}  # what all trials share
    grid: dict[str, list[Any]] = {}  # every combination of these values
    search: Search | None = None
    seeds: list[int] = Field([0], min_length=1)

    @field_validator("grid", mode="before")
    @classmethod
    def _ranges_are_lists(cls, found: Any) -> Any:
        if not isinstance(found, dict):
            return found
        return {name: _listed(name, values) for name, values in found.items()}

    @model_validator(mode="after")
    def _sensible(self) -> "SweepSpec":
        if self.grid and self.search:
            raise ValueError("give grid or search, not both")
        if self.search and self.search.pruner == "patients" and len(self.seeds) < 2:
            raise ValueError("search.pruner patients saves further seeds; give two seeds or more")
        varied = self.search.parameters if self.search else self.grid
        for name, values in self.grid.items():
            if not values:
                raise ValueError(f"grid.{name} is empty; give it one value or more")
        for name in (*self.set, *varied):
            if name in DECIDED:
                raise ValueError(f"{name} is no parameter to set here: {DECIDED[name]}")
        if both := sorted(self.set.keys() & varied.keys()):
            raise ValueError(f"{both[0]} is under set and varied as well; leave one out")
        lists = {"models": self.models, "seeds": self.seeds, **{f"grid.{k}": v for k, v in self.grid.items()}}
        for name, values in lists.items():
            if twice := [each for k, each in enumerate(values) if each in values[:k]]:
                raise ValueError(f"{name} has {twice[0]!r} twice; leave one out")
        return self


def read_spec(path: Path) -> SweepSpec:
    """Reads a sweep.yml.

    Raises:
        MetsegError: In one sentence, the first thing that is wrong and what it may be.
    """
    path = Path(path)
    try:
        found = read_value(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MetsegError(
            f"cannot read {shown(path)} ({error.strerror or error}); give another path"
        ) from None
    except (ValueError, yaml.YAMLError) as error:
        raise MetsegError(f"{shown(path)} is not readable YAML: {reason(error)}; mend it") from None
    if not isinstance(found, dict):
        raise MetsegError(f"{shown(path)} is no mapping; write name:, models: and grid: or search:")
    try:
        spec = SweepSpec.model_validate(found)
        checked_run_name(spec.name)
    except ValidationError as error:
        raise MetsegError(f"{shown(path)}: {_sentence(error)}") from None
    except MetsegError as error:
        raise MetsegError(f"{shown(path)}: {error}") from None
    return spec


def _listed(name: str, values: Any) -> Any:
    try:
        return Range.model_validate(values).values if isinstance(values, dict) else values
    except ValidationError as error:
        raise ValueError(f"{name}: {_sentence(error, Range)}") from None


def _sentence(error: ValidationError, part: type[BaseModel] | None = None) -> str:
    first = error.errors()[0]
    where, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    where = where.removesuffix(".[key]")
    if told := _KINDS.get(first["type"]):
        return f"{where} is {_brief(first['input'])}, but must be {told}"
    if first["type"] == "missing":
        return f"'{where}' is missing; give it a value"
    if first["type"] == "extra_forbidden":
        *home, name = first["loc"]
        return f"no entry '{where}'{choices(name, _entries(part or _part_at(home)))}"
    return f"{where}: {message}" if where else message


def _brief(value: Any) -> str:
    text = "empty" if value in (None, [], {}, "") else repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def _part_at(home: list[str | int]) -> type[BaseModel]:
    return {(): SweepSpec, ("search",): Search}.get(tuple(home), Sampled)


def _entries(part: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in part.model_fields.items()]
