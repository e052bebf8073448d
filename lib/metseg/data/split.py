"""Patients into training, validation and test; never a patient in two of them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from metseg.errors import MetsegError
from metseg.files import read_json, write_json


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
    fingerprint: str,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.15,
    seed: int = 0,
) -> Split:
    """Holds out patients for the test, and others for validation.

    Args:
        patients: Patient ids; order and repetition do not matter.
        fingerprint: Of the data.
        test_fraction: Share of all patients held out, at least one; 0 holds nobody out.
        validation_fraction: Share of all patients for validation, at least one.
        seed: Of the shuffle.

    Raises:
        MetsegError: Fewer than three patients would be left to share out.
    """
    order = _shuffled(patients, seed)
    n_test = max(1, round(len(order) * test_fraction)) if test_fraction else 0
    return _assign(order, order[:n_test], validation_fraction, seed, fingerprint)


def kfold_by_patient(
    patients: Iterable[str],
    *,
    fingerprint: str,
    folds: int = 5,
    validation_fraction: float = 0.15,
    seed: int = 0,
) -> list[Split]:
    """Splits patients `folds` times so that each is tested exactly once; arguments as `split_by_patient`."""
    order = _shuffled(patients, seed)
    if not 2 <= folds <= len(order):
        raise MetsegError(f"folds={folds} but there are {len(order)} patients; choose 2 to {len(order)}")
    splits = []
    for k in range(folds):
        start = k * len(order) // folds  # so that the folds differ in validation patients too
        turned = order[start:] + order[:start]
        splits.append(_assign(turned, order[k::folds], validation_fraction, seed, fingerprint))
    return splits


def _shuffled(patients: Iterable[str], seed: int) -> list[str]:
    order = sorted(set(patients))
    if len(order) < 3:
        raise MetsegError(
            f"{len(order)} patient(s) cannot be split into training, validation and test; give 3 or more"
        )
    return [order[k] for k in np.random.default_rng(seed).permutation(len(order))]


def _assign(order: list[str], test: list[str], fraction: float, seed: int, fingerprint: str) -> Split:
    rest = [patient for patient in order if patient not in set(test)]
    n_validation = max(1, round(len(order) * fraction))
    if n_validation >= len(rest):
        raise MetsegError(
            f"{len(order)} patients leave none for training with {len(test)} for the test and "
            f"{n_validation} for validation; lower test_fraction or validation_fraction"
        )
    validation, train = rest[:n_validation], rest[n_validation:]
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
    try:
        roles = {name: tuple(record.pop(name)) for name in ("train", "validation", "test")}
        return Split(**roles, **record)
    except (KeyError, TypeError, ValueError) as error:
        raise MetsegError(f"{path} is damaged; train again under another run name") from error
