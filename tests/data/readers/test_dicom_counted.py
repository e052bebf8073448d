"""Headers of very many parts end in a sentence, and are not read to their end."""

import struct
import warnings

import pytest
from dicom_files import a_series
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from metseg.data.readers import dicom_counted
from metseg.data.readers.dicom_headers import read_frames, read_owner
from metseg.data.readers.dicom_series import TooMuch, list_series

ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
PIXELS = b"\xe0\x7f\x10\0"
MOST = 2000


def with_header(folder, more: bytes, syntax=ExplicitVRLittleEndian):
    """A file with more between its header and its pixels."""
    path = a_series(folder)[0]
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(path, implicit_vr=syntax.is_implicit_VR, little_endian=True)
    head, pixels, rest = path.read_bytes().rpartition(PIXELS)
    path.write_bytes(head + more + pixels + rest)
    return path


def items(count: int, *, implicit=False, ends=False) -> bytes:
    """Empty items of PerFrameFunctionalGroupsSequence."""
    content = (ITEM + bytes(4)) * count + END * ends
    length = struct.pack("<I", 0xFFFFFFFF if ends else len(content))
    return b"\x00\x52\x30\x92" + b"SQ\0\0" * (not implicit) + length + content


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_very_many_items_are_not_read(tmp_path, monkeypatch, syntax, ends):
    more = items(10_000, implicit=syntax.is_implicit_VR, ends=ends)
    path = with_header(tmp_path, more, syntax)
    monkeypatch.setattr(dicom_counted, "MOST_PARTS", MOST)
    frames, otherwise, parts = read_frames(path)
    assert frames == [] and "too long a header" in otherwise
    assert parts == MOST + 1
    few = with_header(tmp_path / "few", items(1, implicit=syntax.is_implicit_VR, ends=ends), syntax)
    assert len(read_frames(few)[0]) == 1


def test_very_many_elements_are_not_read(tmp_path, monkeypatch):
    """Even those that are not kept."""
    path = with_header(tmp_path, b"\x18\0\x11\0SH\0\0" * 10_000)
    monkeypatch.setattr(dicom_counted, "MOST_PARTS", MOST)
    frames, otherwise, parts = read_frames(path)
    assert frames == [] and "too long a header" in otherwise and parts == MOST + 1
    assert read_owner(path)[0]
    with dicom_counted.CountedFile(path) as file:
        with pytest.raises(ValueError, match="2000"):
            dcmread(file)
        assert file.tell() < 20_000  # of more than 80,000


def test_headers_of_all_files_are_bounded_together(tmp_path):
    paths = a_series(tmp_path)
    parts = sum(read_frames(path)[2] for path in paths)
    assert len(list_series(tmp_path, max_parts=parts)) == 1
    with pytest.raises(TooMuch, match="parts"):
        list_series(tmp_path, max_parts=parts - 1)


def test_an_honest_header_is_far_below_the_bound(tmp_path):
    (path,) = a_series(tmp_path, enhanced=True)
    assert read_frames(path)[2] < 5 * 1000
