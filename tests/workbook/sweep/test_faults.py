"""Whatever is killed, nothing that was finished is lost or run twice, and nothing lives on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from metseg.base.errors import MetsegError
from metseg.workbook.sweep.processes import MARK
from metseg.workbook.sweep.run import run_sweep

PROGRAM = """
import sys
from pathlib import Path
from metseg.workbook.sweep.plan import Plan
from metseg.workbook.sweep.run import run_sweep
from metseg.workbook.sweep.spec import read_spec
spec, notebooks, folder = map(Path, sys.argv[1:])
run_sweep(Plan(read_spec(spec), notebooks), folder, jobs=2)
"""


def marked(folder: Path) -> list[int]:
    """Processes of trials below a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").startswith(str(folder)):
                found.append(process.pid)
        except psutil.Error:
            pass
    return found


def wait_until(condition, seconds: float = 90) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return bool(condition())


def calls(folder: Path) -> dict[str, int]:
    """{trial: how often its notebook began}."""
    found = folder.glob("trials/*/unet/calls.txt")
    return {path.parents[1].name: len(path.read_text().splitlines()) for path in found}


def epochs(folder: Path, trial: str) -> list[str]:
    lines = (folder / "trials" / trial / "unet" / "history.csv").read_text().splitlines()
    return [line.partition(",")[0] for line in lines[1:]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "outputs" / "sweeps" / "s"


@pytest.mark.slow
def test_a_trial_that_is_killed_or_raises_stops_no_other(plan_of, folder):
    table = run_sweep(plan_of(grid={"fault": ["raise", "die once", "die", ""]}), folder, jobs=2)
    assert [*table.fault] == ["raise", "die once", "die", ""]
    assert [*table.state] == ["failed", "done", "failed", "done"]
    assert [*table.attempts] == [1, 2, 2, 1]
    assert [*table.validation_dice.notna()] == [False, True, False, True]
    raised, _, died, done = table.itertuples()
    assert "ValueError: rate is no good" in raised.reason and "(2 tries)" in died.reason
    assert "ValueError" in Path(raised.notebook).read_text() and ".unfinished" in raised.notebook
    assert (
        Path(done.notebook).with_suffix(".html").is_file() and Path(done.run_folder, "model.json").is_file()
    )
    assert marked(folder) == []


@pytest.mark.slow
def test_a_sweep_that_is_killed_goes_on_and_another_is_told_meanwhile(plan_of, tmp_path, folder):
    plan = plan_of(grid={"seconds": [0.0, 15.0]}, set={"epochs": 6})
    command = [sys.executable, "-c", PROGRAM, tmp_path / "sweep.yml", tmp_path / "notebooks", folder]
    first = subprocess.Popen([str(each) for each in command], stderr=subprocess.DEVNULL)
    try:
        slow, results = "unet-seconds15-seed0", folder / "results.csv"
        assert wait_until(lambda: results.exists() and ",done," in results.read_text())
        assert wait_until(lambda: len(epochs(folder, slow)) > 1)
        with pytest.raises(MetsegError, match="is run by another process"):
            run_sweep(plan, folder)
        workers = psutil.Process(first.pid).children(recursive=True)
        assert marked(folder)
    finally:
        first.kill()
        first.wait()
    assert wait_until(lambda: not marked(folder), 20) and not psutil.wait_procs(workers, timeout=20)[1]
    table = run_sweep(plan, folder, jobs=2)
    assert [*table.state] == ["done"] * 2 and table.trial.is_unique
    assert calls(folder)["unet-seconds0-seed0"] == 1 and calls(folder)[slow] == 2
    assert epochs(folder, slow) == [*"123456"]  # it went on after its last epoch


@pytest.mark.slow
def test_a_killed_worker_has_its_trial_moved(plan_of, folder):
    killed = []

    def kill(sweep) -> None:
        told = [each.progress for each in sweep.running.values() if each.progress]
        if not killed and told and len(told[0]["dice"]) > 1:
            (pid,) = sweep._client.run(os.getpid, workers=[told[0]["worker"]]).values()
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)

    table = run_sweep(plan_of(set={"seconds": 4.0, "epochs": 6}), folder, jobs=2, on_change=kill)
    assert killed and [*table.state] == ["done"] and [*table.attempts] == [1]
    assert calls(folder) == {"unet-seed0": 2} and epochs(folder, "unet-seed0") == [*"123456"]
    assert marked(folder) == []


@pytest.mark.slow
def test_a_killed_scheduler_is_told_and_machines_without_a_common_disk_go_on(plan_of, tmp_path, folder):
    started: list[subprocess.Popen] = []

    def dask(what: str, *options: object) -> subprocess.Popen:
        own = {"TMPDIR": str(tmp_path / f"machine-{len(started)}")}
        Path(own["TMPDIR"]).mkdir()
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *map(str, options)]
        where = {"cwd": tmp_path, "env": os.environ | own, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen(command, **where))
        return started[-1]

    def cluster(name: str) -> tuple[subprocess.Popen, str]:
        known = tmp_path / name
        local = ("--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0")
        scheduler = dask("scheduler", *local, "--scheduler-file", known)
        assert wait_until(known.exists)
        for _ in range(2):
            dask("worker", "--scheduler-file", known, "--nthreads", "1", "--no-dashboard")
        return scheduler, json.loads(known.read_text())["address"]

    store = f"file://{tmp_path}/store"
    plan = plan_of(set={"seconds": 12.0, "epochs": 6}, grid={"rate": [0.1, 0.3]})
    try:
        scheduler, address = cluster("first.json")

        def kill(sweep) -> None:
            if sum(len(each.progress.get("dice", ())) > 1 for each in sweep.running.values()) == 2:
                scheduler.kill()

        with pytest.raises(MetsegError, match="scheduler is gone.*goes on where it stopped"):
            run_sweep(plan, folder, scheduler=address, results=store, on_change=kill)
        assert wait_until(lambda: not marked(tmp_path), 60)
        assert not list(folder.glob("trials/*"))
        _, address = cluster("second.json")
        table = run_sweep(plan, folder, scheduler=address, results=store)
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert [*table.state] == ["done"] * 2
    assert {tuple(epochs(folder, name)) for name in table.trial} == {tuple("123456")}
    assert set(calls(folder).values()) == {2} and all(Path(each).is_file() for each in table.notebook)


@pytest.mark.slow
def test_a_trial_that_is_given_up_ends_at_once(plan_of, folder, monkeypatch):
    monkeypatch.setattr("metseg.workbook.sweep.ledger.Ledger.is_hopeless", lambda *_: True)
    search = {"trials": 1, "pruner": "epochs", "parameters": {"rate": {"low": 0.1, "high": 0.9}}}
    table = run_sweep(plan_of(set={"seconds": 60.0, "epochs": 60}, search=search), folder, jobs=1)
    assert [*table.state] == ["pruned"] and table.reason[0].startswith("given up after epoch")
    assert table.epochs[0] < 30 and ".unfinished" in table.notebook[0] and marked(folder) == []


@pytest.mark.slow
def test_a_full_disk_stops_the_sweep_which_goes_on_once_there_is_space(plan_of, folder):
    plan = plan_of(set={"fault": "full"})
    with pytest.raises(MetsegError, match="no space left, as unet-seed0 found"):
        run_sweep(plan, folder, jobs=1)
    table = run_sweep(plan, folder, jobs=1)
    assert [*table.state] == ["done"] and calls(folder) == {"unet-seed0": 2}


def test_no_scheduler_at_the_address(plan_of, folder, monkeypatch):
    monkeypatch.setattr("metseg.workbook.sweep.cluster._CONNECT_SECONDS", 0.5)
    with pytest.raises(MetsegError, match="no Dask scheduler answers at tcp://127.0.0.1:1 .*dask scheduler"):
        run_sweep(plan_of(), folder, scheduler="tcp://127.0.0.1:1")
