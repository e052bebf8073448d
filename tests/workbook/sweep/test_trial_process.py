"""One trial: what it leaves, and that nothing of it goes on living."""

import itertools
import os

import psutil
import pytest

from metseg.workbook.sweep.processes import MARK
from metseg.workbook.sweep.trial_process import Job, run_job


@pytest.fixture
def job_of(plan_of, tmp_path):
    def make(memory=None, **values) -> Job:
        point = next(iter(plan_of(set=values).grid()))
        return Job(point.name, point.notebook, point.values, tmp_path / "trials" / point.name, 2, memory)

    return make


def living(job: Job) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(job.folder):
                found.append(process.pid)
        except psutil.Error:
            pass
    return found


@pytest.mark.slow
def test_a_trial_from_start_to_finish(job_of):
    told = []
    outcome = run_job(job_of(rate=0.3, loss="focal", epochs=2), report=told.append)
    assert (outcome.state, outcome.reason) == ("done", "")
    assert outcome.notebook == "notebooks/03_train_unet.ipynb"
    assert (
        outcome.epochs == 2
        and outcome.validation_dice == pytest.approx(0.9)
        and len(outcome.of_patients) == 5
    )
    assert told[-1]["dice"] == pytest.approx([0.45, 0.9]) and told[-1]["epoch"] == 2


@pytest.mark.slow
def test_a_folder_of_temporary_files_too_deep_for_sockets(job_of, tmp_path, monkeypatch):
    deep = tmp_path / ("deep" * 25)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    assert run_job(job_of(rate=0.3)).state == "done" and [*deep.iterdir()] == []


@pytest.mark.slow
def test_a_killed_trial_leaves_nothing_and_says_so(job_of):
    job = job_of(fault="die")
    outcome = run_job(job)
    assert outcome.state == "died" and "its process ended with status -9" in outcome.reason
    assert living(job) == []


@pytest.mark.slow
def test_a_cell_that_raises(job_of):
    outcome = run_job(job_of(fault="raise"))
    assert outcome.state == "failed" and "ValueError: rate is no good" in outcome.reason
    assert outcome.notebook == "notebooks/03_train_unet.unfinished.ipynb"


@pytest.mark.slow
def test_a_full_disk(job_of):
    outcome = run_job(job_of(fault="full"))
    assert outcome.state == "full" and "No space left on device" in outcome.reason


@pytest.mark.slow
def test_more_memory_than_its_share(job_of):
    job = job_of(memory=400 * 2**20, fault="greedy")
    outcome = run_job(job)
    assert outcome.state == "failed" and "its share is 0.4 GiB" in outcome.reason
    assert living(job) == []


@pytest.mark.slow
def test_a_trial_that_is_told_to_stop(job_of):
    job, looks = job_of(seconds=60.0), itertools.count()
    outcome = run_job(job, why_stop=lambda: "below the median" if next(looks) > 4 else None)
    assert (outcome.state, outcome.reason) == ("stopped", "below the median")
    assert outcome.seconds < 60 and living(job) == []


def test_a_folder_that_cannot_be_written(job_of, tmp_path):
    (tmp_path / "trials").write_text("a file")
    outcome = run_job(job_of())
    assert outcome.state == "failed" and str(os.getpid()) not in outcome.reason
    assert "Not a directory" in outcome.reason
