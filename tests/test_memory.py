"""Memory that was freed comes back without a page fault."""

import os
import platform
import subprocess
import sys

import pytest

CODE = f"""
import resource
from metseg.memory import keep_freed_memory
kept = keep_freed_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * {2**26}  # left alone, glibc gives a block of this size back as soon as it is freed
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc, which is left as it is")
def test_freed_memory_is_used_again():
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=environment
    )
    kept, faults = done.stdout.split()
    assert kept == "True"
    assert int(faults) < 100
