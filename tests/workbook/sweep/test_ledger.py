"""What a study remembers: no point twice, none lost, whatever the coordinator comes to."""

import pytest

from metseg.base.errors import MetsegError
from metseg.workbook.sweep.ledger import Ledger

GRID = {"loss": ["bce", "focal"], "rate": [0.1, 0.3]}


def run_all(ledger, *, most=99, dice=lambda point: point.values["rate"]) -> list[str]:
    ran = []
    while len(ran) < most and (found := ledger.next_trial()):
        point, trial = found
        ran.append(point.name)
        ledger.finish(point, trial, "done", {"seconds": 1.0}, dice(point))
    return ran


def test_a_grid_is_run_once_and_only_what_is_new_the_next_time(plan_of, tmp_path):
    ledger = Ledger(plan_of(grid=GRID), tmp_path)
    ledger.enqueue()
    assert [row["state"] for row in ledger.rows.values()] == ["waiting"] * 4
    assert run_all(ledger, most=3) == [
        "unet-bce-rate0.1-seed0",
        "unet-bce-rate0.3-seed0",
        "unet-focal-rate0.1-seed0",
    ]
    again = Ledger(plan_of(grid=GRID), tmp_path)
    again.enqueue()
    assert run_all(again) == ["unet-focal-rate0.3-seed0"] and again.next_trial() is None
    row = again.rows["unet-bce-rate0.3-seed0"]
    known = {"model": "unet", "loss": "bce", "rate": 0.3, "seed": 0, "state": "done", "seconds": 1.0}
    assert row == {"trial": "unet-bce-rate0.3-seed0", "validation_dice": 0.3, **known}


def test_more_points_of_every_kind_may_be_added(plan_of, tmp_path):
    first = Ledger(plan_of(grid=GRID), tmp_path)
    first.enqueue()
    run_all(first, most=2)
    first.next_trial()  # left running
    more = {"loss": ["bce", "focal", "dice"], "rate": [0.1, 0.3, 0.7]}
    grown = Ledger(plan_of(grid=more, models=["unet", "attention_unet"], seeds=[0, 1]), tmp_path)
    grown.enqueue()
    ran = run_all(grown)
    assert len(ran) == len(set(ran)) == 36 - 2 and "unet-focal-rate0.1-seed0" in ran
    assert {row["state"] for row in grown.rows.values()} == {"done"} and len(grown.rows) == 36


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"grid": {"loss": ["bce"], "rate": [0.1, 0.3]}}, "grid.loss has lost 'focal'"),
        ({"grid": {"loss": ["bce", "focal"]}}, "other parameters are varied than loss, rate"),
        ({"grid": GRID, "set": {"epochs": 9}}, "epochs was 2, not 9"),
        ({"grid": GRID, "seeds": [1]}, "seeds has lost 0"),
    ],
)
def test_what_may_not_change(plan_of, tmp_path, entries, message):
    Ledger(plan_of(grid=GRID), tmp_path)
    with pytest.raises(MetsegError, match=f"{message}.*another name"):
        Ledger(plan_of(**entries), tmp_path)


def test_what_ran_as_the_coordinator_was_killed_is_gone_on_with(plan_of, tmp_path):
    ledger = Ledger(plan_of(grid=GRID), tmp_path)
    ledger.enqueue()
    killed, _ = ledger.next_trial()
    again = Ledger(plan_of(grid=GRID), tmp_path)
    again.enqueue()
    assert again.rows[killed.name]["state"] == "running"
    assert len(run_all(again)) == 4 and len(again.study.trials) == 4


def test_a_failed_point_is_run_again_on_request(plan_of, tmp_path):
    ledger = Ledger(plan_of(grid=GRID), tmp_path)
    ledger.enqueue()
    point, trial = ledger.next_trial()
    ledger.finish(point, trial, "failed", {"reason": "no masks"})
    run_all(ledger)
    assert ledger.rows[point.name]["reason"] == "no masks"
    again = Ledger(plan_of(grid=GRID), tmp_path)
    again.enqueue()
    assert again.next_trial() is None
    again.enqueue(failed_too=True)
    assert run_all(again) == [point.name]
    last = Ledger(plan_of(grid=GRID), tmp_path)
    assert last.rows[point.name]["state"] == "done" and len(last.rows) == 4


SEARCH = {"trials": 6, "sampler": "random", "parameters": {"rate": {"low": 0.1, "high": 0.9}}}


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_search_goes_on_elsewhere_after_a_restart(plan_of, tmp_path, sampler):
    search = {**SEARCH, "sampler": sampler}
    first = run_all(Ledger(plan_of(search=search), tmp_path), most=3)
    ledger = Ledger(plan_of(search=search), tmp_path)
    ledger.enqueue()
    rest = run_all(ledger)
    assert len({*first, *rest}) == 6 and ledger.next_trial() is None
    more = Ledger(plan_of(search={**search, "trials": 8}), tmp_path)
    assert len(run_all(more)) == 2


def test_a_search_among_few_choices_runs_none_twice(plan_of, tmp_path):
    search = {"trials": 9, "parameters": {"loss": ["bce", "focal"], "filters": [[4, 8], [8]]}}
    ledger = Ledger(plan_of(search=search), tmp_path)
    assert sorted(run_all(ledger)) == [
        f"unet-{loss}-filters{filters}-seed0" for loss in ("bce", "focal") for filters in ("4x8", "8")
    ]
    again = Ledger(plan_of(search=search), tmp_path)
    assert again.next_trial() is None and len(again.rows) == 4


def test_a_search_runs_further_seeds_of_what_came_to_an_end(plan_of, tmp_path):
    ledger = Ledger(plan_of(search={**SEARCH, "trials": 2}, seeds=[0, 1, 2]), tmp_path)
    ran = run_all(ledger)
    assert len(ran) == 6 and sorted(ledger.rows[name]["seed"] for name in ran) == [0, 0, 1, 1, 2, 2]


def test_pruned_at_epochs_by_the_median_of_the_others(plan_of, tmp_path):
    ledger = Ledger(plan_of(search={**SEARCH, "trials": 9, "pruner": "epochs"}), tmp_path)
    for k in range(4):
        point, trial = ledger.next_trial()
        assert not ledger.is_hopeless(trial, {1: 0.1, 2: 0.3, 3: 0.5 + k / 10})
        ledger.finish(point, trial, "done", {}, 0.5 + k / 10)
    point, trial = ledger.next_trial()
    assert not ledger.is_hopeless(trial, {1: 0.4})
    assert not ledger.is_hopeless(trial, {1: 0.4, 2: 0.7})
    assert ledger.is_hopeless(trial, {1: 0.4, 2: 0.7, 3: 0.6}) is False  # best so far 0.7
    other, worse = ledger.next_trial()
    assert ledger.is_hopeless(worse, {1: 0.01, 2: 0.02, 3: 0.03})


def test_pruned_by_paired_patients_no_further_seeds(plan_of, tmp_path):
    search = {**SEARCH, "trials": 2, "pruner": "patients"}
    ledger = Ledger(plan_of(search=search, seeds=[0, 1]), tmp_path)
    good = {f"P_{k}": 0.5 + k / 20 for k in range(8)}
    point, trial = ledger.next_trial()
    assert not ledger.is_hopeless_by_patients(trial, good)
    ledger.finish(point, trial, "done", {}, 0.7)
    bad, trial = next((p, t) for p, t in iter(ledger.next_trial, None) if p.varied["seed"] == 0)
    assert ledger.is_hopeless_by_patients(trial, {name: dice - 0.1 for name, dice in good.items()})
    ledger.finish(bad, trial, "done", {"hopeless": "worse than the best"}, 0.6)
    rows = [row for row in ledger.rows.values() if row["rate"] == bad.varied["rate"]]
    assert [(row["seed"], row["state"]) for row in rows] == [(0, "done"), (1, "pruned")]
    assert rows[1]["reason"] == "worse than the best"


@pytest.fixture
def shared(tmp_path, monkeypatch) -> str:
    """The address of a storage that other machines reach."""
    monkeypatch.setattr("metseg.workbook.sweep.lease._SETTLE_SECONDS", 0)
    return f"sqlite:///{tmp_path}/shared.db"


def test_a_study_that_another_machine_runs(plan_of, tmp_path, shared):
    ledger = Ledger(plan_of(grid=GRID), tmp_path, shared)
    own = ledger.study.user_attrs["coordinator"]
    ledger.study.set_user_attr("coordinator", {**own, "host": "elsewhere"})
    with pytest.raises(MetsegError, match="'s' is run by process .* on elsewhere"):
        Ledger(plan_of(grid=GRID), tmp_path, shared)
    ledger.study.set_user_attr("coordinator", own)
    ledger.close()
    Ledger(plan_of(grid=GRID), tmp_path, shared)


def test_a_shared_study_that_is_written_anew_for_more_choices_is_still_held(plan_of, tmp_path, shared):
    first = Ledger(plan_of(grid={"loss": ["bce"]}), tmp_path, shared)
    first.enqueue()
    run_all(first)
    first.close()
    grown = Ledger(plan_of(grid={"loss": ["bce", "focal"]}), tmp_path, shared)
    grown.enqueue()
    grown.lease._kept = float("-inf")
    grown.lease.keep()
    assert run_all(grown) == ["unet-focal-seed0"] and grown.study.user_attrs["coordinator"]
    grown.close()
    assert grown.study.user_attrs["coordinator"] is None


def test_another_sweep_of_the_same_name(plan_of, tmp_path, shared):
    Ledger(plan_of(grid=GRID), tmp_path, shared).close()
    with pytest.raises(MetsegError, match="study 's' of sqlite:///.*/shared.db was begun otherwise"):
        Ledger(plan_of(grid={"rate": [0.1]}), tmp_path / "elsewhere", shared)
