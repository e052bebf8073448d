"""The ledger of a sweep: an Optuna study that only the coordinator touches, and the table made of it.

A point has one entry, which stays RUNNING when the coordinator is killed and is gone on with by the next one.
A point that failed and is run again has a second one; its newest entry counts.
"""

import warnings
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, Trial, TrialState

from metseg.base.files import shown
from metseg.workbook.sweep.lease import Lease, complain_if_held
from metseg.workbook.sweep.plan import Plan, Point
from metseg.workbook.sweep.search_space import as_label, distributions, from_labels, pruner_of, sampler_of
from metseg.workbook.sweep.storage import open_storage, study_url, without_password
from metseg.workbook.sweep.study import opened, with_choices
from metseg.workbook.sweep.unchanged import complain_if_changed, record_of

_ASKED = 20  # times in a row that a search may choose a point that it knows
_STATES = {TrialState.WAITING: "waiting", TrialState.RUNNING: "running", TrialState.COMPLETE: "done"}
_STATES |= {TrialState.FAIL: "failed", TrialState.PRUNED: "pruned"}


class Ledger:
    """All trials of a sweep; what is written here survives.

    Attributes:
        rows: {point's name: what the table tells of it}.
        study: The Optuna study.
        lease: What keeps other machines' coordinators away, where the storage is shared.

    Raises:
        MetsegError: The storage cannot be opened, another coordinator has the study, or sweep.yml says other
            than when the sweep began.
    """

    def __init__(self, plan: Plan, folder: Path, storage: str | None = None):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.plan = plan
        self._distributions = distributions(plan)
        url = study_url(folder) if storage is None else storage
        kept = open_storage(url)
        check = {} if storage is None else {"check": complain_if_held}
        self.study = opened(kept, plan.spec.name, **check)
        record = record_of(plan)
        if before := self.study.user_attrs.get("sweep"):
            where = f"the study '{plan.spec.name}' of {without_password(url)}" if storage else shown(folder)
            complain_if_changed(before, record, where)
        self.lease = None if storage is None else Lease(self.study)
        if before != record:
            self.study = with_choices(self.study, self._distributions)
            if self.lease:
                self.lease.study = self.study
            self.study.set_user_attr("sweep", record)
        trials = self.study.get_trials(deepcopy=False)
        self.study.sampler = sampler_of(plan.spec, after=len(trials))
        self.study.pruner = pruner_of(plan.spec)
        self.rows: dict[str, dict[str, Any]] = {}
        self._left: list[tuple[Point, Trial]] = []
        # Entered one by one as they are asked for: Optuna reads all that wait anew at each question.
        self._pending, self._waiting = deque[Point](), 0
        for trial in trials:
            self._take_up(trial)

    def _take_up(self, trial: FrozenTrial) -> None:
        """Notes what an earlier coordinator left."""
        if "again" in trial.user_attrs:
            return
        if trial.state == TrialState.WAITING:
            self._waiting += 1
            point = self._point(trial.system_attrs["fixed_params"], trial.user_attrs)
        elif trial.params.keys() == self._distributions.keys():
            point = self._point(trial.params, trial.user_attrs)
        else:  # killed while it was asked for
            if not trial.state.is_finished():
                self.study.tell(trial.number, state=TrialState.FAIL)
            return
        self._note(point, trial)
        if trial.state == TrialState.RUNNING:
            self._left.append((point, Trial(self.study, trial._trial_id)))

    def _point(self, params: Mapping[str, Any], told: Mapping[str, Any]) -> Point:
        varied = from_labels(params)
        ordered = {name: varied[name] for name in self._distributions}
        return self.plan.point(ordered, told.get("seed", self.plan.spec.seeds[0]))

    def _note(self, point: Point, trial: FrozenTrial) -> None:
        result = trial.user_attrs.get("result", {})
        dice = trial.value if trial.state == TrialState.COMPLETE else None
        known = {"state": _STATES[trial.state], "validation_dice": dice, **result}
        self.rows[point.name] = {"trial": point.name, **point.varied, **known}

    def close(self) -> None:
        """Lets another coordinator have the study at once."""
        if self.lease:
            with suppress(StorageInternalError):  # of a server that is gone: the lease runs out by itself
                self.lease.release()

    # ---- what is to run ----

    def enqueue(self, *, failed_too: bool = False) -> None:
        """Has all points of a grid, and the further seeds of a search, run that are not entered yet."""
        if self.plan.spec.search is None:
            for point in self.plan.grid():
                state = self.rows.get(point.name, {}).get("state")
                if state is None or (failed_too and state == "failed"):
                    self._enqueue(point)
            return
        for row in list(self.rows.values()):
            point = self.plan.point({key: row[key] for key in self._distributions}, row["seed"])
            if failed_too and row["state"] == "failed":
                self._enqueue(point)
            elif row["seed"] == self.plan.spec.seeds[0]:
                self._follow(point, row)

    def _enqueue(self, point: Point) -> None:
        self._pending.append(point)
        self.rows[point.name] = {"trial": point.name, **point.varied, "state": "waiting"}

    def _labels(self, point: Point) -> dict[str, Any]:
        return {name: as_label(point.varied[name]) for name in self._distributions}

    def _follow(self, point: Point, row: Mapping[str, Any]) -> None:
        """Enters the other seeds of a search's point, once its first seed is done or given up."""
        for seed in self.plan.spec.seeds[1:]:
            other = self.plan.point(point.varied, seed)
            if other.name in self.rows or row["state"] not in ("done", "pruned"):
                continue
            if row["state"] == "done" and not row.get("hopeless"):
                self._enqueue(other)
                continue
            why = row.get("hopeless") or f"seed {point.varied['seed']} {row['state']}"
            told = {"seed": seed, "result": {"reason": why}}
            self.study.add_trial(
                optuna.create_trial(
                    state=TrialState.PRUNED,
                    params=self._labels(point),
                    distributions=self._distributions,
                    user_attrs=told,
                )
            )
            self.rows[other.name] = {"trial": other.name, **other.varied, "state": "pruned", "reason": why}

    def next_trial(self) -> tuple[Point, Trial] | None:
        """Returns what is to run next, those that an earlier coordinator left before all others."""
        if self._left:
            return self._left.pop(0)
        search, first = self.plan.spec.search, self.plan.spec.seeds[0]
        if self._pending and not self._waiting:
            point = self._pending.popleft()
            self.study.enqueue_trial(self._labels(point), user_attrs={"seed": point.varied["seed"]})
            self._waiting = 1
        begun = sum(row["seed"] == first for row in self.rows.values())
        for _ in range(_ASKED):
            if not self._waiting and (search is None or begun >= search.trials):
                return None
            trial = self.study.ask(self._distributions)
            frozen = self.study._storage.get_trial(trial._trial_id)
            point = self._point(frozen.params, frozen.user_attrs)
            self._waiting = max(0, self._waiting - 1)
            if self.rows.get(point.name, {}).get("state") in (None, "waiting"):
                self._note(point, frozen)
                return point, trial
            self._say_again(trial, point)  # a search chose what it knows: chance chooses in its place
            self.study.sampler = optuna.samplers.RandomSampler(seed=trial.number)
        return None

    def _say_again(self, trial: Trial, point: Point) -> None:
        trial.set_user_attr("again", point.name)
        self.study.tell(trial, state=TrialState.FAIL)

    # ---- what became of it ----

    def is_hopeless(self, trial: Trial, dice: Mapping[int, float]) -> bool:
        """Reports {step: Dice} of a trial, and returns whether its search's pruner gives it up."""
        known = self.study._storage.get_trial(trial._trial_id).intermediate_values
        for step, value in dice.items():
            if step not in known:
                trial.report(value, step)
        return bool(dice) and bool(trial.should_prune())  # NumPy's

    def is_hopeless_by_patients(self, trial: Trial, dice: Mapping[str, float]) -> bool:
        """The same of {validation patient: Dice}, held against the same patients' of the best trial."""
        names = self.study.user_attrs.get("patients", [])
        names += sorted(dice.keys() - set(names))
        self.study.set_user_attr("patients", names)
        return self.is_hopeless(trial, {names.index(name): value for name, value in dice.items()})

    def finish(
        self, point: Point, trial: Trial, state: str, result: Mapping[str, Any], dice: float | None = None
    ) -> None:
        """Enters how a trial ended: `done` with its validation Dice, `failed`, or `pruned`."""
        trial.set_user_attr("result", dict(result))
        to = {told: code for code, told in _STATES.items()}[state]
        self._note(point, self.study.tell(trial, dice, state=to))
        if self.plan.spec.search and point.varied["seed"] == self.plan.spec.seeds[0]:
            self._follow(point, self.rows[point.name])
