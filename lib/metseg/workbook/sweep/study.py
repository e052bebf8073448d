"""Optuna studies: opened, and written anew where a parameter gets choices that it did not have.

Optuna lets a parameter's choices never change within a study. So its finished trials are copied to a second
one, and back to a new one of the first one's name; killed anywhere, the next start goes on with that.
"""

from collections.abc import Callable, Mapping

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import BaseStorage

_COPY = " (copy)"


def opened(
    storage: BaseStorage, name: str, check: Callable[[optuna.Study], None] = lambda study: None
) -> optuna.Study:
    """Returns a study of a storage, which is made if it is not there.

    Args:
        storage: Where it is kept.
        name: Of the study.
        check: Called with it, and with its copy, before either is touched; may raise.
    """
    names = optuna.get_all_study_names(storage)
    for each in {name, name + _COPY}.intersection(names):
        check(optuna.load_study(study_name=each, storage=storage))
    if name + _COPY in names:
        copy = optuna.load_study(study_name=name + _COPY, storage=storage)
        if copy.user_attrs.get("whole"):
            return _moved(copy, storage, name)
        optuna.delete_study(study_name=copy.study_name, storage=storage)
    return _loaded(storage, name)


def with_choices(study: optuna.Study, distributions: Mapping[str, BaseDistribution]) -> optuna.Study:
    """Returns a study whose parameters have these choices; what waits or runs is lost if they differ."""
    labelled = {k: v for k, v in distributions.items() if isinstance(v, CategoricalDistribution)}
    trials = study.get_trials(deepcopy=False)
    if all(each.distributions.get(k, v) == v for each in trials for k, v in labelled.items()):
        return study
    storage, name = study._storage, study.study_name
    copy = _loaded(storage, name + _COPY)
    _copy(study, copy, labelled)
    copy.set_user_attr("whole", True)
    return _moved(copy, storage, name)


def _moved(copy: optuna.Study, storage: BaseStorage, name: str) -> optuna.Study:
    if name in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=name, storage=storage)
    study = _loaded(storage, name)
    _copy(copy, study, {})
    optuna.delete_study(study_name=copy.study_name, storage=storage)
    return study


def _copy(source: optuna.Study, target: optuna.Study, changed: Mapping[str, BaseDistribution]) -> None:
    for name, value in source.user_attrs.items():
        if name != "whole":
            target.set_user_attr(name, value)
    for trial in source.get_trials():
        if trial.state.is_finished():
            trial.distributions |= {k: v for k, v in changed.items() if k in trial.params}
            target.add_trial(trial)


def _loaded(storage: BaseStorage, name: str) -> optuna.Study:
    return optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)
