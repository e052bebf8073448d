"""Trials that never ran: who is asked for, and what is refused before hours of training."""

import pytest
from tiny_runs import write_crossvalidated
from tiny_scans import tiny_config, write_scans

from metseg import trial
from metseg.base.errors import MetsegError
from metseg.base.files import write_json
from metseg.data.cases import find_cases
from metseg.data.content import fingerprint
from metseg.data.split import Split, write_split
from metseg.workbook.cross_validate import cross_validate


@pytest.fixture
def asked(monkeypatch) -> list:
    """What `run_trial` was asked for, as (fold, folds, folder); with one epoch the first fold fails."""
    calls = []

    def run_trial(config, run, *, cache_dir, restart, is_to_serve):
        assert not is_to_serve
        calls.append((config.division.fold, config.division.folds, run.path))
        if config.learning.epochs == 1 and config.division.fold == 0:
            raise MetsegError("the loss is no number")
        return "validation Dice 0.5"

    monkeypatch.setattr(trial, "run_trial", run_trial)
    return calls


def test_each_fold_is_a_trial(asked, tmp_path, capsys):
    options = {"folds": 2, "run_folder": tmp_path, "cache_dir": tmp_path / "cache"}
    found = cross_validate(tiny_config(tmp_path), **options)
    assert found == [tmp_path / "unet" / f"unet-{k}" / "unet" for k in (1, 2)]
    assert asked == [(0, 2, found[0]), (1, 2, found[1])]
    assert capsys.readouterr().out.splitlines()[::2] == ["unet, fold 1 of 2", "unet, fold 2 of 2"]
    # one that fails stops no other
    with pytest.raises(MetsegError, match="fold 1: the loss is no number. Mend the cause and call again"):
        cross_validate(tiny_config(tmp_path, epochs=1), **options)
    assert [fold for fold, _, _ in asked] == [0, 1, 0, 1]


def test_what_fails_two_folds_alike_is_not_tried_on_all_others(tmp_path, capsys):
    config = tiny_config(write_scans(tmp_path / "scans", patients=3))
    with pytest.raises(MetsegError, match="^fold 1 and 2: folds=30 but there are 3 patients; choose"):
        cross_validate(config, folds=30, run_folder=tmp_path / "cv", cache_dir=tmp_path / "cache")
    assert capsys.readouterr().out.count("failed: ") == 2


@pytest.mark.parametrize(
    ("folds", "changes", "message"),
    [
        (1, {}, "folds=1 holds nobody out in turn; choose 2 or more"),
        (3, {}, "has attention_unet with folds=2, not 3; cross-validate both with the same"),
        (2, {"split_seed": 1}, "has attention_unet with split_seed=0, not 1"),
        (2, {"validation_fraction": 0.3}, "has attention_unet with validation_fraction=0.15, not 0.3"),
    ],
)
def test_folds_that_could_not_be_compared_are_not_trained(asked, tmp_path, folds, changes, message):
    config = tiny_config(tmp_path, model="nested_unet", **changes)
    with pytest.raises(MetsegError, match=message):
        cross_validate(config, folds=folds, run_folder=write_crossvalidated(tmp_path), cache_dir=tmp_path)
    assert asked == []


def test_folds_that_were_begun_otherwise_are_not_gone_on_with(asked, tmp_path):
    scans = write_scans(tmp_path / "scans", patients=3)
    config = tiny_config(scans)
    folder = tmp_path / "cv" / "unet" / "unet-1" / "unet"
    write_json(folder / "config.json", config.changed(folds=2).flat())
    write_split(Split(("A",), ("B",), ("C",), 0, fingerprint(find_cases(scans))), folder / "split.json")
    (folder / "history.csv").touch()
    options = {"folds": 2, "run_folder": tmp_path / "cv", "cache_dir": tmp_path / "cache"}
    with pytest.raises(MetsegError, match=r"other settings \(learning_rate 0.01 → 0.5\); .*restart = True"):
        cross_validate(config.changed(learning_rate=0.5), **options)
    others = str(write_scans(tmp_path / "others", patients=4))
    with pytest.raises(MetsegError, match="unet-1/unet began with other data; .*another run name"):
        cross_validate(config.changed(data_dir=others), **options)
    assert asked == []
    # the same, for longer, or told to begin anew
    cross_validate(config, **options)
    cross_validate(config.changed(epochs=3), **options)
    cross_validate(config.changed(learning_rate=0.5), **options, restart=True)
    assert len(asked) == 6
