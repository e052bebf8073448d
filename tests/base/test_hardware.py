"""What the CPU multiplies natively, by its flags."""

import os

import pytest

from metseg.base.hardware import cores, multiplies


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
