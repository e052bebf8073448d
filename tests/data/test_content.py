"""Hashes of volumes are kept, and computed again where anything may have changed."""

from dataclasses import replace

import numpy as np
import pytest
from volume_set import write_volumes

from metseg.data import content, kept
from metseg.data.cases import find_cases, read_scan_of
from metseg.data.content import scan_hashes, slice_hash


@pytest.fixture
def case(tmp_path):
    return find_cases(write_volumes(tmp_path / "scans", grid=(3, 24, 24)))[0]


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """The folder of notes, beside which prepared slices lie."""
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(kept, "hashes_dir", lambda: tmp_path / "cache" / ".hashes")
    return tmp_path / "cache" / ".hashes"


@pytest.fixture
def read(monkeypatch):
    """The names of the scans that are read."""
    names = []
    monkeypatch.setattr(
        content, "read_scan_of", lambda case: names.append(case.case_id) or read_scan_of(case)
    )
    return names


def another_process(case, number):
    """The same scan as another process sees it, which has nothing of it in memory."""
    return replace(case, told_by=f"process {number}")


def test_a_scan_is_read_once(case, notes, read):
    expected = {slice_hash(image) for image in read_scan_of(case).channels_last}
    assert [scan_hashes(another_process(case, k)) for k in range(3)] == [expected] * 3
    assert len(read) == 1 and len(list(notes.iterdir())) == 1
    (note,) = notes.iterdir()
    note.write_text(note.read_text()[:-30])
    assert scan_hashes(another_process(case, 4)) == expected and len(read) == 2
    assert scan_hashes(another_process(case, 5)) == expected and len(read) == 2


def test_a_changed_file_is_read_again(case, notes, read):
    before = scan_hashes(case)
    t1, t1c = case.volumes.sequences["t1"], case.volumes.sequences["t1c"]
    t1.write_bytes(t1c.read_bytes())
    assert scan_hashes(case) != before and len(read) == 2
    lacking = replace(case.volumes, sequences={"flair": t1, "t1c": t1c, "t1": t1})
    assert scan_hashes(replace(case, volumes=lacking)) != before and len(read) == 3


def test_nothing_is_kept_where_there_is_no_cache(case, notes, read):
    notes.parent.rmdir()
    assert scan_hashes(another_process(case, 0)) == scan_hashes(another_process(case, 1))
    assert len(read) == 2 and not notes.parent.exists()


def test_the_oldest_are_dropped(tmp_path, notes, monkeypatch, read):
    monkeypatch.setattr(kept, "_MOST", 3)
    for case in find_cases(write_volumes(tmp_path / "more", grid=(2, 16, 16))):
        scan_hashes(case)
    assert len(list(notes.iterdir())) <= 3


def test_a_slice_of_one_colour_is_anybodys():
    assert slice_hash(np.full((4, 5, 3), 7, np.uint8)) == ""
