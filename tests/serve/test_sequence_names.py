"""A name tells which sequence a file is."""

import pytest

from metseg.serve.sequence_names import case_of, sequence_of


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("BraTS-MET-00086-000-t1c.nii.gz", "t1c"),
        ("x/BraTS20_Training_001_t1ce.nii", "t1c"),
        ("100101A_T1post.nii.gz", "t1c"),
        ("Mets_005/t1_gd.nii.gz", "t1c"),
        ("t1_gd.nii.gz", "t1c"),
        ("sub-01_ses-2_ce-gad_T1w.nii.gz", "t1c"),
        ("patient 7 ce-GAD_T1w.nii", "t1c"),
        ("t1n.nii.gz", "t1"),
        ("P1_T1pre.nii.gz", "t1"),
        ("P1_t1_pre.nii.gz", "t1"),
        ("sub-01_T1w.nii.gz", "t1"),
        ("a-t1.NII.GZ", "t1"),
        ("x-t2f.nii.gz", "flair"),
        ("FLAIR.nii.gz", "flair"),
        ("x_t2.nii.gz", "t2"),
        ("x_seg.nii.gz", "reference"),
        ("xt1c.nii.gz", ""),
        ("brain.nii.gz", ""),
        ("dicom_t2_flair_20240101120000_2.nii.gz", ""),  # the number of a series tells no sequence
        ("P1_t1_mprage_3.nii.gz", ""),
        ("P1_mask.nii.gz", "reference"),
        ("sub-01_label-lesion_mask.nii.gz", "reference"),
        ("sub-01_desc-brain_mask.nii.gz", ""),
        ("sub-01_mask.nii.gz", ""),
        ("P1_brain_mask.nii.gz", ""),
        ("brainmask.nii.gz", ""),
        ("sub-01_lesion_mask.nii.gz", "reference"),
        ("sub-P1_mets_mask.nii.gz", "reference"),
        ("P1_segm_mask.nii.gz", "reference"),
    ],
)
def test_a_name_s_ending_tells_the_sequence(name, sequence):
    assert sequence_of(name) == sequence


def test_a_scan_is_called_after_its_file():
    names = {"BraTS-MET-00086-000-t1c.nii.gz": "BraTS-MET-00086-000", "x/P 7_FLAIR.nii": "P_7"}
    names |= {"flair.nii.gz": "scan", "../../brain.nii": "brain", "..\\t1.nii": "scan"}
    assert {name: case_of(name) for name in names} == names
