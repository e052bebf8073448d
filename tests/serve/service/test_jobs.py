"""Jobs: bounded, fetched once, and gone after an hour or with the service."""

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from metseg.base.errors import MetsegError
from metseg.serve.service.jobs import JOB_SECONDS, KEPT_SECONDS, Done, Jobs
from metseg.serve.upload import Refused
from metseg.serve.volume_upload import UPLOAD


@pytest.fixture
def jobs():
    made = Jobs(most=2)
    yield made
    made.close()
    assert not made.folder.exists()


def finished(jobs: Jobs, job: str) -> Done:
    deadline = time.monotonic() + 10
    while isinstance(found := jobs.ask(job), str):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found


def is_gone(jobs: Jobs, job: str) -> bool:
    with pytest.raises(Refused) as caught:
        jobs.ask(job)
    return caught.value.code == "not_found"


def test_a_job_is_fetched_once(jobs):
    go, job, next_one = threading.Event(), jobs.reserve(), jobs.reserve()
    jobs.start(job, lambda: Done("a.nii.gz", b"x\n" * go.wait(10), ("Left out.",)))
    jobs.start(next_one, lambda: Done("b.nii.gz", b""))
    assert jobs.ask(next_one) == "queued"
    go.set()
    assert finished(jobs, job) == Done("a.nii.gz", b"x\n", ("Left out.",)) and is_gone(jobs, job)
    assert finished(jobs, next_one) == Done("b.nii.gz", b"") and not any(jobs.folder.iterdir())


def test_a_full_disk_is_told_on_a_full_disk(jobs, monkeypatch):
    job, write = jobs.reserve(), Path.write_bytes

    def full(path: Path, content: bytes) -> None:
        write(path, content[:1])
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "write_bytes", full)
    jobs.start(job, lambda: Done("a.nii.gz", b"x"))
    with pytest.raises(Refused) as caught:
        finished(jobs, job)
    assert caught.value.code == "no_room"
    with pytest.raises(OSError, match="full"):
        jobs.reserve()
    assert not any(jobs.folder.iterdir()) and is_gone(jobs, job)


def test_no_more_than_the_most_are_there(jobs):
    job, _ = jobs.reserve(), jobs.reserve()
    with pytest.raises(Refused) as caught:
        Jobs(jobs.folder, most=2).reserve()  # nor in another process
    assert caught.value.code == "jobs_full"
    jobs.drop(job)
    jobs.reserve()


def test_what_fails_says_why(jobs):
    def fail() -> None:
        raise MetsegError(f"{jobs.folder}/x cannot be written")

    def find_no_room() -> None:
        raise OSError(errno.ENOSPC, "full")

    for work, code in (
        (fail, "unusable_volume"),
        (lambda: 1 / 0, "internal_error"),
        (find_no_room, "no_room"),
    ):
        job = jobs.reserve()
        jobs.start(job, work)
        with pytest.raises(Refused) as caught:
            finished(jobs, job)
        assert caught.value.code == code and str(jobs.folder) not in str(caught.value)


def test_what_nobody_fetches_is_forgotten(jobs):
    job = jobs.reserve()
    jobs.start(job, lambda: Done("a", b""))
    while not (path := jobs.folder / f"{job}.done").exists():
        time.sleep(0.005)
    os.utime(path, (time.time() - KEPT_SECONDS - 1,) * 2)
    assert is_gone(jobs, job) and not path.exists()


@pytest.mark.parametrize("status", ["queued", "running"])
def test_what_takes_too_long_makes_room_and_leaves_nothing(jobs, status):
    go, first, second = threading.Event(), jobs.reserve(), jobs.reserve()
    jobs.start(first, lambda: Done("a", b"x" * go.wait(10)))
    jobs.start(second, lambda: Done("b", b""))
    while jobs.ask(first) != "running":
        time.sleep(0.005)
    late, other = (first, second) if status == "running" else (second, first)
    os.utime(jobs.folder / f"{late}.{status}", (time.time() - JOB_SECONDS - 1,) * 2)
    assert is_gone(jobs, late)
    jobs.drop(jobs.reserve())
    go.set()
    assert finished(jobs, other).name == ("b" if status == "running" else "a")
    jobs.start(jobs.reserve(), lambda: Done("c", b""))  # the thread is free again
    assert is_gone(jobs, late)


@pytest.mark.parametrize("job", ["", "../x", "x" * 32, "*" * 32])
def test_no_other_id_finds_anything(jobs, job):
    jobs.reserve()
    assert is_gone(jobs, job)


def test_a_service_that_ends_leaves_nothing(jobs):
    go, job = threading.Event(), jobs.reserve()
    jobs.start(job, lambda: Done("a", b"x" * go.wait(10)))
    while jobs.ask(job) != "running":
        time.sleep(0.005)
    jobs.close()
    go.set()
    jobs._thread.shutdown(wait=True)
    assert not jobs.folder.exists()


def test_what_a_dead_process_had_is_told_and_makes_room(jobs, monkeypatch):
    job, other = jobs.reserve(), jobs.reserve()
    mine, left = (jobs.folder / f"{UPLOAD}{pid}-x" for pid in (os.getpid(), 99999999))
    for folder in (mine, left):
        folder.mkdir()
    path = jobs.folder / f"{job}.queued"
    path.write_bytes(b"99999999" + path.read_bytes()[8:])  # no process has such a number
    with pytest.raises(Refused) as caught:
        jobs.ask(job)
    assert caught.value.code == "internal_error" and jobs.ask(other) == "queued"
    jobs.reserve()
    assert mine.exists() and not left.exists()


def test_an_answer_that_is_being_written_is_no_process_that_died(jobs):
    """On a full disk it is written over what a job that runs has reserved, and renamed then."""
    job = jobs.reserve()
    (queued,) = jobs.folder.iterdir()
    queued.rename(queued.with_suffix(".running")).write_bytes(b'{"code": "no_room"}\n')
    assert jobs.ask(job) == "running"
