"""The phantom's volumes as files: the layout of BraTS-METS, read back with the true lesions in place."""

import json

import numpy as np
import pytest

from metseg.base.errors import MetsegError
from metseg.data.cases import find_cases, load_case
from metseg.data.grid import mm_to_voxel, same_grid
from metseg.data.phantom.volumes import true_lesions, volumes_or_phantom, write_as_dicom, write_volumes
from metseg.data.readers.dicom import read_dicom_case
from metseg.data.readers.nifti import read, read_labels

SMALL = {"patients": 2, "slices": 12, "size": 56}
METS = {"ET": frozenset({3}), "TC": frozenset({1, 3}), "WT": frozenset({1, 2, 3})}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_volumes(tmp_path_factory.mktemp("set") / "volumes", **SMALL)


def test_layout(folder):
    cases = {"PHANTOM-MET-00001-000", "PHANTOM-MET-00001-001", "PHANTOM-MET-00002-000"}
    assert (
        {path.name for path in folder.iterdir()}
        == cases | {"phantom.json"}
        == {*true_lesions(folder), "phantom.json"}
    )
    for case in cases:
        assert {path.name for path in (folder / case).iterdir()} == {
            f"{case}-{name}.nii.gz" for name in ("t1n", "t1c", "t2w", "t2f", "seg")
        }


def test_files_hold_the_true_lesions(folder):
    for case, lesions in true_lesions(folder).items():
        stem = folder / case / case
        images = [read(stem.with_name(f"{case}-{name}.nii.gz")) for name in ("t1n", "t1c", "t2w", "t2f")]
        assert [notes for _, notes in images] == [[]] * 4
        assert all(same_grid(image, images[0][0], 1e-6) for image, _ in images)
        labels, notes = read_labels(
            stem.with_name(f"{case}-seg.nii.gz"), images[1][0], regions=METS, expected={1, 2, 3, 4}
        )
        assert notes == [] and labels.array.dtype == np.uint8
        for lesion in lesions:
            at = mm_to_voxel(lesion.centre_mm, images[0][0])
            assert np.abs(at - np.rint(at)).max() < 1e-3
            assert labels.region("TC")[tuple(np.rint(at).astype(int))]


def test_simpleitk_finds_the_lesions_where_they_are(folder):
    sitk = pytest.importorskip("SimpleITK")
    for case, lesions in true_lesions(folder).items():
        seg = sitk.ReadImage(str(folder / case / f"{case}-seg.nii.gz"))
        for lesion in lesions:
            x, y, z = lesion.centre_mm
            assert seg[seg.TransformPhysicalPointToIndex((-x, -y, z))] in (1, 3)  # ITK's axes are LPS


def test_the_same_phantom_is_not_made_twice_and_another_is_refused(folder):
    before = (folder / "phantom.json").stat().st_mtime_ns
    assert write_volumes(folder, **SMALL) == folder
    assert (folder / "phantom.json").stat().st_mtime_ns == before
    with pytest.raises(MetsegError, match="not this phantom"):
        write_volumes(folder, **{**SMALL, "seed": 1})


def test_what_cannot_be_made_leaves_nothing(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "scan.nii").write_bytes(b"")
    with pytest.raises(MetsegError, match="own exists"):
        write_volumes(tmp_path / "own", **SMALL)
    for wrong in ({"patients": 0}, {"seed": 100}, {"slices": 5}, {"size": 8}, {"tilt_degrees": 60}):
        with pytest.raises(MetsegError, match=next(iter(wrong))):
            write_volumes(tmp_path / "none", **{**SMALL, **wrong})
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_two_seeds_share_no_patient(tmp_path):
    write_volumes(tmp_path / "seed", **{**SMALL, "patients": 1, "seed": 7})
    assert set(true_lesions(tmp_path / "seed")) == {"PHANTOM-MET-07001-000", "PHANTOM-MET-07001-001"}
    (tmp_path / "seed" / "phantom.json").write_text(json.dumps({"lesions": {"a": [{"diameter_mm": 1}]}}))
    with pytest.raises(MetsegError, match=r"phantom\.json"):
        true_lesions(tmp_path / "seed")


def test_as_dicom_it_is_the_same_scan_a_quarter_of_a_year_apart(folder):
    target = write_as_dicom(folder, ["PHANTOM-MET-00001-001"])
    assert sorted(path.name for path in target.iterdir()) == ["PHANTOM-MET-00001-001", "layout.yml"]
    case = read_dicom_case(target / "PHANTOM-MET-00001-001")
    assert (case.patient_id, case.visit) == ("PHANTOM-MET-00001", "20240415")
    stem = folder / "PHANTOM-MET-00001-001" / "PHANTOM-MET-00001-001"
    for channel, name in (("t1", "t1n"), ("t1c", "t1c"), ("t2", "t2w"), ("flair", "t2f")):
        stored, _ = read(stem.with_name(f"{stem.name}-{name}.nii.gz"))
        (volume,) = case.volumes
        np.testing.assert_array_equal(volume.array[volume.channels.index(channel)], stored.array[0])
        assert same_grid(volume, stored, 1e-3)
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*.dcm")}
    write_as_dicom(folder, ["PHANTOM-MET-00001-001"])
    assert before == {path: path.stat().st_mtime_ns for path in target.rglob("*.dcm")}


def test_as_dicom_it_is_the_same_data_set(folder):
    target = write_as_dicom(folder, ["PHANTOM-MET-00001-001", "PHANTOM-MET-00002-000"])
    drawn = {(case.patient_id, case.visit): case for case in find_cases(folder, target="ET+TC+WT")}
    cases = find_cases(target, target="ET+TC+WT")
    assert [case.volumes.reference.name for case in cases] == ["seg.dcm", "rtstruct.dcm"]
    for case, visit in zip(cases, ("001", "000"), strict=True):
        one, other = load_case(case), load_case(drawn[case.patient_id, visit])
        assert np.array_equal(one.image, other.image) and np.array_equal(one.masks, other.masks)
        assert same_grid(one.volume, other.volume, 1e-3)
    assert [case.volumes.lesion for case in find_cases(target)] == ["TC (NETC, ET)"] * 2


def test_a_notebook_takes_volumes_or_the_phantoms(folder, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("metseg.data.phantom.volumes.write_volumes", lambda path: drawn.append(path) or path)
    phantom = tmp_path / "data" / "phantom_volumes"
    assert volumes_or_phantom(folder, phantom) == folder and drawn == []
    (tmp_path / "slices").mkdir()
    assert volumes_or_phantom(tmp_path / "slices", phantom) == phantom
    assert volumes_or_phantom(phantom, phantom) == phantom
    (tmp_path / "slices" / "IM1").write_bytes(bytes(128) + b"DICM")
    assert volumes_or_phantom(tmp_path / "slices", phantom) == tmp_path / "slices"
    mine = tmp_path / "mine" / "phantom_volumes"
    assert volumes_or_phantom(mine, phantom) == mine
    assert drawn == [phantom, phantom, mine]
    with pytest.raises(MetsegError, match="absent"):
        volumes_or_phantom(tmp_path / "absent", phantom)
