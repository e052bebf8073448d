"""Gzip of any kind is read as Python's own module reads it, but not what is made to take long."""

import gzip
import io
import zlib

import numpy as np
import pytest

from metseg.base.errors import MetsegError
from metseg.data.readers import inflated
from metseg.data.readers.inflated import Inflated

NOISE = np.random.default_rng(0).bytes(300_000)
START = b"\x1f\x8b\x08%c\0\0\0\0\0\xff"  # of a member, with its flags (RFC 1952, 2.3.1)
EMPTY = gzip.compress(b"", mtime=0)  # the name of a test, so always the same


def read(data: bytes, size: int = 10**9) -> bytes:
    return Inflated(io.BytesIO(data), "scan.nii.gz").read(size)


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(NOISE),
        gzip.compress(NOISE, 0),
        gzip.compress(bytes(10**6)),
        b"".join(gzip.compress(NOISE[k : k + 1000]) for k in range(0, 300_000, 1000)),  # as bgzip does
        gzip.compress(NOISE) + bytes(1000) + gzip.compress(b"more") + bytes(200_000),  # padded
        START % 8 + b"a name\0" + gzip.compress(NOISE)[10:],
        EMPTY,
    ],
)
def test_it_is_what_gzip_reads(data):
    assert read(data) == gzip.decompress(data)
    stream, found = Inflated(io.BytesIO(data), "scan.nii.gz"), b""
    while part := stream.read(99_999):
        found += part
    assert found == gzip.decompress(data)


@pytest.mark.parametrize("cut", [3, 50_000, -1])
def test_a_truncated_file_is_read_to_its_end_and_no_further(cut):
    data = gzip.compress(NOISE)
    with pytest.raises(EOFError):
        read(data[:cut])
    assert read(data[:50_000], 1000) == NOISE[:1000]


def test_damage_and_what_follows_are_refused():
    data = gzip.compress(NOISE)
    for bad in (data[:-8] + bytes(8), data + b"garbage", b"\x1f\x8b" + NOISE):
        with pytest.raises(zlib.error):
            read(bad)


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(NOISE) + EMPTY * 60_000,
        gzip.compress(NOISE) + bytes(2 * 10**6),
        START % 8 + b"a" * (2 * 10**6) + b"\0" + gzip.compress(NOISE)[10:],
        START % 0 + b"\0\0\0\xff\xff" * 400_000 + gzip.compress(NOISE)[10:],  # empty blocks
    ],
    ids=["members", "padding", "name", "blocks"],
)
def test_what_is_longer_than_it_holds_is_refused(data):
    with pytest.raises(MetsegError, match=r"scan\.nii\.gz"):
        read(data)


def test_very_many_members_are_refused(monkeypatch):
    data = b"".join(gzip.compress(bytes(10**4)) for _ in range(4000))
    monkeypatch.setattr(inflated, "_MAX_MEMBERS", 1000)
    with pytest.raises(MetsegError, match=r"scan\.nii\.gz"):
        read(data)
