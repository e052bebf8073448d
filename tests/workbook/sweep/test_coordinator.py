"""What the coordinator decides, with workers that are not there: each trial ends as the test says."""

from pathlib import Path

import pytest
from optuna.exceptions import StorageInternalError

from metseg.base.errors import MetsegError
from metseg.workbook.sweep.coordinator import Coordinator
from metseg.workbook.sweep.ledger import Ledger
from metseg.workbook.sweep.storage import ledger_errors_told
from metseg.workbook.sweep.table import read_sweep
from metseg.workbook.sweep.trial_process import Outcome

PATIENTS = {f"P_{k}": 0.5 + k / 20 for k in range(8)}


class Future:
    def __init__(self, key: str, outcome: Outcome | None, status: str = "finished"):
        self.key, self.outcome, self.status, self.tell = key, outcome, status, None

    def add_done_callback(self, tell) -> None:
        self.tell = tell
        if self.outcome is not None or self.status != "finished":
            tell(self)

    def result(self) -> Outcome:
        return self.outcome

    def cancel(self) -> None:
        pass


class Client:
    """Dask's, of two workers; `end` says for (job, nth try) how it ends, and None that it goes on."""

    status = "running"

    def __init__(self, end, epochs=lambda job: []):
        self.end, self.epochs, self.tries, self.futures = end, epochs, [], {}

    def subscribe_topic(self, topic, handler) -> None:
        self.tell = handler

    def nthreads(self) -> dict:
        return {"tcp://here:1": 1, "tcp://here:2": 1}

    def submit(self, function, job, topic, beside, results, *, key, pure) -> Future:
        self.tries.append(job.name)
        outcome = self.end(job, self.tries.count(job.name))
        told = {"trial": job.name, "worker": "tcp://here:1", "seconds_left": 0, "epoch": 1, "epochs": 9}
        for k in range(len(dice := self.epochs(job))):
            self.tell((0, {**told, "dice": dice[: k + 1]}))
        status = outcome if isinstance(outcome, str) else "finished"
        self.futures[key] = Future(key, outcome if status == "finished" else None, status)
        return self.futures[key]

    def run(self, function, key, reason, **options) -> None:
        self.futures[key].outcome = Outcome("stopped", 1.0, reason)
        self.futures[key].tell(self.futures[key])


def done(job, tries=1) -> Outcome:
    of_patients = {name: dice - job.values["rate"] for name, dice in PATIENTS.items()}
    return Outcome("done", 2.0, "", "notebooks/n.ipynb", 4, 0.9 - job.values["rate"], of_patients)


@pytest.fixture
def sweep(plan_of, tmp_path: Path):
    def run(client: Client, **entries):
        ledger = Ledger(plan_of(**entries), tmp_path)
        ledger.enqueue()
        Coordinator(ledger, tmp_path, client).run()
        return read_sweep(tmp_path)

    return run


def test_a_grid_from_start_to_finish(sweep, tmp_path):
    table = sweep(client := Client(done), grid={"rate": [0.1, 0.2, 0.3]})
    assert client.tries == [*table.trial] and [*table.state] == ["done"] * 3
    assert [*table.validation_dice] == pytest.approx([0.8, 0.7, 0.6]) and [*table.seconds] == [2.0] * 3
    assert [*table.epochs] == [4] * 3
    assert table.notebook[0] == str(tmp_path / "trials" / table.trial[0] / "notebooks" / "n.ipynb")
    assert table.run_folder[0] == str(tmp_path / "trials" / table.trial[0] / "unet")


def test_epochs_of_an_earlier_start_count_in_the_time(sweep, tmp_path):
    history = tmp_path / "trials" / "unet-rate0.1-seed0" / "unet" / "history.csv"
    history.parent.mkdir(parents=True)
    history.write_text("epoch,val_dice,seconds\n1,0.5,40\n2,0.6,30.5\n")
    assert [*sweep(Client(done), grid={"rate": [0.1, 0.2]}).seconds] == [72.5, 2.0]


def test_who_was_killed_is_tried_once_more(sweep):
    def end(job, tries):
        return Outcome("died", 3.0, "killed") if job.values["rate"] < 0.2 or tries == 1 else done(job)

    table = sweep(client := Client(end), grid={"rate": [0.1, 0.2]})
    assert [*table.state] == ["failed", "done"] and [*table.attempts] == [2, 2] and len(client.tries) == 4
    assert [*table.seconds] == [6.0, 5.0] and [*table.reason] == ["killed (2 tries)", ""]


def test_whose_cell_raised_is_not(sweep):
    table = sweep(
        client := Client(lambda job, tries: Outcome("failed", 3.0, "no masks")), grid={"rate": [0.1]}
    )
    assert [*table.state] == ["failed"] and [*table.reason] == ["no masks"] and len(client.tries) == 1


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (Outcome("full", 1.0, "disk"), "no space left, as unet-rate0.1-seed0"),
        ("cancelled", "scheduler is gone"),
        (Outcome("cut off", 1.0, "cannot write s3://x", machine="m1"), "cannot write s3://x, as m1 found"),
    ],
)
def test_what_stops_a_sweep_fails_no_trial(sweep, tmp_path, outcome, message):
    with pytest.raises(MetsegError, match=f"{message}.*goes on where it stopped"):
        sweep(Client(lambda job, tries: outcome), grid={"rate": [0.1, 0.2, 0.3]})
    table = read_sweep(tmp_path)
    assert [*table.state] == ["running", "running", "waiting"]
    assert [*table.run_folder.str.endswith("unet")] == [True, True, False]
    assert [*sweep(Client(done), grid={"rate": [0.1, 0.2, 0.3]}).state] == ["done"] * 3


def test_a_ledger_that_cannot_be_written(sweep, monkeypatch):
    def fail(*arguments) -> None:
        raise StorageInternalError("trouble") from OSError("database or disk is full")

    monkeypatch.setattr("metseg.workbook.sweep.ledger.Ledger.finish", fail)
    message = "cannot write the ledger .database or disk is full"
    with pytest.raises(MetsegError, match=message), ledger_errors_told():
        sweep(Client(done), grid={"rate": [0.1]})


SEARCH = {"trials": 8, "sampler": "random", "parameters": {"rate": {"low": 0.1, "high": 0.2}}}


def test_hopeless_at_an_epoch(sweep):
    begun = []

    def epochs(job):
        begun.append(job.name)
        return [0.1, 0.2, 0.3] if len(begun) == 7 else [0.5, 0.6, 0.7]

    def end(job, tries):
        return None if len(begun) == 6 else done(job)

    table = sweep(Client(end, epochs), search={**SEARCH, "pruner": "epochs"})
    assert table.state.value_counts().to_dict() == {"done": 7, "pruned": 1}
    (pruned,) = table[table.state == "pruned"].itertuples()
    assert pruned.trial == begun[6]
    assert pruned.reason.startswith("given up after epoch 2: validation Dice 0.2")


def test_hopeless_by_patients_saves_the_other_seeds(sweep):
    table = sweep(client := Client(done), search={**SEARCH, "pruner": "patients"}, seeds=[0, 1, 2])
    states = table.groupby("rate").state.agg(lambda each: " ".join(sorted(each)))
    assert set(states) == {"done done done", "done pruned pruned"}
    best = table.loc[table.validation_dice.idxmax(), "rate"]
    assert states[best] == "done done done" and len(client.tries) < 24
