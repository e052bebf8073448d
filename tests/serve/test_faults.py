"""What is said of a fault, and a disk that takes nothing."""

import errno
import tempfile

import pytest

from metseg.base.errors import MetsegError
from metseg.serve.faults import check_room, is_full


def test_a_disk_that_takes_nothing_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    check_room()
    assert not any(tmp_path.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(MetsegError, match="TMPDIR"):
        check_room()


def test_which_faults_are_of_a_full_disk():
    assert is_full(OSError(errno.ENOSPC, "")) and not is_full(OSError(errno.EACCES, ""))
