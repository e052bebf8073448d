from pathlib import Path

import pytest

from metseg.base.errors import MetsegError
from metseg.data.layouts.own import OWN
from metseg.data.layouts.volumes import POSITIVE
from metseg.data.volume_files import volume_cases

ROOT = Path("data set")


def cases_of(*names, folder=ROOT, target=""):
    return volume_cases([folder / name for name in names], folder, target)


@pytest.mark.parametrize(
    ("names", "case_id", "patient", "visit", "sequences", "reference"),
    [
        (
            [
                f"BraTS-MET-00086-001/BraTS-MET-00086-001-{kind}.nii.gz"
                for kind in ("t1n", "t1c", "t2f", "seg")
            ],
            "BraTS-MET-00086-001",
            "BraTS-MET-00086",
            "001",
            {"t1", "t1c", "flair"},
            "BraTS-MET-00086-001-seg.nii.gz",
        ),
        (
            [f"Brats18_2013_11_1/Brats18_2013_11_1_{kind}.nii.gz" for kind in ("t1", "t1ce", "t2", "seg")],
            "Brats18_2013_11_1",
            "Brats18_2013_11_1",
            None,
            {"t1", "t1c", "t2"},
            "Brats18_2013_11_1_seg.nii.gz",
        ),
        (
            [f"100101A/100101A_{kind}.nii.gz" for kind in ("T1pre", "T1post", "FLAIR", "subtraction", "seg")],
            "100101A",
            "100101",
            "A",
            {"t1", "t1c", "flair"},
            "100101A_seg.nii.gz",
        ),
        (
            [f"train/Mets_005/{kind}.nii.gz" for kind in ("t1_pre", "t1_gd", "flair", "bravo", "seg")],
            "Mets_005",
            "Mets_005",
            None,
            {"t1", "t1c", "flair"},
            "seg.nii.gz",
        ),
        (
            [
                "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
                "sub-01/ses-1/anat/sub-01_ses-1_ce-gadolinium_T1w.nii.gz",
                "derivatives/prep/sub-01/ses-1/anat/sub-01_ses-1_desc-preproc_T1w.nii.gz",
                "derivatives/prep/sub-01/ses-1/anat/sub-01_ses-1_desc-brain_mask.nii.gz",
                "derivatives/raters/sub-01/ses-1/anat/sub-01_ses-1_space-orig_label-lesion_mask.nii.gz",
            ],
            "sub-01_ses-1",
            "sub-01",
            "ses-1",
            {"t1", "t1c"},
            "sub-01_ses-1_space-orig_label-lesion_mask.nii.gz",
        ),
    ],
)
def test_layouts_of_public_sets(names, case_id, patient, visit, sequences, reference):
    (case,), _ = cases_of(*names)
    assert (case.case_id, case.identity.patient_id, case.identity.visit) == (case_id, patient, visit)
    assert set(case.sequences) == sequences
    assert case.reference.name == reference


def test_enhancing_tumour_is_another_number_before_2023():
    (new,), _ = cases_of("BraTS-GLI-00001-000-t1c.nii.gz")
    (old,), _ = cases_of("BraTS2021_00001_t1ce.nii.gz")
    assert (new.target, new.known) == ({"TC": {1, 3}}, {1, 2, 3, 4})
    assert (old.target, old.known) == ({"TC": {1, 4}}, {1, 2, 4})


@pytest.mark.parametrize(
    ("target", "numbers", "lesion"),
    [
        ("", {"TC": {1, 3}}, "TC (1, 3)"),
        ("ET", {"ET": {3}}, "ET (3)"),
        ("WT", {"WT": {1, 2, 3}}, "WT (1, 2, 3)"),
        ("3,2", {"labels": {2, 3}}, "labels (2, 3)"),
    ],
)
def test_the_target_is_a_region_or_numbers(target, numbers, lesion):
    (case,), _ = cases_of("BraTS-MET-00001-000-t1c.nii.gz", target=target)
    assert (case.target, case.lesion, case.regions) == (numbers, lesion, lesion)


def test_several_regions_in_the_order_told():
    (new,), _ = cases_of("BraTS-MET-00001-000-t1c.nii.gz", target="ET + TC+WT")
    assert [*new.target.items()] == [("ET", {3}), ("TC", {1, 3}), ("WT", {1, 2, 3})]
    assert (new.lesion, new.regions) == ("ET (3)", "ET (3), with TC (1, 3), WT (1, 2, 3)")
    (old,), _ = cases_of("BraTS2021_00001_t1ce.nii.gz", target="TC+ET")
    assert [*old.target.items()] == [("TC", {1, 4}), ("ET", {4})]
    with pytest.raises(MetsegError, match="TC twice|TC.ET.TC"):
        cases_of("BraTS-MET-00001-000-t1c.nii.gz", target="TC+ET+TC")


@pytest.mark.parametrize("target", ["GTV", "1;3", "-1", "tc", "TC+GTV", "TC+", "TC+1,3"])
def test_another_target_is_refused_with_the_choice(target):
    with pytest.raises(MetsegError, match=r"BraTS's regions \(TC, ET, WT, RC\)"):
        cases_of("BraTS-MET-00001-000-t1c.nii.gz", target=target)


def test_a_label_that_the_data_set_does_not_have_is_refused():
    with pytest.raises(MetsegError, match="labels 1, 2, 4 of BraTS before 2023"):
        cases_of("BraTS2021_00001_t1ce.nii.gz", target="1,3")  # ET is 4 there
    with pytest.raises(MetsegError, match="labels from 1 on"):
        cases_of("100101A/100101A_T1post.nii.gz", target="0")
    (case,), _ = cases_of("100101A/100101A_T1post.nii.gz", target="7")
    assert case.target == {"labels": {7}}


def test_what_belongs_to_no_case_is_returned():
    _, left = cases_of("BraTS-MET-00001-000-t1c.nii.gz", "atlas.nii.gz", "readme.txt")
    assert [path.name for path in left] == ["atlas.nii.gz"]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a/P1_t1ce.nii.gz", "b/P1_t1ce.nii.gz"), "b/P1_t1ce.nii.gz"),
        (("P1_t1ce.nii", "P1_t1ce.nii.gz"), "P1_t1ce.nii.gz"),
        (("P1_seg.nii.gz",), "P1_seg.nii.gz"),
        (("P1-t1c.nii.gz", "P1_flair.nii.gz"), "P1_flair.nii.gz"),
    ],
)
def test_files_that_contradict_each_other_are_named(names, told):
    with pytest.raises(MetsegError, match=told):
        cases_of(*names)


def own_layout(folder, text, *names):
    (folder / OWN).write_text(text)
    return cases_of(OWN, *names, folder=folder)


def test_own_layout(tmp_path):
    text = """
sequences:
  t1c: "{patient}/{visit}/*post*.nii.gz"
  flair: "{patient}/{visit}/{patient}_flair.nii"
reference: "**/{patient}/{visit}/tumour.nii.gz"
labels: {core: [1, 3], all: [1, 2, 3]}
"""
    (case,), left = own_layout(
        tmp_path,
        text,
        "P7/2024-01/t1_post_gd.nii.gz",
        "P7/2024-01/P7_flair.nii",
        "P7/2024-01/P8_flair.nii",
        "masks/P7/2024-01/tumour.nii.gz",
    )
    assert (case.case_id, case.identity.patient_id, case.identity.visit) == ("P7_2024-01", "P7", "2024-01")
    assert {sequence: path.name for sequence, path in case.sequences.items()} == {
        "t1c": "t1_post_gd.nii.gz",
        "flair": "P7_flair.nii",
    }
    assert case.reference.name == "tumour.nii.gz"
    assert (case.target, case.known, case.lesion) == ({"core": {1, 3}}, {1, 2, 3}, "core (1, 3)")
    assert [path.name for path in left] == ["P8_flair.nii"]


def test_own_layout_without_labels_takes_every_number(tmp_path):
    (case,), _ = own_layout(tmp_path, 'sequences: {t1c: "{case}.nii.gz"}', "P1_2024-01-15.nii.gz")
    assert (case.target, case.known) == ({"lesion": POSITIVE}, POSITIVE)
    assert (case.identity.patient_id, case.identity.visit) == ("P1", "2024-01-15")


@pytest.mark.parametrize(
    "text",
    [
        "sequences: {t1c: no_name.nii.gz}",
        'sequences: {t1c: "{person}.nii.gz"}',
        'sequences: {t9: "{case}.nii.gz"}',
        "sequences: {}",
        'sequence: {t1c: "{case}.nii.gz"}',
        'sequences: {t1c: "{case}.nii.gz"}\nlabels: {lesion: [0]}',
        "sequences: [",
        "",
    ],
)
def test_a_wrong_own_layout_is_named(tmp_path, text):
    with pytest.raises(MetsegError, match=OWN):
        own_layout(tmp_path, text, "P1.nii.gz")


def test_own_layout_whose_patterns_overlap_is_refused(tmp_path):
    text = 'sequences: {t1c: "{case}.nii.gz", t1: "{case}_t1.nii.gz"}'
    with pytest.raises(MetsegError, match="t1c and t1|t1 and t1c"):
        own_layout(tmp_path, text, "P1_t1.nii.gz")
