"""Patients into training, validation and test; never a patient in two of them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, taking_apart, write_json


@dataclass(frozen=True)
class Split:
    """Patients by role.

    Attributes:
        train: Patients whose slices are learned from.
        validation: Patients that choose the epoch and every setting.
        test: Patients held out for the final figures.
        seed: What shuffled them.
        fingerprint: Of the data they were found in.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    seed: int
    fingerprint: str

    def __post_init__(self):
        roles = [*self.train, *self.validation, *self.test]
        if len(roles) > len(set(roles)):
            raise ValueError("a patient is in two sets")


def split_by_patient(
    patients: Iterable[str],
    *,
    with_lesion: Iterable[str],
    fingerprint: str,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.15,
    seed: int = 0,
) -> Split:
    """Holds out patients for the test, and others for validation.

    Each set gets its share of the patients with a lesion, one at least, and of those without.

    Args:
        patients: Patient ids; order and repetition do not matter.
        with_lesion: Those of them who have a lesion.
        fingerprint: Of the data.
        test_fraction: Share of all patients held out, at least one; 0 holds nobody out.
        validation_fraction: Share of all patients for validation, at least one.
        seed: Of the shuffle.

    Raises:
        MetsegError: Fewer than three patients would be left to share out, or too few have a lesion.
    """
    order = _shuffled(patients, seed)
    lesion, free = _parted(order, with_lesion)
    _complain_if_few(lesion, order, needed=3 if test_fraction else 2, test=test_fraction > 0)
    n_test = max(1, round(len(order) * test_fraction)) if test_fraction else 0
    n_validation = _validation_size(order, n_test, validation_fraction)
    test = _share(lesion, free, n_test, test_fraction, kept=2) if n_test else []
    return _assign(lesion, free, test, n_validation, validation_fraction, seed, fingerprint)


def kfold_by_patient(
    patients: Iterable[str],
    *,
    with_lesion: Iterable[str],
    fingerprint: str,
    folds: int = 5,
    validation_fraction: float = 0.15,
    seed: int = 0,
) -> list[Split]:
    """Splits patients `folds` times so that each is tested exactly once; arguments as `split_by_patient`."""
    order = _shuffled(patients, seed)
    if not 2 <= folds <= len(order):
        raise MetsegError(f"folds={folds} but there are {len(order)} patients; choose 2 to {len(order)}")
    lesion, free = _parted(order, with_lesion)
    # One to test in each fold, and two of the others. With three folds or more there always are.
    _complain_if_few(lesion, order, needed=max(folds, 4 if folds == 2 else 3), folds=folds)
    ordered, splits = lesion + free, []
    for k in range(folds):
        test = ordered[k::folds]
        n_validation = _validation_size(order, len(test), validation_fraction)
        # So that the folds differ in validation patients too.
        starts = [(each, k * len(each) // folds) for each in (lesion, free)]
        turned = [each[start:] + each[:start] for each, start in starts]
        splits.append(_assign(*turned, test, n_validation, validation_fraction, seed, fingerprint))
    return splits


def _shuffled(patients: Iterable[str], seed: int) -> list[str]:
    order = sorted(set(patients))
    if len(order) < 3:
        raise MetsegError(
            f"{len(order)} patient(s) cannot be split into training, validation and test; give 3 or more"
        )
    return [order[k] for k in np.random.default_rng(seed).permutation(len(order))]


def _parted(order: list[str], with_lesion: Iterable[str]) -> tuple[list[str], list[str]]:
    """Returns the patients with a lesion and those without, each in order."""
    known = set(with_lesion)
    return [each for each in order if each in known], [each for each in order if each not in known]


def _complain_if_few(
    lesion: list[str], order: list[str], *, needed: int, test: bool = True, folds: int = 0
) -> None:
    if len(lesion) >= needed or len(lesion) == len(order):  # of all too few, their number is complained of
        return
    roles = "training, validation and test" if test else "training and validation"
    text = f"{len(lesion)} of {len(order)} patients have a lesion, but "
    text += f"folds={folds} needs {needed} such patients; " if folds else f"{roles} need one each; "
    text += "choose fewer folds, or " if 3 <= len(lesion) < folds else ""
    text += "set test_fraction to 0, or " if test and not folds and len(lesion) == 2 else ""
    raise MetsegError(f"{text}give scans of more patients with a lesion")


def _validation_size(order: list[str], n_test: int, fraction: float) -> int:
    n_validation = max(1, round(len(order) * fraction))
    if n_test + n_validation >= len(order):
        raise MetsegError(
            f"{len(order)} patients leave none for training with {n_test} for the test and "
            f"{n_validation} for validation; lower test_fraction or validation_fraction"
        )
    return n_validation


def _share(
    lesion: list[str], free: list[str], size: int, fraction: float, *, kept: int, of: int | None = None
) -> list[str]:
    """Returns the first patients of both strata, `size` in all, `kept` with a lesion being left.

    Of those with a lesion (`of`, if not all are left to choose from) it is the `fraction`, one at least.
    """
    n = max(1, round((len(lesion) if of is None else of) * fraction), size - len(free))
    n = min(n, size, len(lesion) - kept)
    return lesion[:n] + free[: size - n]


def _assign(
    lesion: list[str],
    free: list[str],
    test: list[str],
    n_validation: int,
    fraction: float,
    seed: int,
    fingerprint: str,
) -> Split:
    left = [[each for each in stratum if each not in set(test)] for stratum in (lesion, free)]
    validation = _share(*left, n_validation, fraction, kept=1, of=len(lesion))
    taken = {*test, *validation}
    train = [each for each in lesion + free if each not in taken]
    return Split(tuple(sorted(train)), tuple(sorted(validation)), tuple(sorted(test)), seed, fingerprint)


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
        roles = {name: tuple(record.pop(name)) for name in ("train", "validation", "test")}
        return Split(**roles, **record)
