"""A benchmark that is interrupted goes on; the workers here need no TensorFlow."""

import json
import subprocess
import sys
import time

import psutil
import pytest

from metseg.base.errors import MetsegError
from metseg.benchmark import run
from metseg.benchmark.plan import Settings
from metseg.benchmark.run import planned, read_measurements, run_benchmark, unfinished_benchmark

# Two workers a round.
SMALL = Settings(networks=(), matrix_sides=(8,), rounds=3, turn_seconds=0.01)
RUN = """
import shutil
import sys
from pathlib import Path
from metseg.benchmark import run
from metseg.benchmark.plan import Measurement, Settings
each = Measurement("onnxruntime", "inference", "nested_unet", size=32)
run.plan = lambda settings, peers: {"alone": [each]}
run._export_networks = lambda group, folder: shutil.copytree(sys.argv[3], folder / "networks")
run.run_benchmark(Settings.model_validate_json(sys.argv[1]), Path(sys.argv[2]))
"""


def interrupted(fake, settings, folder, *, at: int) -> None:
    """Begins a benchmark that is interrupted at a turn."""
    fake.turns, fake.last_turn = 0, at
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(settings, folder)


def test_an_interrupted_run_repeats_its_last_round_alone(fake, tmp_path):
    interrupted(fake, SMALL, tmp_path, at=2 + 3)  # in the second round, behind two turns to warm up
    kept = read_measurements("limits", tmp_path)["rounds"]
    assert len(kept) == 1
    assert json.loads((tmp_path / "benchmark.json").read_text())["finished"] is None
    told = []
    record = run_benchmark(SMALL, tmp_path, on_progress=lambda *progress: told.append(progress))
    assert fake.turns == 5 + 2 + 2 * 2
    rounds = read_measurements("limits", tmp_path)["rounds"]
    assert rounds[0] == kept[0] and len(rounds) == 3
    assert record["finished"]
    assert told == [("limits", done, 3) for done in (1, 2, 3)]
    assert run_benchmark(SMALL, tmp_path) == record  # finished: nobody starts
    assert fake.turns == 11


def test_contestants_alternate(fake, tmp_path):
    record = run_benchmark(SMALL, tmp_path)
    rounds = read_measurements("limits", tmp_path)["rounds"]
    order = [turns[each.key]["seconds"][1] for turns in rounds for each in planned(record)["limits"]]
    assert order == list(range(3, 9))  # the first two were to warm up


def test_other_settings_are_refused_or_begun_anew(fake, tmp_path):
    run_benchmark(SMALL, tmp_path)
    other = SMALL.model_copy(update={"rounds": 4})
    with pytest.raises(MetsegError, match="choose another --run-name"):
        run_benchmark(other, tmp_path)
    assert run_benchmark(other, tmp_path, restart=True)["settings"]["rounds"] == 4
    assert len(read_measurements("limits", tmp_path)["rounds"]) == 4


def test_what_changed_meanwhile_does_not_go_on(fake, monkeypatch, tmp_path):
    folder, whole = tmp_path / "benchmark-1", tmp_path / "benchmark-0"
    finished = run_benchmark(SMALL, whole)
    interrupted(fake, SMALL, folder, at=5)
    before = read_measurements("limits", folder)["rounds"]
    monkeypatch.setattr(run, "git_revision", lambda: "another")
    assert run_benchmark(SMALL, whole) == finished
    assert unfinished_benchmark(tmp_path, SMALL) is None
    with pytest.raises(MetsegError, match="choose another --run-name"):
        run_benchmark(SMALL, folder)
    assert run_benchmark(SMALL, folder, restart=True)["git_revision"] == "another"
    rounds = read_measurements("limits", folder)["rounds"]
    assert len(before) > 0 and len(rounds) == 3 and rounds[0] != before[0]


def test_a_damaged_one_is_begun_anew(fake, tmp_path):
    interrupted(fake, SMALL, tmp_path / "benchmark-1", at=5)
    (tmp_path / "benchmark-1" / "benchmark.json").write_text("{")
    assert unfinished_benchmark(tmp_path, SMALL) is None
    fake.turns = 10
    assert run_benchmark(SMALL, tmp_path / "benchmark-1")["finished"]
    assert fake.turns == 10 + 2 + 3 * 2


def test_peers_that_are_not_installed_are_one_sentence(fake, monkeypatch, tmp_path):
    monkeypatch.setattr(run, "missing_peers", lambda: ["torch", "monai"])
    (sentence,) = run_benchmark(SMALL, tmp_path)["left_out"]
    assert sentence == ("MONAI is left out: torch and monai not installed; pip install -e '.[benchmark]'")
    alone = SMALL.model_copy(update={"peers": False})
    assert run_benchmark(alone, tmp_path / "alone")["left_out"] == []


def test_the_run_to_go_on_with(fake, tmp_path):
    for name in ("benchmark-1", "benchmark-2"):
        interrupted(fake, SMALL, tmp_path / name, at=5)
    assert unfinished_benchmark(tmp_path, SMALL) == tmp_path / "benchmark-2"
    assert unfinished_benchmark(tmp_path, SMALL.model_copy(update={"rounds": 9})) is None
    run_benchmark(SMALL, tmp_path / "benchmark-2")
    assert unfinished_benchmark(tmp_path, SMALL) == tmp_path / "benchmark-1"


def test_a_killed_run_goes_on_and_leaves_no_process(bright, monkeypatch, tmp_path):
    (each, exported), folder = bright, tmp_path / "killed"
    settings = SMALL.model_copy(update={"rounds": 12, "turn_seconds": 0.05})
    told = [settings.model_dump_json(), str(folder), str(exported / "networks")]
    child = subprocess.Popen([sys.executable, "-c", RUN, *told])
    while child.poll() is None and len(read_measurements("alone", folder)["rounds"]) < 3:
        time.sleep(0.02)
    workers = psutil.Process(child.pid).children()
    child.kill()
    child.wait()
    assert workers and psutil.wait_procs(workers, timeout=30)[1] == []  # none is still alive
    kept = read_measurements("alone", folder)["rounds"]
    assert 3 <= len(kept) < 12
    monkeypatch.setattr(run, "plan", lambda settings, peers: {"alone": [each]})
    run_benchmark(settings, folder)
    rounds = read_measurements("alone", folder)["rounds"]
    assert len(rounds) == 12 and rounds[: len(kept)] == kept
