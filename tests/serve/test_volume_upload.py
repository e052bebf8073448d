"""Uploaded files become one scan: sequences by name or as told, and nothing stays on the disk."""

import gzip
import io
import zipfile

import nibabel
import numpy as np
import pytest
from phantom_upload import CASE, dicom_zip, nifti_files, nifti_of, reference_file, visit

from metseg.base.errors import MetsegError
from metseg.data.readers.image_errors import DamagedImage, NotAnImage, UnusablePixels
from metseg.masks.encode import archive
from metseg.serve import volume_upload
from metseg.serve.upload import Refused
from metseg.serve.volume_upload import VolumeUpload, is_volume

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])


@pytest.fixture(autouse=True)
def home(tmp_path):
    """Where uploads lie; empty in the end."""
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def opened(files: dict[str, bytes], home, told=None, **how):
    with VolumeUpload(list(files.items()), home=home) as upload:
        return upload.open(told, **how)


def test_content_tells_what_is_a_volume():
    for content in (*nifti_files().values(), dicom_zip(), gzip.decompress(reference_file())):
        assert is_volume([("a.png", content)])
    assert not is_volume([("a.nii", b"\x89PNG\r\n\x1a\n"), ("b.zip", b"II*\0")])


def test_nifti_files_are_one_scan(home):
    scan = opened(nifti_files() | {f"{CASE}-seg.nii.gz": reference_file()}, home)
    volume = visit().volume
    assert scan.case_id == CASE and scan.series is None and scan.file == nifti_files()["P7-t1c.nii.gz"]
    assert scan.scan.volume.channels == ("t1", "flair", "t1c") and scan.scan.stored.grid == volume.grid
    notes = scan.scan.notes
    assert any(note.startswith("t1c is P7-t1c.nii.gz") for note in notes)
    assert any("P7-seg.nii.gz was taken for no sequence" in note for note in notes)
    zipped = opened({"a.zip": archive(nifti_files())}, home)
    assert np.array_equal(zipped.scan.volume.array, scan.scan.volume.array)


def test_a_reference_among_the_files_is_known_by_its_name(home):
    files = [*nifti_files().items(), ("P7-seg.nii.gz", reference_file())]
    with VolumeUpload(files, home=home) as upload:
        assert upload.reference == files[-1]
    for others in (files[:-1], [*files, ("x_seg.nii.gz", reference_file())], [("a.zip", dicom_zip())]):
        with VolumeUpload(others, home=home) as upload:
            assert upload.reference is None


def test_what_the_visitor_says_goes_before_names(home):
    t1, t1c, flair = nifti_files().values()
    files = {"a_t1c.nii.gz": t1, "brain.nii.gz": t1c, "c_flair.nii.gz": flair}
    told = {"t1": "a_t1c.nii.gz", "t1c": "brain.nii.gz"}
    scan, right = opened(files, home, told), opened(nifti_files(), home)
    assert np.array_equal(scan.scan.volume.array, right.scan.volume.array)
    assert {"t1 is a_t1c.nii.gz: as you say.", "flair is c_flair.nii.gz: by its name."} <= {*scan.scan.notes}
    with pytest.raises(Refused, match="There is no b"):
        opened(files, home, {"t1": "b"})


def test_a_zip_of_dicom_is_one_scan(home):
    with VolumeUpload([("case.zip", dicom_zip())], home=home) as upload:
        assert sorted(part.sequence for part in upload.parts) == ["flair", "t1", "t1c"]
        t1, t1c = (next(p.key for p in upload.parts if p.sequence == name) for name in ("t1", "t1c"))
        scan = upload.open()
        assert scan.case_id == "PHANTOM_1_20240115" and len(scan.series.files) == 6
        crossed = upload.open({"t1": t1c, "t1c": t1})
    assert np.array_equal(scan.scan.volume.array[0], crossed.scan.volume.array[2])
    assert any("as you say" in note for note in crossed.scan.notes)


def test_no_path_leaves_its_folder(home):
    names = ("../../x.dcm", "/etc/x.dcm", "a\\..\\x.dcm", "..", ".", "x\0y")
    with VolumeUpload([(name, b"\0" * 128 + b"DICM") for name in names], home=home) as upload:
        (folder,) = home.iterdir()
        assert len([path for path in folder.rglob("*") if path.is_file()]) == len(names)
        with pytest.raises(Refused) as caught:
            upload.open()
    assert str(home) not in str(caught.value)
    scan = opened({"a.zip": dicom_zip(PatientID="../../../x")}, home)
    assert "/" not in scan.case_id


def test_missing_sequences_are_named_or_flair_stands_in(home):
    some = {name: content for name, content in nifti_files().items() if "t1c" not in name}
    with pytest.raises(Refused, match="t1c"):
        opened(some, home)
    scan = opened(some, home, allow_missing=True)
    assert np.array_equal(scan.scan.volume.array[1], scan.scan.volume.array[2])


def test_post_contrast_alone_is_enough(home):
    (t1c,) = (item for item in nifti_files().items() if "t1c" in item[0])
    with pytest.raises(Refused, match=r"no t1, flair;.*\(allow_missing\)"):
        opened(dict([t1c]), home)
    scan = opened(dict([t1c]), home, allow_missing=True).scan
    assert scan.missing == ("t1", "flair") and (scan.volume.array == scan.volume.array[2]).all()


def header(**changes) -> bytes:
    """A NIfTI header without voxels behind it."""
    made = nibabel.Nifti1Header()
    made.set_data_dtype(changes.get("dtype", np.int16))
    made.set_data_shape(changes["shape"])
    made["magic"], made["vox_offset"] = b"n+1", 352
    return made.binaryblock + bytes(4)


WHOLE = np.zeros((2, 8, 8), np.int16)
BAD = {
    "a gzip bomb": (gzip.compress(header(shape=(2, 2, 2)) + bytes(10**7)), DamagedImage),
    "a header that lies": (header(shape=(500, 500, 200)) + bytes(64), DamagedImage),
    "a header beyond the limit": (header(shape=(5000, 5000, 5000)), UnusablePixels),
    "4D": (header(shape=(4, 4, 4, 4)) + bytes(512), UnusablePixels),
    "complex": (header(shape=(4, 4, 4), dtype=np.complex64) + bytes(512), UnusablePixels),
    "truncated gzip": (nifti_of(WHOLE, AFFINE)[:-20], DamagedImage),
    "no NIfTI": (gzip.compress(b"hello" * 200), NotAnImage),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_volume_is_refused(name, home):
    content, kind = BAD[name]
    with pytest.raises(kind) as caught:
        opened({**nifti_files(), "P7-t1c.nii.gz": content}, home)
    assert "t1c" in str(caught.value)


def test_what_is_no_number_is_counted(home):
    flair = visit().volume.array[3].astype(np.float32)
    flair[0, 0, :3] = np.nan
    files = {**nifti_files(), "P7-t2f.nii.gz": nifti_of(flair, visit().volume.affine)}
    assert any("3 values" in note for note in opened(files, home).scan.notes)


def test_files_that_are_no_one_scan_are_refused(home, monkeypatch):
    files, zipped = nifti_files(), {"a.zip": dicom_zip()}
    other = {"b.zip": dicom_zip(PatientID="OTHER")}
    cases = [
        (files | zipped, "NIfTI and DICOM"),
        (files | {"Q8-t1c.nii.gz": files["P7-t1c.nii.gz"]}, "both t1c"),
        ({"brain.nii.gz": files["P7-t1c.nii.gz"]}, r"brain\.nii\.gz"),
        (zipped | other, "OTHER"),
    ]
    for sent, told in cases:
        with pytest.raises(Refused, match=told) as caught:
            opened(sent, home)
        assert str(home) not in str(caught.value)
    with pytest.raises(NotAnImage, match="readme"):
        opened({"a.zip": archive({"readme.txt": b"x"})}, home)
    monkeypatch.setattr(volume_upload, "MAX_VOXELS", 10_000)
    for sent in (files, zipped):
        with pytest.raises(MetsegError, match="10000"):
            opened(sent, home)


@pytest.fixture
def disk(tmp_path_factory):
    """Where the server's own scans lie."""
    return tmp_path_factory.mktemp("disk")


def test_files_of_the_server_are_read_where_they_lie(home, disk):
    there = []
    for name, content in nifti_files().items():
        (disk / name).write_bytes(content)
        there.append((name, disk / name))
    with VolumeUpload([], there=there, home=home) as upload:
        scan = upload.open()
        assert sum(path.stat(follow_symlinks=False).st_size for path in home.rglob("*.gz")) < 1000
    sent = opened(nifti_files(), home)
    assert np.array_equal(scan.scan.volume.array, sent.scan.volume.array) and scan.case_id == CASE
    assert scan.scan.notes == sent.scan.notes
    assert len(list(disk.iterdir())) == 3  # closing took the links, not the files


def test_what_is_wrong_with_a_file_of_the_server_is_told_without_its_folder(home, disk):
    there = []
    for name, content in {**nifti_files(), "P7-t1c.nii.gz": header(shape=(500, 500, 200)) + b"x"}.items():
        (disk / name).write_bytes(content)
        there.append((name, disk / name))
    with VolumeUpload([], there=there, home=home) as upload, pytest.raises(DamagedImage) as caught:
        upload.open()
    told = str(caught.value)
    assert told.startswith("P7-t1c.nii.gz") and str(disk) not in told and str(home) not in told
    with pytest.raises(Refused, match="gone"):
        VolumeUpload([], there=[("gone.nii.gz", disk / "gone.nii.gz")], home=home)


def test_dicom_of_the_server_is_one_scan(home, disk):
    with zipfile.ZipFile(io.BytesIO(dicom_zip())) as archived:
        archived.extractall(disk)
    there = [(path.name, path) for path in sorted(disk.rglob("*.dcm"))]
    with VolumeUpload([], there=there, home=home) as upload:
        scan = upload.open()
    assert scan.series is not None and not any(str(home) in note for note in scan.scan.notes)


def test_a_scan_of_very_many_slices_is_refused(home):
    thin = nifti_of(np.zeros((1025, 4, 4), np.float32), AFFINE)
    with pytest.raises(Refused, match="has 1025 slices; the most is 1024"):
        opened({"a_t1c.nii.gz": thin}, home, allow_missing=True)


def test_dicom_headers_of_very_many_parts_are_refused(home, monkeypatch):
    monkeypatch.setattr(volume_upload, "MAX_PARTS", 1000)
    with VolumeUpload([("case.zip", dicom_zip())], home=home) as upload:
        for ask in (lambda: upload.parts, upload.open):
            with pytest.raises(Refused, match="1000 parts"):
                ask()


def test_gzip_in_a_zip_is_no_larger_than_what_may_be_sent(home, monkeypatch):
    packed = {f"a_{name}.nii.gz": gzip.compress(bytes(1000), 0) for name in ("t1", "flair")}
    monkeypatch.setattr(volume_upload, "MAX_VOLUME_BYTES", 2000)
    with pytest.raises(Refused, match="larger") as caught:
        VolumeUpload([("a.zip", archive(packed))], home=home)
    assert caught.value.code == "too_large"
