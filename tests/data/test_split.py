"""Patients are shared out once, repeatably, and never twice."""

import json
from pathlib import Path

import pandas as pd
import pytest

from metseg.base.errors import MetsegError
from metseg.base.paths import project_root
from metseg.data import split as split_module
from metseg.data.split import Split, read_split, write_split

TEN = [f"P{k}" for k in range(10)]


def split_by_patient(patients, **options) -> Split:
    """Of patients who all have a lesion, unless told otherwise."""
    return split_module.split_by_patient(patients, **{"with_lesion": TEN, "fingerprint": "f", **options})


def kfold_by_patient(patients, **options) -> list[Split]:
    return split_module.kfold_by_patient(patients, **{"with_lesion": TEN, "fingerprint": "f", **options})


def everyone(split: Split) -> list[str]:
    return sorted(split.patients)


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
    split = split_by_patient(names, with_lesion=names, **options)
    assert (len(split.train), len(split.validation), len(split.test)) == sizes
    assert everyone(split) == sorted(names)


def test_the_split_follows_from_the_seed_and_the_set_of_patients_alone():
    split = split_by_patient(TEN, seed=3)
    assert split == split_by_patient([*reversed(TEN), *TEN], seed=3)
    others = {split_by_patient(TEN, seed=seed).test for seed in range(20)}
    assert len(others) > 10
    assert (split.seed, split.fingerprint) == (3, "f")


def test_folds_test_each_patient_once():
    splits = kfold_by_patient(TEN, folds=4, seed=1)
    assert [len(split.test) for split in splits] == [3, 3, 2, 2]
    assert sorted(patient for split in splits for patient in split.test) == TEN
    assert all(everyone(split) == TEN for split in splits)
    assert splits == kfold_by_patient(reversed(TEN), folds=4, seed=1)


def test_as_many_folds_as_patients_leave_one_out():
    splits = kfold_by_patient(TEN, folds=10)
    assert [len(split.test) for split in splits] == [1] * 10


@pytest.mark.parametrize("patients", [[], ["A"], ["A", "B"], ["A", "B", "A", "B"]])
def test_too_few_patients_are_refused(patients):
    for function in (split_by_patient, kfold_by_patient):
        with pytest.raises(
            MetsegError, match=rf"^{len(set(patients))} patient\(s\) cannot .*; give 3 or more$"
        ):
            function(patients)


@pytest.mark.parametrize("folds", [1, 11])
def test_impossible_folds_are_refused(folds):
    with pytest.raises(MetsegError, match=f"^folds={folds} but there are 10 patients; choose 2 to 10$"):
        kfold_by_patient(TEN, folds=folds)


def test_fractions_that_leave_none_to_train_on_are_refused():
    with pytest.raises(
        MetsegError, match="^10 patients leave none for training with 8 for the test and 2 for"
    ):
        split_by_patient(TEN, test_fraction=0.8, validation_fraction=0.2)


# a learning curve


def test_fewer_learn_and_the_same_choose_and_test():
    whole = split_by_patient(TEN, seed=2)
    former: set[str] = set()
    for count in (1, 3, 6):
        split = split_by_patient(TEN, seed=2, train_patients=count)
        assert (split.validation, split.test) == (whole.validation, whole.test)
        assert len(split.train) == count and former < {*split.train}
        assert {*split.train, *split.left_out} == {*whole.train} and everyone(split) == TEN
        former = {*split.train}
    for some, all_of_them in zip(
        kfold_by_patient(TEN, folds=5, train_patients=4), kfold_by_patient(TEN, folds=5), strict=True
    ):
        assert some.test == all_of_them.test and len(some.train) == 4 and {*some.train} < {*all_of_them.train}
    with pytest.raises(MetsegError, match="train_patients=8, but 6 are left"):
        split_by_patient(TEN, train_patients=8)


def test_of_few_who_learn_some_have_a_lesion():
    for seed in range(10):
        split = split_by_patient(TEN, with_lesion=TEN[:4], seed=seed, train_patients=2)
        assert {*split.train} & {*TEN[:4]}


def test_who_is_left_out_is_written_and_read(tmp_path):
    split = split_by_patient(TEN, train_patients=3)
    split_module.write_split(split, tmp_path / "split.json")
    assert split_module.read_split(tmp_path / "split.json") == split


# lesions in every set


@pytest.mark.parametrize("lesions", [3, 4, 5, 9, 10])
@pytest.mark.parametrize("seed", range(10))
def test_every_set_holds_a_patient_with_a_lesion(lesions, seed):
    with_lesion = TEN[:lesions]
    splits = [split_by_patient(TEN, with_lesion=with_lesion, seed=seed)]
    splits += kfold_by_patient(TEN, with_lesion=with_lesion, seed=seed, folds=3)
    for split in splits:
        assert all(set(with_lesion) & set(role) for role in (split.train, split.validation, split.test))
        assert everyone(split) == TEN and len(split.validation) == 2
    assert len(splits[0].test) == 2
    assert sorted(patient for split in splits[1:] for patient in split.test) == TEN


def test_patients_with_and_without_a_lesion_are_shared_out_alike():
    names = [f"P{k:03}" for k in range(100)]
    with_lesion = set(names[::5])  # 20: 4 to test, 3 to choose, 13 to learn from
    for seed in range(5):
        split = split_by_patient(names, with_lesion=with_lesion, seed=seed)
        roles = (split.train, split.validation, split.test)
        assert [len(role) for role in roles] == [65, 15, 20]
        assert [len(with_lesion & set(role)) for role in roles] == [13, 3, 4]
    for split in kfold_by_patient(names, with_lesion=with_lesion, folds=5):
        roles = (split.train, split.validation, split.test)
        assert [len(with_lesion & set(role)) for role in roles] == [13, 3, 4]


@pytest.mark.parametrize(
    ("function", "options", "lesions", "says"),
    [
        (split_by_patient, {}, 0, "^0 of 10 patients have a lesion"),
        (split_by_patient, {}, 1, "^1 of 10 patients have a lesion"),
        (split_by_patient, {}, 2, "^2 of 10 patients .* set test_fraction to 0"),
        (split_by_patient, {"test_fraction": 0}, 1, "^1 of 10 patients .* training and validation"),
        (kfold_by_patient, {"folds": 5}, 4, "^4 of 10 patients .* choose fewer folds"),
        (kfold_by_patient, {"folds": 2}, 3, "^3 of 10 patients .* folds=2 needs 4"),
    ],
)
def test_too_few_patients_with_a_lesion(function, options, lesions, says):
    with pytest.raises(MetsegError, match=says):
        function(TEN, with_lesion=TEN[:lesions], **options)
    function(TEN, with_lesion=TEN[: max(lesions + 1, 3 - ("test_fraction" in options))], **options)


def test_a_split_without_test_needs_two_patients_with_a_lesion():
    split = split_by_patient(TEN, with_lesion=["P2", "P7"], test_fraction=0)
    assert not split.test and {"P2", "P7"} - set(split.train) and {"P2", "P7"} - set(split.validation)


def test_the_split_of_patients_who_all_have_a_lesion_stays():
    """Frozen: figures were made by it."""
    eleven = [f"TCGA_{k:02}" for k in range(11)]

    def names(*numbers: int) -> tuple[str, ...]:
        return tuple(eleven[k] for k in numbers)

    split = split_by_patient(eleven, with_lesion=eleven, seed=3)
    assert (split.validation, split.test) == (names(0, 2), names(7, 9))
    folds = kfold_by_patient(eleven, with_lesion=eleven, seed=3, folds=3)
    assert [(each.validation, each.test) for each in folds] == [
        (names(0, 7), names(2, 3, 6, 9)),
        (names(2, 4), names(1, 7, 8, 10)),
        (names(3, 10), names(0, 4, 5)),
    ]


def test_the_published_folds_stay():
    """Those of the committed cross-validation, to the patient."""
    published = project_root() / "outputs" / "reference" / "lgg-crossval"
    with_lesion = pd.read_csv(published / "dice_per_patient.csv").dropna().patient_id
    folders = sorted(Path(published / "folds" / "nested_unet").glob("nested_unet-*/nested_unet"))
    known = [read_split(folder / "split.json") for folder in folders]
    assert len(known) == 5 and len(with_lesion) == len(everyone(known[0])) == 88
    options = {"fingerprint": known[0].fingerprint, "seed": known[0].seed}
    for patients in (everyone(known[0]), everyone(known[0])[::-1]):
        assert kfold_by_patient(patients, with_lesion=with_lesion, folds=5, **options) == known


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
