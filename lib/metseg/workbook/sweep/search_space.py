"""A sweep's parameters as Optuna has them: numbers from intervals, and labels."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from metseg.workbook.sweep.plan import Plan, as_text
from metseg.workbook.sweep.spec import Sampled, SweepSpec

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

_FIRST = 4  # trials that are held against nobody


def as_label(value: Any) -> Any:
    """Returns a parameter's value as Optuna keeps it: a list as text."""
    return as_text(value) if isinstance(value, list | tuple | dict) else value


def from_labels(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {parameter: value} of what Optuna kept."""
    is_text = {name: isinstance(each, str) and each[:1] in ("[", "{") for name, each in params.items()}
    return {name: json.loads(each) if is_text[name] else each for name, each in params.items()}


def distributions(plan: Plan) -> "dict[str, BaseDistribution]":
    """Returns {parameter: what it is drawn from} of all that a sweep varies but the seed, the model first."""
    from optuna.distributions import CategoricalDistribution

    spec = plan.spec
    found = {"model": CategoricalDistribution(spec.models)}
    varied = spec.search.parameters if spec.search else spec.grid
    return found | {name: _distribution(each, plan.declared(name)) for name, each in varied.items()}


def _distribution(values: Sampled | list[Any], default: Any) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    is_grid = isinstance(values, list)
    ends, log = (values, False) if is_grid else (values.ends, values.log)
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in ends)
    if not numbers or (not is_grid and values.choices is not None):
        return CategoricalDistribution([as_label(each) for each in ends])
    whole = all(isinstance(each, int) for each in ends) and not isinstance(default, float)
    return (IntDistribution if whole else FloatDistribution)(min(ends), max(ends), log=log)


def sampler_of(spec: SweepSpec, *, after: int) -> "BaseSampler":
    """Returns what chooses a search's points.

    Args:
        spec: What sweep.yml says.
        after: Trials so far: a second start must not draw what the first one drew.
    """
    from optuna.samplers import RandomSampler, TPESampler

    if spec.search is None:
        return RandomSampler()
    seed = (spec.search.seed * 1_000_003 + after) % 2**32
    return RandomSampler(seed) if spec.search.sampler == "random" else TPESampler(seed=seed)


def pruner_of(spec: SweepSpec) -> "BasePruner":
    """Returns what gives trials up: by the median of others at the same epoch, or by paired patients."""
    from optuna.pruners import MedianPruner, NopPruner, WilcoxonPruner

    kind = spec.search.pruner if spec.search else "none"
    if kind == "epochs":
        return MedianPruner(n_startup_trials=_FIRST, n_warmup_steps=2)
    return WilcoxonPruner(p_threshold=0.1, n_startup_steps=_FIRST) if kind == "patients" else NopPruner()
