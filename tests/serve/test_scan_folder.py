"""Scans on the server: what is listed of the allowed folder, and that no name leads out of it."""

import os
import time

import pytest
from phantom_upload import nifti_files

from metseg.base.errors import MetsegError
from metseg.serve.scan_folder import LISTED, SCANS, ScanFolder
from metseg.serve.upload import Refused


@pytest.fixture
def disk(tmp_path):
    """A folder of scans, and a secret beside it."""
    allowed = tmp_path / "scans"
    case = allowed / "mets" / "P7"
    case.mkdir(parents=True)
    for name, content in nifti_files().items():
        (case / name).write_bytes(content)
    (case / "notes.txt").write_text("x")
    for k in range(3):
        path = allowed / "dicom" / "P8" / "series" / f"{k}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(128) + b"DICM" + bytes(9))
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "S_t1.nii.gz").write_bytes(b"secret")
    (tmp_path / "secret" / "s.dcm").write_bytes(bytes(128) + b"DICM")
    return allowed


def test_folders_and_scans_are_listed(disk):
    folder = ScanFolder(disk)
    assert folder.listing()["folders"] == ["dicom", "mets"] and folder.listing()["more"] is False
    assert folder.listing("mets")["folders"] == ["P7"]
    (scan,) = folder.listing("mets/P7")["scans"]
    assert scan["name"] == "P7" and scan["details"] == "flair, t1, t1c"
    assert (
        [name for name, _ in folder.files("mets/P7", scan["files"])] == scan["files"] == sorted(nifti_files())
    )
    (scan,) = folder.listing("dicom/P8")["scans"]
    assert scan["files"] == [] and len(folder.files("dicom/P8")) == 3


def test_files_of_unknown_names_may_be_one_scan(disk):
    for name in ("one.nii", "two.nii.gz"):
        (disk / name).write_bytes(b"x")
    together, one, two = ScanFolder(disk).listing()["scans"][-3:]
    assert together["files"] == ["one.nii", "two.nii.gz"] and one["files"] == ["one.nii"]
    assert [scan["name"] for scan in ScanFolder(disk).listing(find="TWO")["scans"]] == ["two.nii.gz"]


def test_a_case_named_by_its_folder_is_known(disk):
    (disk / "Mets_001").mkdir()
    for name in ("t1_pre.nii.gz", "t1_gd.nii.gz"):
        (disk / "Mets_001" / name).write_bytes(b"x")
    (scan,) = ScanFolder(disk).listing("Mets_001")["scans"]
    assert (scan["name"], scan["details"]) == ("Mets_001", "t1, t1c")
    files = ScanFolder(disk).files("Mets_001", scan["files"])
    assert [name for name, _ in files] == ["Mets_001/t1_gd.nii.gz", "Mets_001/t1_pre.nii.gz"]


WAYS_OUT = (
    "..",
    "mets/..",
    "mets/../../secret",
    "/etc",
    "//etc",
    "link",
    "mets/./P7",
    ".",
    "mets//P7",
    "a\0b",
    ".hid",
)


@pytest.mark.parametrize("place", WAYS_OUT)
def test_no_place_leads_out(disk, place):
    (disk / "link").symlink_to(disk.parent / "secret")
    (disk / ".hid").mkdir()
    folder = ScanFolder(disk)
    for ask in (folder.listing, folder.files, lambda place: folder.files(place, ["S_t1.nii.gz"])):
        with pytest.raises(Refused):
            ask(place)


@pytest.mark.parametrize(
    "name", ["../secret/S_t1.nii.gz", "/etc/passwd", "out.nii.gz", "loop.nii.gz", "", "mets"]
)
def test_no_name_of_a_file_leads_out(disk, name):
    (disk / "out.nii.gz").symlink_to(disk.parent / "secret" / "S_t1.nii.gz")
    (disk / "loop.nii.gz").symlink_to(disk / "loop.nii.gz")
    with pytest.raises(Refused):
        ScanFolder(disk).files("", [name])


def test_links_that_lead_out_are_not_listed_and_those_within_are(disk):
    (disk / "link").symlink_to(disk.parent / "secret")
    (disk / "within").symlink_to(disk / "mets")
    (disk / "out_t1.nii.gz").symlink_to(disk.parent / "secret" / "S_t1.nii.gz")
    (disk / "dicom" / "out.dcm").symlink_to(disk.parent / "secret" / "s.dcm")
    (disk / "dicom" / "folder").symlink_to(disk.parent / "secret")
    found = ScanFolder(disk).listing()
    assert found["folders"] == ["dicom", "mets", "within"]
    assert not any("out" in name for scan in found["scans"] for name in scan["files"])
    assert ScanFolder(disk).listing("within")["folders"] == ["P7"]
    assert [name for name, _ in ScanFolder(disk).files("dicom")] == ["0", "1", "2"]


def test_a_pipe_is_not_waited_for(disk):
    os.mkfifo(disk / "pipe")
    os.mkfifo(disk / "pipe_t1.nii.gz")
    ScanFolder(disk).listing()
    with pytest.raises(Refused):
        ScanFolder(disk).files("", ["pipe_t1.nii.gz"])
    assert len(ScanFolder(disk).files("")) == 3


def test_a_large_folder_is_listed_in_part_and_a_name_in_it_is_found(disk, monkeypatch):
    for k in range(LISTED + 5):
        (disk / "mets" / f"case{k:04}").mkdir()
    found = ScanFolder(disk).listing("mets")
    assert len(found["folders"]) == LISTED and found["more"]
    assert ScanFolder(disk).listing("mets", "CASE0203")["folders"] == ["case0203"]
    monkeypatch.setattr("metseg.serve.scan_folder._LOOKED_AT", 10)
    start = time.process_time()
    assert ScanFolder(disk).listing("mets")["more"] and time.process_time() - start < 1


def test_too_many_or_too_large_files_are_refused(disk, monkeypatch):
    monkeypatch.setattr("metseg.serve.scan_folder.MAX_FILES", 2)
    with pytest.raises(Refused, match="2 files"):
        ScanFolder(disk).files("dicom")
    monkeypatch.setattr("metseg.serve.scan_folder.MAX_UNPACKED_BYTES", 10)
    with pytest.raises(Refused, match="MB"):
        ScanFolder(disk).files("mets/P7", ["P7-t1c.nii.gz"])


def test_a_host_s_folder_must_be_there_and_none_is_offered_unless_asked_for(disk, monkeypatch):
    with pytest.raises(MetsegError, match="nowhere"):
        ScanFolder(disk / "nowhere")
    monkeypatch.delenv(SCANS, raising=False)
    assert ScanFolder.offered() is None
    monkeypatch.setenv(SCANS, str(disk))
    assert ScanFolder.offered().listing()["folders"] == ["dicom", "mets"]
