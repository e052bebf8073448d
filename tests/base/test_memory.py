"""Memory that was freed comes back without a page fault, or leaves the process."""

import os
import platform
import subprocess
import sys

import psutil
import pytest

from metseg.base.memory import ONE_ARENA, give_back_memory

CODE = """
import resource, threading
{setup}
def use():
    b"x" * 80_000_000  # left alone, glibc gives a block of this size back as soon as it is freed
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
KEEP = "from metseg.base.memory import keep_freed_memory\nprint(keep_freed_memory())"

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="another malloc, which is left as it is"
)


def printed(setup: str, **variables: str) -> list[str]:
    own = ("MALLOC_", "GLIBC_TUNABLES")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(setup=setup)],
        capture_output=True,
        text=True,
        check=True,
        env=environment | variables,
    )
    return done.stdout.split()


def test_freed_memory_is_used_again():
    kept, faults = printed(KEEP, **ONE_ARENA)
    _, without = printed("print(None)", **ONE_ARENA)
    assert kept == "True"
    assert int(faults) < int(without) / 10  # pages may be small or huge


@pytest.mark.parametrize("name", ["MALLOC_MMAP_MAX_", "GLIBC_TUNABLES"])
def test_settings_of_the_users_own_stay(name):
    assert printed(KEEP, **{name: ""})[0] == "False"


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
