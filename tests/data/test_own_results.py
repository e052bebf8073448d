"""A mask that metseg wrote is no reference, and nothing else is overwritten by one."""

import shutil
from functools import partial

import nibabel as nib
import numpy as np
import pytest
from complaints import complaint
from dicom_files import edit
from dicom_set import write_set
from volume_set import write_volumes

from metseg.data.cases import find_cases, list_cases
from metseg.data.check import check_data
from metseg.data.own_results import is_result
from metseg.data.phantom.draw import write_phantom
from metseg.data.readers.nifti import read
from metseg.data.writers.nifti import write_mask, write_probabilities
from metseg.data.writers.tiff_masks import write_mask as write_tiff

MASK = np.arange(24).reshape(2, 3, 4) % 5 == 4


@pytest.fixture
def scan(tmp_path):
    """A volume of its own, where results go beside it."""
    nib.save(nib.Nifti1Image(np.ones((4, 3, 2), np.int16), np.eye(4)), tmp_path / "scan.nii.gz")
    return read(tmp_path / "scan.nii.gz")[0]


def test_of_nifti_it_is_known_until_a_voxel_is_changed(tmp_path, scan):
    path = tmp_path / "mask.nii.gz"
    write_mask(MASK, scan, path)
    assert not is_result(path)  # what was drawn
    path.unlink()
    write_mask(MASK, scan, path, is_result=True)
    write_probabilities(MASK * 0.5, scan, tmp_path / "p.nii")
    assert is_result(path) and is_result(tmp_path / "p.nii")
    image = nib.load(path)
    again = nib.Nifti1Image(image.get_fdata(), image.affine, image.header)
    nib.save(again, tmp_path / "again.nii")  # by a program that stores them with a slope
    again.set_data_dtype(np.int16)
    nib.save(again, tmp_path / "short.nii.gz")
    assert is_result(tmp_path / "again.nii") and is_result(tmp_path / "short.nii.gz")
    assert is_result(path.read_bytes())
    voxels = np.asarray(image.dataobj)
    voxels[0, 0, 0] = 1
    nib.save(nib.Nifti1Image(voxels, image.affine, image.header), path)  # the header as it was
    assert not is_result(path)
    (tmp_path / "torn.nii.gz").write_bytes(path.read_bytes()[:60])
    assert not is_result(tmp_path / "torn.nii.gz") and not is_result(tmp_path / "missing.nii.gz")


def test_a_result_overwrites_a_result_alone(tmp_path, scan):
    path = tmp_path / "mask.nii.gz"
    write_mask(MASK, scan, path, is_result=True)
    write_mask(~MASK, scan, path, is_result=True)
    assert (read(path)[0].array[0] == ~MASK).all()
    write_mask(MASK, scan, path)  # somebody's reference
    before = path.read_bytes()
    assert "mask.nii.gz" in complaint(partial(write_mask, is_result=True), ~MASK, scan, path)
    assert path.read_bytes() == before


def test_volumes_do_without(tmp_path):
    write_volumes(tmp_path)
    case = list_cases(tmp_path)[0]
    reference = case.volumes.reference
    drawn = read(reference)[0]
    reference.unlink()
    write_mask(drawn.array[0], drawn, reference, is_result=True)
    again = list_cases(tmp_path)[0]
    assert again.volumes.reference is None and reference.name in again.volumes.notes[0]
    assert case.case_id in complaint(find_cases, tmp_path)
    report = check_data(tmp_path)
    assert report.errors and any(reference.name in note for note in report.notes)


def test_a_result_among_derivatives_neither_is_a_reference_nor_stands_beside_one(tmp_path):
    anat, name = tmp_path / "sub-01" / "anat", "sub-01_label-lesion_mask.nii.gz"
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(4, 3, 2), np.eye(4))
    anat.mkdir(parents=True)
    for suffix in ("T1w", "ce-gadolinium_T1w", "FLAIR"):
        nib.save(image, anat / f"sub-01_{suffix}.nii.gz")
    scan = read(anat / "sub-01_FLAIR.nii.gz")[0]
    result = tmp_path / "derivatives" / "metseg" / "sub-01" / "anat" / name
    write_mask(MASK, scan, result, is_result=True)
    (case,) = list_cases(tmp_path)
    assert case.volumes.reference is None
    drawn = tmp_path / "derivatives" / "readers" / "sub-01" / "anat" / name
    write_mask(MASK, scan, drawn)
    (case,) = find_cases(tmp_path)
    assert case.volumes.reference == drawn
    shutil.rmtree(tmp_path / "sub-01")
    drawn.unlink()
    assert "holds no scan" in complaint(list_cases, tmp_path)


def test_dicom_does_without(tmp_path):
    folder = write_set(tmp_path / "set")
    case = find_cases(folder)[0]
    reference = case.volumes.reference
    assert not is_result(reference)  # as the phantom's are
    edit(reference, ManufacturerModelName="U-Net++")
    assert is_result(reference) and not is_result(case.volumes.first)
    again = next(each for each in list_cases(folder) if each.case_id == case.case_id)
    assert again.volumes.reference is None and any(reference.name in note for note in again.volumes.notes)
    edit(reference, Manufacturer="another")
    assert find_cases(folder)[0].volumes.reference == reference


def test_slices_complain(tmp_path):
    write_phantom(tmp_path, patients=3, slices=3, size=32)
    case = find_cases(tmp_path)[0]
    for each in case.slices:
        write_tiff(np.zeros((4, 4), bool), each.mask)
    first = case.slices[0].mask.name
    assert first in complaint(find_cases, tmp_path)
    assert any(first in error for error in check_data(tmp_path).errors)
