"""A set of scans with inserted metastases: named as in BraTS-METS, read back as it was made."""

import numpy as np
import pytest

from metseg.base.errors import MetsegError
from metseg.data.cases import find_cases, list_cases, load_case
from metseg.data.phantom.insert_set import inserted_lesions, own_tumour, read_insertion, write_insertions
from metseg.data.phantom.volumes import write_volumes
from metseg.data.provenance import INSERTED, provenance_of
from metseg.data.readers.nifti import read, read_labels


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    source = write_volumes(tmp_path_factory.mktemp("real") / "set", patients=1, slices=20, size=64)
    return source, write_insertions(source.parent / "inserted", source, cases=3, seed=4, count=3)


def test_cases_are_the_patients_of_their_scans(folders):
    cases = list_cases(folders[1])
    names = ["INSERTED-MET-00001-000", "INSERTED-MET-00001-001", "INSERTED-MET-00002-000"]
    assert [case.case_id for case in cases] == names == [*inserted_lesions(folders[1])]
    assert {case.patient_id for case in cases} == {"PHANTOM-MET-00001"}  # two scans of one
    assert len({case.visit for case in cases}) == 3
    assert provenance_of(names) == INSERTED


def test_files_hold_the_table(folders):
    regions = {"TC": frozenset({1, 3})}
    for case_id, lesions in inserted_lesions(folders[1]).items():
        files = {path.name for path in (folders[1] / case_id).iterdir()}
        assert files == {f"{case_id}-{kind}.nii.gz" for kind in ("t1n", "t1c", "t2w", "t2f", "seg")}
        image, notes = read(folders[1] / case_id / f"{case_id}-t1c.nii.gz")
        labels, _ = read_labels(folders[1] / case_id / f"{case_id}-seg.nii.gz", image, regions=regions)
        assert notes == [] and image.array.dtype == np.int16
        for lesion in lesions:
            z, y, x = np.rint(lesion.centroid_voxel).astype(int)
            assert labels.mask[z, y - 1 : y + 2, x - 1 : x + 2].any()


def test_a_case_is_read_back(folders):
    made = read_insertion(folders[1], "INSERTED-MET-00001-000")
    assert made.lesions == inserted_lesions(folders[1])["INSERTED-MET-00001-000"]
    assert "t1c" in made.volume.channels and made.inserted.shape == made.volume.grid
    own = made.labels.region("TC") & (made.inserted == 0)
    assert own.any()  # the phantom's own lesions, which it came with
    for lesion in made.lesions:
        assert (made.inserted == lesion.number).sum() == lesion.voxels
    with pytest.raises(MetsegError, match="INSERTED-MET-00009-000"):
        read_insertion(folders[1], "INSERTED-MET-00009-000")


def test_the_own_tumour_stays_in_the_reference(folders):
    """Else a network would learn that what takes up contrast there is no lesion."""
    own, _ = load_reference(folders[0], "PHANTOM-MET-00001-000")
    made, made_regions = load_reference(folders[1], "INSERTED-MET-00001-000")
    core = np.isin(own, [1, 3])
    assert core.any() and np.array_equal(made[core], own[core])
    inserted = read_insertion(folders[1], "INSERTED-MET-00001-000").inserted > 0
    assert not (inserted & (own > 0)).any()  # metastases lie away from it
    assert made_regions > {0, 3}


def test_the_own_tumour_is_told_from_what_was_drawn(folders):
    for region in ("TC", "ET"):  # of ET a lesion's necrotic middle is no part
        for files in find_cases(folders[1], target=region, allow_missing=True):
            case, made = load_case(files), read_insertion(folders[1], files.case_id)
            own = own_tumour(files, case)
            assert own.any() and np.array_equal(own, made.labels.region(region) & (made.inserted == 0))
    files = find_cases(folders[0], target="TC+ET+WT", allow_missing=True)[0]
    case = load_case(files)
    assert case.mask.any() and not own_tumour(files, case).any()  # nothing was drawn into these


def load_reference(folder, case_id):
    labels, _ = read(folder / case_id / f"{case_id}-seg.nii.gz")
    return labels.array[0].astype(int), {*np.unique(labels.array).astype(int).tolist()}


def test_what_cannot_be_made_leaves_nothing(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(MetsegError, match=source.name):
            write_insertions(tmp_path / "new", source)
    with pytest.raises(MetsegError, match="exists"):
        write_insertions(folders[1], folders[0])
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
