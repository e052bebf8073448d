"""Patients into training, validation and test; never a patient in two of them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, taking_apart, write_json


@dataclass(frozen=True)
class Split:
    """Patients by role."""

    train: tuple[str, ...]
    validation: tuple[str, ...]  # they choose the epoch and every setting
    test: tuple[str, ...]  # held out for the final figures
    seed: int  # of the shuffle
    fingerprint: str  # of the data
    left_out: tuple[str, ...] = ()  # learned from by nobody and never scored, see `train_patients`

    def __post_init__(self):
        roles = self.patients
        if len(roles) > len(set(roles)):
            raise ValueError("a patient is in two sets")

    @property
    def patients(self) -> list[str]:
        """All of them."""
        return [*self.train, *self.validation, *self.test, *self.left_out]


def split_by_patient(
    patients: Iterable[str],
    *,
    with_lesion: Iterable[str],
    fingerprint: str,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.15,
    seed: int = 0,
    train_patients: int = 0,
) -> Split:
    """Holds out patients for the test, and others for validation; their order and repetition do not matter.

    Each set gets its share of the patients with a lesion, one at least, and of those without.

    Args:
        test_fraction: Share of all patients held out, at least one; 0 holds nobody out.
        validation_fraction: Share of all patients for validation, at least one.
        train_patients: So many of the others to learn from, 0 for all. More of them hold the fewer, and
            validation and test are the same: trainings differ in nothing else.

    Raises:
        MetsegError: Fewer than three patients would be left to share out, or too few have a lesion.
    """
    lesion, free = _shuffled(patients, with_lesion, seed)
    total, needed = len(lesion) + len(free), 3 if test_fraction else 2
    if free and len(lesion) < needed:
        roles = (
            "training, validation and test need one each"
            if test_fraction
            else "training and validation need one each"
        )
        remedy = "set test_fraction to 0, or " if test_fraction and len(lesion) == 2 else ""
        raise _few(lesion, total, f"{roles}; {remedy}")
    n_test = max(1, round(total * test_fraction)) if test_fraction else 0
    test = _share(lesion, free, n_test, test_fraction * len(lesion), kept=2) if n_test else []
    size = _validation_size(total, n_test, validation_fraction)
    split = _assigned(lesion, free, test, size, validation_fraction, seed, fingerprint)
    return _learning_from(train_patients, lesion, free, split)


def kfold_by_patient(
    patients: Iterable[str],
    *,
    with_lesion: Iterable[str],
    fingerprint: str,
    folds: int = 5,
    validation_fraction: float = 0.15,
    seed: int = 0,
    train_patients: int = 0,
) -> list[Split]:
    """Splits patients `folds` times so that each is tested exactly once; arguments as `split_by_patient`."""
    lesion, free = _shuffled(patients, with_lesion, seed)
    ordered, splits = lesion + free, []
    if not 2 <= folds <= len(ordered):
        raise MetsegError(f"folds={folds} but there are {len(ordered)} patients; choose 2 to {len(ordered)}")
    # One to test in each fold, and two of the others. With three folds or more there always are.
    needed = max(folds, 4 if folds == 2 else 3)
    if free and len(lesion) < needed:
        remedy = "choose fewer folds, or " if 3 <= len(lesion) < folds else ""
        raise _few(lesion, len(ordered), f"folds={folds} needs {needed} such patients; {remedy}")
    for k in range(folds):
        # So that the folds differ in validation patients too.
        starts = [(each, k * len(each) // folds) for each in (lesion, free)]
        turned = [each[start:] + each[:start] for each, start in starts]
        test = ordered[k::folds]
        size = _validation_size(len(ordered), len(test), validation_fraction)
        split = _assigned(*turned, test, size, validation_fraction, seed, fingerprint)
        splits.append(_learning_from(train_patients, *turned, split))
    return splits


def _shuffled(patients: Iterable[str], with_lesion: Iterable[str], seed: int) -> tuple[list[str], list[str]]:
    """Returns the patients with a lesion and those without."""
    order, known = sorted(set(patients)), set(with_lesion)
    if len(order) < 3:
        raise MetsegError(
            f"{len(order)} patient(s) cannot be split into training, validation and test; give 3 or more"
        )
    order = [order[k] for k in np.random.default_rng(seed).permutation(len(order))]
    return [each for each in order if each in known], [each for each in order if each not in known]


def _few(lesion: list[str], total: int, but: str) -> MetsegError:
    of = f"{len(lesion)} of {total} patients have a lesion"
    return MetsegError(f"{of}, but {but}give scans of more patients with a lesion")


def _share(lesion: list[str], free: list[str], size: int, wanted: float, *, kept: int) -> list[str]:
    """Returns the first patients of both strata, `size` in all.

    Of those with a lesion they are as many as `wanted`, one at least, `kept` being left.
    """
    n = min(max(1, round(wanted), size - len(free)), size, len(lesion) - kept)
    return lesion[:n] + free[: size - n]


def _validation_size(total: int, n_test: int, fraction: float) -> int:
    size = max(1, round(total * fraction))
    if n_test + size >= total:
        raise MetsegError(
            f"{total} patients leave none for training with {n_test} for the test and {size} for "
            "validation; lower test_fraction or validation_fraction"
        )
    return size


def _assigned(
    lesion, free, test: list[str], size: int, fraction: float, seed: int, fingerprint: str
) -> Split:
    left = [[each for each in stratum if each not in test] for stratum in (lesion, free)]
    validation = _share(*left, size, fraction * len(lesion), kept=1)
    train = {*lesion, *free} - {*test, *validation}
    return Split(*(tuple(sorted(role)) for role in (train, validation, test)), seed, fingerprint)


def _learning_from(count: int, lesion: list[str], free: list[str], split: Split) -> Split:
    """Returns a split with so many patients to learn from, the first of their order; 0 keeps all."""
    if not count:
        return split
    if count > len(split.train):
        raise MetsegError(
            f"train_patients={count}, but {len(split.train)} are left to learn from; choose fewer, or 0"
        )
    left = [[each for each in stratum if each in split.train] for stratum in (lesion, free)]
    train = _share(*left, count, count * len(left[0]) / len(split.train), kept=0)
    others = {*split.train} - {*train}
    return replace(split, train=tuple(sorted(train)), left_out=tuple(sorted(others)))


def write_split(split: Split, path: Path) -> None:
    """Writes a split as JSON."""
    write_json(path, asdict(split))


def read_split(path: Path) -> Split:
    """Reads a split; its disjointness is checked again.

    Raises:
        MetsegError: It is missing or damaged.
    """
    record = read_json(path)
    with taking_apart(path, "train again under another run name"):
        kinds = ("train", "validation", "test", "left_out")
        roles = {name: tuple(record.pop(name)) for name in kinds if name in record}
        return Split(**roles, **record)
