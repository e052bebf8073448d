"""Of several coordinators that reach a study one alone has it, and each knows whether it is the one."""

import os
import time

import optuna
import pytest

from metseg.base.errors import MetsegError
from metseg.workbook.sweep import lease
from metseg.workbook.sweep.lease import Lease, complain_if_held


@pytest.fixture
def study(monkeypatch) -> optuna.Study:
    monkeypatch.setattr(lease, "_SETTLE_SECONDS", 0)
    return optuna.create_study(study_name="s")


def held(study: optuna.Study, **entries) -> None:
    """Has another machine's coordinator hold a study."""
    known = {"host": "elsewhere", "pid": 7, "seen": time.time(), "token": "theirs"}
    study.set_user_attr("coordinator", known | entries)


def test_who_lives_elsewhere_keeps_it_for_a_minute(study):
    held(study)
    with pytest.raises(MetsegError, match="'s' is run by process 7 on elsewhere"):
        Lease(study)
    for minutes in (-2, 2):  # also of a clock that is ahead
        held(study, seen=time.time() + 60 * minutes)
        Lease(study).release()


def test_who_is_gone_from_this_machine_holds_nothing(study, monkeypatch):
    monkeypatch.setattr("psutil.pid_exists", lambda pid: False)
    held(study, host=lease.socket.gethostname())
    Lease(study)


def test_of_two_that_start_at_once_the_later_entry_has_it(study, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: held(study))
    with pytest.raises(MetsegError, match="process 7 on elsewhere; this one stops"):
        Lease(study)


def test_who_lost_it_stops_and_leaves_it_to_the_other(study, monkeypatch):
    own = Lease(study)
    assert study.user_attrs["coordinator"]["pid"] == os.getpid()
    held(study)
    monkeypatch.setattr(lease, "_SECONDS", -1)  # it is time again
    with pytest.raises(MetsegError, match="process 7 on elsewhere; this one stops"):
        own.keep()
    own.release()
    assert study.user_attrs["coordinator"]["token"] == "theirs"


def test_a_copy_that_is_being_written_is_held_as_well(study):
    complain_if_held(study)
    held(study)
    with pytest.raises(MetsegError, match="is run by"):
        complain_if_held(study)
