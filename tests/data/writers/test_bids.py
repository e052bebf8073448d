"""BIDS derivative names, entities in the schema's order, and the JSON beside."""

import json

import pytest

from metseg.base.errors import MetsegError
from metseg.data.writers.bids import derivative_path, entities_of, write_dataset_description, write_sidecar


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ("sub-01_ses-1_T1w.nii.gz", "sub-01/ses-1/anat/sub-01_ses-1_space-orig_label-lesion_mask.nii.gz"),
        ("sub-01_FLAIR.nii", "sub-01/anat/sub-01_space-orig_label-lesion_mask.nii.gz"),
        (
            "raw/sub-01/anat/sub-01_acq-mprage_ce-gd_run-2_T1w.nii.gz",
            "sub-01/anat/sub-01_acq-mprage_ce-gd_run-2_space-orig_label-lesion_mask.nii.gz",
        ),
        (
            "sub-01_space-MNI152NLin6Asym_res-1_desc-preproc_T1w.nii.gz",
            "sub-01/anat/sub-01_space-MNI152NLin6Asym_res-1_label-lesion_desc-preproc_mask.nii.gz",
        ),
    ],
)
def test_names_from_bids_names(source, made):
    assert derivative_path(entities_of(source)).as_posix() == made


def test_names_from_other_names():
    for other in (
        "BraTS-MET-00086-000-t1c.nii.gz",
        "scan.nii",
        "sub-01.nii",
        "ses-1_T1w.nii",
        "sub-0.1_T1w.nii",
    ):
        assert entities_of(other) == {}
    path = derivative_path({"sub": "BraTS-MET-00086", "ses": "000"}, suffix="probseg")
    assert path.name == "sub-BraTSMET00086_ses-000_space-orig_label-lesion_probseg.nii.gz"
    assert derivative_path({"sub": "P1", "ses": None}).parent.as_posix() == "sub-P1/anat"
    for none in ({}, {"sub": ""}, {"sub": "--"}):
        with pytest.raises(MetsegError, match="letters and digits"):
            derivative_path(none)


def test_what_stands_beside(tmp_path):
    write_dataset_description(tmp_path)
    root = json.loads((tmp_path / "dataset_description.json").read_text())
    assert root["DatasetType"] == "derivative" and root["GeneratedBy"][0]["Name"] == "metseg"
    (tmp_path / "dataset_description.json").write_text("{}")
    write_dataset_description(tmp_path)
    assert (tmp_path / "dataset_description.json").read_text() == "{}"
    mask = tmp_path / derivative_path({"sub": "01"})
    write_sidecar(mask, sources=["bids:raw:sub-01/anat/sub-01_T1w.nii.gz"], description="Lesions.")
    beside = json.loads((mask.parent / "sub-01_space-orig_label-lesion_mask.json").read_text())
    assert beside["Type"] == "Lesion" and beside["SpatialReference"] == "orig"
    assert beside["Sources"] == ["bids:raw:sub-01/anat/sub-01_T1w.nii.gz"]
