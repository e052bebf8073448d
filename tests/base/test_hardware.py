"""What the CPU multiplies natively, by its flags, and which state of the checkout made a figure."""

import os
import re
import shutil
from pathlib import Path

import pytest

from metseg.base.hardware import cores, git_revision, multiplies

CHECKOUT = Path(__file__).resolve().parents[2] / ".git"


@pytest.mark.parametrize(
    ("flags", "bf16", "int8"),
    [
        ("fpu sse2 avx2 avx512f", False, False),
        ("fpu avx512f avx512_vnni", False, True),
        ("fpu avx2 avx_vnni", False, True),
        ("fpu avx512_vnni avx512_bf16", True, True),
        ("fpu amx_bf16 amx_int8", True, True),
        ("", False, False),  # a system that does not tell
        ("not_avx512_bf16", False, False),
    ],
)
def test_multiplies(flags, bf16, int8, monkeypatch):
    monkeypatch.setattr(
        "metseg.base.hardware._cpuinfo", lambda field: flags if field == "flags" else "abacus"
    )
    assert (multiplies("bf16"), multiplies("int8")) == (bf16, int8)


def test_cores():
    assert 1 <= cores() <= os.cpu_count()


@pytest.mark.skipif(not (CHECKOUT.exists() and shutil.which("git")), reason="no checkout of git")
def test_a_commit_with_or_without_changes():
    assert re.fullmatch(r"[0-9a-f]{12,}(\+changes)?", git_revision())


def test_without_git_there_is_none(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_revision() is None
