"""A benchmark that is interrupted goes on; the workers here add two vectors and need no TensorFlow."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest

from metseg.base.errors import MetsegError
from metseg.benchmark import run
from metseg.benchmark.plan import plan
from metseg.benchmark.run import planned, read_measurements, run_benchmark, unfinished_benchmark
from metseg.benchmark.settings import Settings

SMALL = Settings(
    networks=(), scaling_sizes=(), data_slices=(), matrix_sides=(), stream_mb=1, rounds=3, turn_seconds=0.01
)
RUN = """
import sys
from pathlib import Path
from metseg.benchmark.run import run_benchmark
from metseg.benchmark.settings import Settings
run_benchmark(Settings.model_validate_json(sys.argv[1]), Path(sys.argv[2]))
"""


class FakeWorker:
    """Answers at once, and dies at a turn that is told."""

    turns = 0
    last_turn = 10**9

    def __init__(self, measurement):
        self.measurement = measurement

    def ready(self):
        return {"precision": "float32", "threads": 1, "flop": 2, "elements": 3, "weights": 0}

    def turn(self, seconds):
        type(self).turns += 1
        if self.turns == self.last_turn:
            raise KeyboardInterrupt
        return {"seconds": [seconds, self.turns], "other_cores": 0.0, "peak_mb": 1.0}


@pytest.fixture
def fake(monkeypatch):
    @contextmanager
    def working(measurements):
        yield [FakeWorker(measurement) for measurement in measurements]

    monkeypatch.setattr(run, "working", working)
    monkeypatch.setattr(FakeWorker, "turns", 0)
    monkeypatch.setattr(FakeWorker, "last_turn", 10**9)
    return FakeWorker


def test_an_interrupted_run_repeats_its_last_round_alone(fake, tmp_path):
    settings = SMALL.model_copy(update={"matrix_sides": (8,)})  # three workers a round
    (group,) = plan(settings, tmp_path, peers=False, serving={})
    fake.last_turn = 3 + 5  # in the second round, behind three turns to warm up
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(settings, tmp_path)
    kept = read_measurements(group, tmp_path)["rounds"]
    assert len(kept) == 1
    assert json.loads((tmp_path / "benchmark.json").read_text())["finished"] is None
    told = []
    record = run_benchmark(settings, tmp_path, on_progress=lambda *progress: told.append(progress))
    assert fake.turns == 8 + 3 + 2 * 3
    rounds = read_measurements(group, tmp_path)["rounds"]
    assert rounds[0] == kept[0] and len(rounds) == 3
    assert record["finished"]
    done = [k for _, k, _ in told]
    assert done == sorted(done) and done[-1] == pytest.approx(told[-1][2])
    run_benchmark(settings, tmp_path)  # finished: nobody starts
    assert fake.turns == 17


def test_contestants_alternate(fake, tmp_path):
    settings = SMALL.model_copy(update={"matrix_sides": (8,)})
    run_benchmark(settings, tmp_path)
    (group,) = plan(settings, tmp_path, peers=False, serving={})
    rounds = read_measurements(group, tmp_path)["rounds"]
    order = [turns[measurement.key]["seconds"][1] for turns in rounds for measurement in group.measurements]
    assert order == list(range(4, 13))  # the first three were to warm up


def test_other_settings_are_refused(fake, tmp_path):
    run_benchmark(SMALL, tmp_path)
    with pytest.raises(MetsegError, match="holds a benchmark with other settings; choose another --run-name"):
        run_benchmark(SMALL.model_copy(update={"rounds": 4}), tmp_path)


@pytest.fixture
def elsewhere(monkeypatch):
    """A function after which all is installed, released and committed otherwise."""

    def change():
        monkeypatch.setattr(run, "git_revision", lambda: "another")
        monkeypatch.setattr(run, "missing_peers", lambda: ["torch"])
        monkeypatch.setattr(run, "released_precisions", lambda networks: {"nested_unet": "int8"})

    return change


def test_a_finished_one_stays_as_it_is(fake, elsewhere, tmp_path):
    record = run_benchmark(SMALL, tmp_path)
    plan_of_then = planned(tmp_path)
    elsewhere()
    assert run_benchmark(SMALL, tmp_path) == record
    assert run_benchmark(SMALL.model_copy(update={"rounds": 4}), tmp_path, restart=True) == record
    assert planned(tmp_path) == plan_of_then


def test_what_changed_meanwhile_does_not_go_on(fake, elsewhere, tmp_path):
    fake.last_turn = 3
    folder = tmp_path / "benchmark-1"
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(SMALL, folder)
    (group,) = planned(folder)
    before = read_measurements(group, folder)["rounds"]
    elsewhere()
    assert unfinished_benchmark(tmp_path, SMALL) is None
    with pytest.raises(MetsegError, match="benchmark-1 holds a benchmark with other git revision; choose an"):
        run_benchmark(SMALL, folder)
    assert run_benchmark(SMALL, folder, restart=True)["git_revision"] == "another"
    rounds = read_measurements(group, folder)["rounds"]
    assert len(before) > 0 and len(rounds) == 3 and rounds[0] != before[0]


@pytest.mark.parametrize(
    ("name", "text"), [("benchmark.json", "{"), ("plan.json", "{"), ("plan.json", '{"groups": [{}]}')]
)
def test_a_damaged_one_is_skipped_named_or_begun_anew(fake, tmp_path, name, text):
    fake.last_turn = 3
    folder = tmp_path / "benchmark-1"
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(SMALL, folder)
    (folder / name).write_text(text)
    assert unfinished_benchmark(tmp_path, SMALL) is None
    with pytest.raises(MetsegError, match="benchmark-1 is damaged; choose another --run-name"):
        run_benchmark(SMALL, folder)
    assert run_benchmark(SMALL, folder, restart=True)["finished"]


def test_peers_that_are_not_installed_are_one_sentence(fake, monkeypatch, tmp_path):
    monkeypatch.setattr(run, "missing_peers", lambda: ["torch", "monai"])
    (sentence,) = run_benchmark(SMALL, tmp_path)["left_out"]
    assert sentence == ("MONAI is left out: torch and monai not installed; pip install -e '.[benchmark]'")
    alone = SMALL.model_copy(update={"peers": False})
    assert run_benchmark(alone, tmp_path / "alone")["left_out"] == []


def test_the_run_to_go_on_with(fake, tmp_path):
    fake.last_turn = 3
    for name in ("benchmark-1", "benchmark-2"):
        fake.turns = 0
        with pytest.raises(KeyboardInterrupt):
            run_benchmark(SMALL, tmp_path / name)
    assert unfinished_benchmark(tmp_path, SMALL) == tmp_path / "benchmark-2"
    assert unfinished_benchmark(tmp_path, SMALL.model_copy(update={"rounds": 9})) is None
    run_benchmark(SMALL, tmp_path / "benchmark-2")
    assert unfinished_benchmark(tmp_path, SMALL) == tmp_path / "benchmark-1"


def test_a_killed_run_goes_on_and_leaves_no_process(tmp_path):
    settings = SMALL.model_copy(update={"rounds": 40, "turn_seconds": 0.05})
    (group,) = plan(settings, tmp_path, peers=False, serving={})
    child = subprocess.Popen([sys.executable, "-c", RUN, settings.model_dump_json(), str(tmp_path)])
    while child.poll() is None and len(read_measurements(group, tmp_path)["rounds"]) < 3:
        time.sleep(0.02)
    workers = psutil.Process(child.pid).children()
    child.kill()
    child.wait()
    assert workers and psutil.wait_procs(workers, timeout=30)[1] == []  # none is still alive
    kept = read_measurements(group, tmp_path)["rounds"]
    assert 3 <= len(kept) < 40
    run_benchmark(settings, tmp_path)
    rounds = read_measurements(group, tmp_path)["rounds"]
    assert len(rounds) == 40 and rounds[: len(kept)] == kept


def test_a_contestant_that_stops_is_one_sentence(tmp_path):
    settings = SMALL.model_copy(update={"stream_mb": -1})
    with pytest.raises(
        MetsegError, match="machine stopped at bandwidth .*the same command goes on"
    ) as caught:
        run_benchmark(settings, tmp_path)
    assert "\n" not in str(caught.value)
