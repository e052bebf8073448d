"""Freed memory leaves the process, which glibc alone does not see to."""

import platform
import threading

import psutil
import pytest
from running_service import running, write_models

from metseg.serve.service import api
from metseg.serve.service.memory import give_back_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_what_lies_between_blocks_in_use_is_given_back():
    process = psutil.Process()
    blocks = [bytes([1]) * 100_000 for _ in range(400)]
    in_use = blocks[::10]
    del blocks  # 36 MB, of which glibc itself gives back no more than lies above the last block in use
    before = process.memory_info().rss
    give_back_memory()
    assert before - process.memory_info().rss > 20_000_000
    assert {len(each) for each in in_use} == {100_000}


def test_another_c_library_is_let_alone(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", missing)
    give_back_memory()


def test_the_service_gives_back_again_and_again(tmp_path, monkeypatch):
    given = threading.Semaphore(0)
    monkeypatch.setattr(api, "_TIDY_SECONDS", 0.01)
    monkeypatch.setattr(api, "give_back_memory", given.release)
    with running(api.create_app(write_models(tmp_path))):
        assert given.acquire(timeout=30) and given.acquire(timeout=30)
