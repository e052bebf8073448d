"""Patients are shared out once, repeatably, and never twice."""

import json

import pytest

from metseg.data.split import Split, kfold_by_patient, read_split, split_by_patient, write_split
from metseg.errors import MetsegError

TEN = [f"P{k}" for k in range(10)]


def everyone(split: Split) -> list[str]:
    return sorted([*split.train, *split.validation, *split.test])


@pytest.mark.parametrize(
    ("patients", "options", "sizes"),
    [
        (10, {}, (6, 2, 2)),  # round(10 * 0.15) = 2, round(10 * 0.2) = 2
        (110, {}, (72, 16, 22)),  # the LGG set: round(16.5) = 16
        (3, {}, (1, 1, 1)),  # at least one each
        (10, {"test_fraction": 0}, (8, 2, 0)),
        (10, {"test_fraction": 0.01}, (7, 2, 1)),
        (10, {"test_fraction": 0.5, "validation_fraction": 0.3}, (2, 3, 5)),
    ],
)
def test_every_patient_is_in_exactly_one_set_of_the_stated_size(patients, options, sizes):
    names = [f"P{k}" for k in range(patients)]
    split = split_by_patient(names, fingerprint="f", **options)
    assert (len(split.train), len(split.validation), len(split.test)) == sizes
    assert everyone(split) == sorted(names)


def test_the_split_follows_from_the_seed_and_the_set_of_patients_alone():
    split = split_by_patient(TEN, fingerprint="f", seed=3)
    assert split == split_by_patient([*reversed(TEN), *TEN], fingerprint="f", seed=3)
    others = {split_by_patient(TEN, fingerprint="f", seed=seed).test for seed in range(20)}
    assert len(others) > 10
    assert (split.seed, split.fingerprint) == (3, "f")


def test_folds_test_each_patient_once():
    splits = kfold_by_patient(TEN, fingerprint="f", folds=4, seed=1)
    assert [len(split.test) for split in splits] == [3, 3, 2, 2]
    assert sorted(patient for split in splits for patient in split.test) == TEN
    assert all(everyone(split) == TEN for split in splits)
    assert splits == kfold_by_patient(reversed(TEN), fingerprint="f", folds=4, seed=1)


def test_as_many_folds_as_patients_leave_one_out():
    splits = kfold_by_patient(TEN, fingerprint="f", folds=10)
    assert [len(split.test) for split in splits] == [1] * 10


@pytest.mark.parametrize("patients", [[], ["A"], ["A", "B"], ["A", "B", "A", "B"]])
def test_too_few_patients_are_refused(patients):
    for function in (split_by_patient, kfold_by_patient):
        with pytest.raises(
            MetsegError, match=rf"^{len(set(patients))} patient\(s\) cannot .*; give 3 or more$"
        ):
            function(patients, fingerprint="f")


@pytest.mark.parametrize("folds", [1, 11])
def test_impossible_folds_are_refused(folds):
    with pytest.raises(MetsegError, match=f"^folds={folds} but there are 10 patients; choose 2 to 10$"):
        kfold_by_patient(TEN, fingerprint="f", folds=folds)


def test_fractions_that_leave_none_to_train_on_are_refused():
    with pytest.raises(
        MetsegError, match="^10 patients leave none for training with 8 for the test and 2 for"
    ):
        split_by_patient(TEN, fingerprint="f", test_fraction=0.8, validation_fraction=0.2)


def test_a_split_is_read_as_it_was_written(tmp_path):
    split = split_by_patient(["Müller", "Ωmega", *TEN], fingerprint="0123", seed=5)
    write_split(split, tmp_path / "deep" / "split.json")
    assert read_split(tmp_path / "deep" / "split.json") == split
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["split.json"]


def test_a_patient_in_two_sets_cannot_be_made_nor_read(tmp_path):
    with pytest.raises(ValueError, match="a patient is in two sets"):
        Split(("A", "B"), ("C",), ("A",), 0, "f")
    path = tmp_path / "split.json"
    roles = {"train": ["A", "B"], "validation": ["B"], "test": ["C"]}
    path.write_text(json.dumps({**roles, "seed": 0, "fingerprint": "f"}))
    with pytest.raises(MetsegError, match=r"split\.json is damaged"):
        read_split(path)
