"""Effects and importance that one can work out by hand, and a drawn sweep whose answer is known."""

import numpy as np
import pandas as pd
import pytest
from drawn_sweep import draw_sweep

from metseg.evaluation.sweep_effects import effects, effects_told, importance, levels_of, seed_spread
from metseg.evaluation.sweep_results import done_trials, learning_curves, parameters_of, patient_dice
from metseg.workbook.sweep.table import read_sweep


def grid(dice: dict, *, seeds: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two losses × two clip limits of {(loss, clip_limit): Dice of patients}, each seed 0.02 more."""
    rows, of_patients = [], {}
    for (loss, clip_limit), values in dice.items():
        for seed in range(seeds):
            name = f"{loss}{clip_limit}{seed}"
            of_patients[name] = dict(zip("ABCDEFGH", np.array(values) + 0.02 * seed, strict=False))
            row = {"trial": name, "model": "unet", "loss": loss, "clip_limit": clip_limit, "seed": seed}
            mean = float(np.mean([*of_patients[name].values()]))
            rows.append(row | {"state": "done", "validation_dice": mean, "seconds": 1.0})
    return pd.DataFrame(rows), pd.DataFrame.from_dict(of_patients, orient="index")


TWO = {("bce", 0): (0.5, 0.6), ("bce", 2): (0.5, 0.8), ("focal", 0): (0.6, 0.6), ("focal", 2): (0.8, 0.8)}


def test_levels():
    assert [*levels_of(pd.Series([4.0, 0.0, 2.0])).cat.categories] == ["0", "2", "4"]
    words = pd.Series(["focal", "bce"], index=[1, 0])  # sorted by Dice; bce came first
    assert [*levels_of(words).cat.categories] == ["bce", "focal"]
    assert [*levels_of(pd.Series([True, False])).cat.categories] == ["True", "False"]
    bins = levels_of(pd.Series(np.arange(9.0)))
    assert [*bins.cat.categories] == ["0–2", "3–5", "6–8"] and [*bins.cat.codes] == [0] * 3 + [1] * 3 + [
        2
    ] * 3


def test_effects_of_a_grid():
    table = effects(*grid(TWO)).set_index("parameter")
    # A: (0.6 + 0.8) / 2 - 0.5 = 0.2; B: 0
    loss, clip_limit = table.loc["loss"], table.loc["clip_limit"]
    assert (loss.level, loss["first"], loss.trials, loss.patients) == ("focal", "bce", 2, 2)
    assert loss.difference == pytest.approx(0.1)
    assert (loss.difference_low, loss.difference_high) == pytest.approx((0, 0.2))
    # A: 0.65 - 0.55, B: 0.8 - 0.6
    assert (clip_limit.level, clip_limit["first"]) == ("2", "0")
    assert clip_limit.difference == pytest.approx(0.15)
    # what both leave over: ±0.025 in four means, one degree of freedom
    assert [*table.training_margin] == pytest.approx([12.7062 * (4 * 0.025**2) ** 0.5] * 2, rel=1e-4)
    assert not table.is_told.any()
    assert any("2 validation patients are too few" in each for each in effects_told(table.reset_index()))


def test_seeds_have_a_margin():
    done, patients = grid(TWO, seeds=2)
    # in each of four settings ±0.01, so that squares sum up to 8 · 0.0001 over 4 degrees of freedom
    assert seed_spread(done, ["loss", "clip_limit"]) == (pytest.approx(0.0002**0.5), 4)
    # a difference of two means of four: sd · √(1/4 + 1/4), times Student's t for 4 degrees of freedom
    margin = effects(done, patients).training_margin
    assert margin.tolist() == pytest.approx([2.7764 * (0.0002 / 2) ** 0.5] * 2, rel=1e-4)


def test_a_difference_within_the_margin_is_not_told():
    up = {("bce", 0): [0.5] * 8, ("bce", 2): [0.5] * 8, ("focal", 0): [0.51] * 8, ("focal", 2): [0.51] * 8}
    done, patients = grid(up)
    assert effects(done, patients).set_index("parameter").is_told.to_dict() == {
        "loss": True,
        "clip_limit": False,
    }
    assert not effects(*grid(up, seeds=2)).is_told.any()
    alone = effects(done[done.clip_limit == 0], patients)  # one training each
    assert alone.training_margin.isna().all() and not alone.is_told.any()
    assert any("as few trainings as levels" in each for each in effects_told(alone))


def test_each_network_by_itself():
    done, patients = grid(TWO)
    other = done.assign(trial="n" + done.trial, model="nested_unet")
    both = pd.concat([done, other], ignore_index=True)
    patients = pd.concat([patients, (patients + 0.1).rename(lambda name: "n" + name)])
    table = effects(both, patients)
    assert [*table.network.unique()] == ["all", "unet", "nested_unet"]
    model = table[table.parameter == "model"]
    assert [*model.network] == ["all"] and [*model.level] == ["nested_unet"]
    assert model.difference.item() == pytest.approx(0.1)
    assert [*table[table.parameter == "loss"].difference] == pytest.approx([0.1] * 3)


def test_networks_share_their_bins():
    """And what one of them never had is left open, not held against something else."""
    rate = np.repeat(np.arange(9.0), 2)
    done = pd.DataFrame({"trial": [f"t{k}" for k in range(18)], "model": ["unet", "nested_unet"] * 9})
    done = done.assign(rate=rate, seed=0, state="done", validation_dice=0.5 + 0.01 * rate, seconds=1.0)
    patients = pd.DataFrame({"A": done.validation_dice, "B": done.validation_dice + 0.1}).set_axis(done.trial)
    table = effects(done, patients).query("parameter == 'rate'")
    assert {*zip(table["first"], table.level, strict=True)} == {("0–2", "3–5"), ("0–2", "6–8")}
    assert [*table.difference] == pytest.approx([0.03, 0.06] * 3)
    without = (done.model == "unet") | (done.rate > 2)
    table = effects(done, patients[without.to_numpy()]).query("parameter == 'rate'")
    unet, nested = (table[table.network == network].difference for network in ("unet", "nested_unet"))
    assert [*unet] == pytest.approx([0.03, 0.06]) and nested.isna().all()


def test_a_failed_trial_is_adjusted_for():
    done, patients = grid({**TWO, ("focal", 2): (0.6, 0.8)})  # additive: focal 0.1 in A, clip_limit 0.2 in B
    whole = effects(done, patients).difference
    assert [*effects(done[:3], patients).difference] == pytest.approx([*whole])
    assert [*whole] == pytest.approx([0.05, 0.1])
    # of two trials that differ in both, nothing can be told
    assert effects(done.iloc[[0, 3]], patients).difference.isna().all()


def test_patients_that_differ():
    done, patients = grid(TWO)
    patients.loc["bce00", "B"] = np.nan
    assert [*effects(done, patients).patients] == [1, 1]
    patients.loc["focal00", "A"] = np.nan
    told = effects_told(effects(done, patients))
    assert len(told) == 1 and "share no validation patient" in told[0]
    assert len(effects_told(effects(done, patients[:0]))) == 1
    assert len(effects_told(effects(done[:1], patients))) == 1


def test_importance_of_a_grid():
    dice = {("bce", 0): [0.5], ("bce", 2): [0.5], ("focal", 0): [0.7], ("focal", 2): [0.8]}
    done, _ = grid(dice, seeds=2)
    table = importance(done).set_index("parameter")
    # means of settings 0.51, 0.51, 0.71, 0.81: ±0.125 by loss, ±0.025 by clip_limit, ±0.025 by both
    total = 8 * (0.125**2 + 2 * 0.025**2 + 0.01**2)
    expected = {"loss": 0.125**2, "clip_limit": 0.025**2, "seed": 0.01**2, "rest": 0.025**2}
    assert table.share.to_dict() == pytest.approx({name: 8 * each / total for name, each in expected.items()})
    assert table.chance["clip_limit"] > table.share["clip_limit"]
    # four against four: 2 of 70 shuffles are as extreme, and there are two parameters
    assert table.p_holm["loss"] == pytest.approx(4 / 70, abs=0.01) and not table.is_told.any()
    assert importance(grid(dice, seeds=3)[0]).set_index("parameter").is_told["loss"]


def test_importance_that_cannot_be_told():
    done, _ = grid(TWO)
    few = importance(done[:3])  # three trials, three coefficients
    assert few.share.isna().all() and not few.is_told.any()
    assert importance(done.assign(validation_dice=0.5)).share.isna().all()
    assert importance(done[:1]).empty


def test_a_drawn_sweep_is_found_out(tmp_path):
    folder = draw_sweep(tmp_path)
    table = read_sweep(folder)
    done = done_trials(table)
    assert len(table) == 48 and len(done) == 47
    found = effects(done, patient_dice(done, folder))
    pooled = found[found.network == "all"].set_index(["parameter", "level"])
    for place, truth in {("loss", "focal"): 0.03, ("loss", "bce_dice"): 0.05}.items():
        assert pooled.is_told[place] and pooled.difference[place] == pytest.approx(truth, abs=0.01)
    assert not found[found.parameter == "clip_limit"].is_told.any()
    assert importance(done).set_index("parameter").is_told.to_dict()["clip_limit"] is False
    assert parameters_of(table) == ["model", "clip_limit", "loss"]
    assert len(learning_curves(done.head(3), folder)) == 3 * 8
