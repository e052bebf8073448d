"""Runs a sweep: asks the ledger what is next, sends it to workers, and enters what became of it."""

import queue
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client, Future
from optuna.trial import Trial

from metseg.base.errors import MetsegError
from metseg.training.run_folder import RunFolder
from metseg.workbook.sweep.cluster import run_on_worker, stop_on_worker, workers_by_machine
from metseg.workbook.sweep.ledger import Ledger
from metseg.workbook.sweep.plan import Point
from metseg.workbook.sweep.remote import fetch
from metseg.workbook.sweep.table import write_results
from metseg.workbook.sweep.trial_process import Job, Outcome

TRIES = 2  # of a trial that was killed
_TURN_SECONDS = 1.0


@dataclass
class Running:
    """A trial under way, for whoever watches."""

    point: Point
    trial: Trial
    future: Future
    attempts: int = 1
    seconds: float = 0.0  # of earlier attempts, and of epochs that an earlier coordinator saw
    progress: Mapping[str, Any] = field(default_factory=dict)  # progress.json, `dice` and `worker`
    is_stopped: bool = False


class Coordinator:
    """The one process that owns a sweep's study.

    Attributes:
        ledger: All trials.
        running: {point's name: its trial under way}.
        machines: {machine: workers on it}.
    """

    def __init__(
        self,
        ledger: Ledger,
        folder: Path,
        client: Client,
        *,
        jobs: int | None = None,
        results: str | None = None,
        on_change: "Callable[[Coordinator], None]" = lambda coordinator: None,
    ):
        self.ledger, self.folder, self.running = ledger, Path(folder).resolve(), dict[str, Running]()
        self.machines: dict[str, int] = {}
        self._client, self._jobs, self._on_change = client, jobs, on_change
        # Below its name: trials of two sweeps may be called alike.
        self._results = f"{results.rstrip('/')}/{ledger.plan.spec.name}" if results else None
        self._events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._topic = f"metseg-sweep-{uuid.uuid4().hex}"
        self._counted, self._is_written = float("-inf"), False

    def run(self) -> None:
        """Runs all that is left to run.

        Raises:
            MetsegError: The scheduler is gone, a disk is full, an address cannot be reached, or another
                coordinator has the study; the same sweep goes on at the next start.
        """
        self._client.subscribe_topic(self._topic, lambda event: self._events.put(("progress", event[1])))
        try:
            while self._fill() or self.running or not self.machines:
                self._write()
                self._on_change(self)
                with suppress(queue.Empty):
                    kind, what = self._events.get(timeout=_TURN_SECONDS)
                    (self._progress if kind == "progress" else self._ended)(what)
                if self.ledger.lease:
                    self.ledger.lease.keep()
                if self._client.status != "running":
                    raise self._lost()
            self._write()
        finally:
            for each in self.running.values():
                with suppress(Exception):  # of a scheduler that is gone
                    each.future.cancel()
            with suppress(MetsegError):  # of a full disk; what happened is told already
                self._write()
            self._on_change(self)

    def _fill(self) -> bool:
        """Sends trials to idle workers, and returns whether it sent any."""
        if time.monotonic() - self._counted > _TURN_SECONDS:
            self._counted = time.monotonic()
            with suppress(OSError, TimeoutError):
                self.machines = workers_by_machine(self._client)
        slots, sent = min(self._jobs or 10**9, sum(self.machines.values())), False
        while len(self.running) < slots and (found := self.ledger.next_trial()):
            point, trial = found
            run, known = self._run_folder(point), 0.0
            with suppress(MetsegError):  # of a history that is damaged, whoever trains will tell
                known = sum(RunFolder(self.folder / run).seconds_of_epochs())
            self.running[point.name] = Running(point, trial, self._submitted(point), seconds=known)
            self.ledger.rows[point.name]["run_folder"] = run
            sent = True
        self._is_written &= not sent
        return sent

    def _run_folder(self, point: Point) -> str:
        return f"trials/{point.name}/{point.varied['model']}"

    def _submitted(self, point: Point) -> Future:
        job = Job(point.name, point.notebook, point.values, self.folder / "trials" / point.name)
        key = f"{point.name}-{uuid.uuid4().hex[:8]}"
        told = (job, self._topic, self.machines, self._results)
        future = self._client.submit(run_on_worker, *told, key=key, pure=False)
        future.add_done_callback(lambda done: self._events.put(("ended", (point.name, done))))
        return future

    def _progress(self, told: Mapping[str, Any]) -> None:
        each = self.running.get(told["trial"])
        if each is None:
            return
        news = len(told["dice"]) > len(each.progress.get("dice", ()))
        each.progress = told
        search = self.ledger.plan.spec.search
        if not (news and search and search.pruner == "epochs") or each.is_stopped:
            return
        dice = {k: value for k, value in enumerate(told["dice"], start=1)}
        if self.ledger.is_hopeless(each.trial, dice):
            each.is_stopped = True
            best = max(dice.values())
            reason = f"given up after epoch {len(dice)}: validation Dice {best:.3f} at best, below the median"
            with suppress(OSError):  # the worker is gone: so is the trial, and the next one is told again
                self._client.run(stop_on_worker, each.future.key, reason, workers=[told["worker"]])

    def _ended(self, told: tuple[str, Future]) -> None:
        name, future = told
        each = self.running.get(name)
        if each is None or each.future is not future:
            return
        if future.status == "finished":
            outcome = future.result()
        elif future.status == "error":  # a worker that died again and again, or a fault of ours
            error = future.exception()
            outcome = Outcome("died", 0.0, f"{type(error).__name__}: {' '.join(str(error).split())}")
        else:
            raise self._lost()
        each.seconds += outcome.seconds
        if outcome.state == "full":
            raise MetsegError(
                f"no space left, as {name} found ({outcome.reason}); free some and start the sweep again: it "
                "goes on where it stopped"
            )
        if outcome.state in ("died", "cut off") and each.attempts < TRIES:
            each.attempts, each.is_stopped = each.attempts + 1, False
            each.future = self._submitted(each.point)
            return
        if outcome.state == "cut off":  # so would all others be
            raise MetsegError(
                f"{outcome.reason}, as {outcome.machine} found for {name}, twice; mend that and start the "
                "sweep again: it goes on where it stopped"
            )
        del self.running[name]
        self._enter(each, outcome)
        self._is_written = False

    def _enter(self, each: Running, outcome: Outcome) -> None:
        home, reason = Path("trials", each.point.name), outcome.reason
        if self._results:
            address = f"{self._results}/{each.point.name}"
            try:
                fetch(address, self.folder / home, for_reading=True)
            except Exception as error:  # each store has errors of its own
                reason = " · ".join(filter(None, (reason, f"all of it is at {address} alone ({error})")))
        result = {
            "epochs": outcome.epochs,
            "seconds": round(each.seconds, 1),
            "attempts": each.attempts,
            "machine": outcome.machine,
            "run_folder": self._run_folder(each.point),
            "notebook": (home / outcome.notebook).as_posix() if outcome.notebook else "",
            "reason": reason,
        }
        search, first = self.ledger.plan.spec.search, self.ledger.plan.spec.seeds[0]
        paired = search and search.pruner == "patients" and each.point.varied["seed"] == first
        if paired and self.ledger.is_hopeless_by_patients(each.trial, outcome.of_patients):
            result["hopeless"] = f"with seed {first} worse than the best trial, patient by patient"
        if outcome.state == "died":
            result["reason"] += f" ({each.attempts} tries)"
        state = {"stopped": "pruned", "died": "failed"}.get(outcome.state, outcome.state)
        self.ledger.finish(each.point, each.trial, state, result, outcome.validation_dice)

    def _write(self) -> None:
        """Writes the table, if it has changed."""
        if not self._is_written:
            write_results(self.folder, self.ledger.plan, self.ledger.rows.values())
            self._is_written = True

    def _lost(self) -> MetsegError:
        return MetsegError(
            "the Dask scheduler is gone; start one, and then this sweep again: it goes on where it stopped"
        )
