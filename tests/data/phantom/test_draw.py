"""The phantom: repeatable, laid out like the Kaggle LGG set, and hard for a threshold."""

import json

import numpy as np
import pytest
import tifffile

from metseg.base.errors import MetsegError
from metseg.data.cases import list_cases
from metseg.data.phantom import draw as phantom
from metseg.data.phantom.draw import draw_phantom, write_phantom
from metseg.data.phantom.lesions import MAX_DIAMETER_MM, MIN_DIAMETER_MM, draw_diameters_mm
from metseg.data.provenance import PHANTOM, provenance_of
from metseg.data.readers.images import read_image

CASE_1 = "PHANTOM_0001_20000101"
SMALL = {"patients": 2, "slices": 3, "size": 48}


@pytest.fixture(scope="module")
def cases():
    return [draw_phantom(index, size=100, pixel_mm=2.0) for index in (1, 2, 4)]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_phantom(tmp_path_factory.mktemp("set") / "phantom", **SMALL)


@pytest.fixture
def only_names(monkeypatch):
    """Nothing is drawn: a case's folder has one empty slice."""

    def touch(tree, index, *, seed, **_):
        case_id = phantom._case_id(index, seed)
        (tree / case_id).mkdir()
        (tree / case_id / f"{case_id}_1.tif").touch()

    monkeypatch.setattr(phantom, "_write_case", touch)


def files_of(folder):
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_layout_and_mask_values(tree):
    names = set(files_of(tree))
    expected = {
        f"PHANTOM_000{p}_20000101/PHANTOM_000{p}_20000101_{s}{kind}.tif"
        for p in (1, 2)
        for s in (1, 2, 3)
        for kind in ("", "_mask")
    }
    assert names == expected | {"phantom.json"}
    masks = [tifffile.imread(tree / name) for name in names if name.endswith("_mask.tif")]
    assert all(mask.shape == (48, 48) and mask.dtype == np.uint8 for mask in masks)
    assert set(np.unique(masks)) == {0, 255}
    record = json.loads((tree / "phantom.json").read_text())
    assert (record["patients"], record["slices"], record["size"], record["seed"]) == (2, 3, 48, 0)
    assert "Synthetic" in record["note"]


def test_the_same_seed_draws_the_same_and_another_one_others(tree):
    drawn = {"size": 48, "slices": 3, "pixel_mm": 200 / 48}
    case, other = draw_phantom(1, **drawn), draw_phantom(1, seed=1, **drawn)
    assert case.image.shape == (3, 48, 48, 3) and case.image.dtype == np.uint8 and case.mask.any()
    assert not np.array_equal(case.image, other.image) and not np.array_equal(case.mask, other.mask)
    stem = tree / CASE_1 / CASE_1
    for number in (1, 2, 3):
        assert np.array_equal(tifffile.imread(f"{stem}_{number}.tif"), case.image[number - 1])
        assert np.array_equal(tifffile.imread(f"{stem}_{number}_mask.tif") > 0, case.mask[number - 1])


def test_two_seeds_share_no_patient(tmp_path, only_names):
    patients = {}
    for seed in (0, 1, 7, 71):
        cases = list_cases(write_phantom(tmp_path / str(seed), **{**SMALL, "seed": seed}))
        patients[seed] = {case.patient_id for case in cases}
        assert provenance_of(case.case_id for case in cases) is PHANTOM
    assert patients[0] == {"PHANTOM_0001", "PHANTOM_0002"}  # as ever: runs on them can be gone on with
    assert patients[7] == {"PHANTOM_S7_0001", "PHANTOM_S7_0002"}
    assert len(set.union(*patients.values())) == 2 * len(patients)


def test_tags_give_the_spacing_back(tree):
    volume = read_image(tree / CASE_1 / f"{CASE_1}_1.tif")
    assert volume.spacing_mm == pytest.approx((5, 200 / 48, 200 / 48), rel=1e-4)


def test_no_global_threshold_does_well(cases):
    truth = np.concatenate([case.mask.ravel() for case in cases])
    for channel in range(3):
        values = np.concatenate([case.image[..., channel].ravel() for case in cases])
        # Dice of "value >= t" for all t at once, from counts of the values t and above.
        hit = np.bincount(values[truth], minlength=256)[::-1].cumsum()
        called = np.bincount(values, minlength=256)[::-1].cumsum()
        assert (2 * hit / (called + truth.sum())).max() < 0.35


def test_many_slices_are_empty_and_no_patient_is(cases):
    filled = np.array([case.mask.any(axis=(1, 2)) for case in cases])
    assert filled.any(axis=1).all()
    assert 0.25 < 1 - filled.mean() < 0.70


def test_lesions_keep_to_the_stated_sizes():
    drawn = draw_diameters_mm(np.random.default_rng(0), 500)
    assert drawn.min() >= MIN_DIAMETER_MM and drawn.max() <= MAX_DIAMETER_MM
    assert np.median(drawn) == pytest.approx(7.5, abs=1.0)


def test_metastases_enhance_and_their_oedema_is_not_in_the_mask(cases):
    for case in cases:
        t1, flair, t1c = (case.image[..., channel].astype(float) for channel in range(3))
        taken_up = (t1c - t1)[case.mask].mean()
        assert taken_up > 20 + (t1c - t1)[~case.mask].mean()
        assert ((flair > np.percentile(flair, 99)) & ~case.mask).any()


def test_second_write_changes_nothing(tree, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    monkeypatch.setattr(phantom, "_write_case", lambda *_, **__: pytest.fail("drawn again"))
    assert write_phantom(tree, **SMALL) == tree
    assert before == {path: path.stat().st_mtime_ns for path in tree.rglob("*")}


def test_other_parameters_are_refused_and_nothing_is_lost(tree):
    before = files_of(tree)
    with pytest.raises(MetsegError, match="choose another folder"):
        write_phantom(tree, **{**SMALL, "seed": 1})
    assert files_of(tree) == before


@pytest.mark.parametrize("stranger", ["notes.txt", "phantom.json"])
def test_a_folder_with_other_things_is_refused(tmp_path, stranger):
    (tmp_path / stranger).write_text("mine")
    with pytest.raises(MetsegError, match="choose another folder"):
        write_phantom(tmp_path, **SMALL)
    assert files_of(tmp_path) == {stranger: b"mine"}


def test_an_empty_folder_is_filled(tmp_path, only_names):
    (tmp_path / "phantom").mkdir()
    assert (write_phantom(tmp_path / "phantom", **SMALL) / CASE_1).is_dir()


@pytest.mark.parametrize(
    ("stop", "raised"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "No space left on device"), MetsegError)],
)
def test_an_interrupted_write_leaves_nothing(tmp_path, only_names, monkeypatch, stop, raised):
    write_case = phantom._write_case

    def fail_at_second(tree, index, **parameters):
        if index == 2:
            raise stop
        write_case(tree, index, **parameters)

    monkeypatch.setattr(phantom, "_write_case", fail_at_second)
    with pytest.raises(raised):
        write_phantom(tmp_path / "phantom", **SMALL)
    assert list(tmp_path.iterdir()) == []
