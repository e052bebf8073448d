"""What is kept of a scan lies where the lesions truly are, in the file's own grid and order."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from complaints import complaint
from drawn_volumes import FIRST, Marker, phantom_volumes
from nibabel.orientations import axcodes2ornt
from scipy.ndimage import label
from tiny_runs import pointed_without, write_bright_model

from metseg.base.errors import MetsegError
from metseg.data.phantom.volumes import FILE_NAMES, true_lesions
from metseg.data.scan_inputs import open_scan, scan_inputs
from metseg.data.volume_files import reference_alone
from metseg.data.writers.dicom_seg import read_seg
from metseg.data.writers.rtstruct import read_rtstruct
from metseg.inference.predictor import Predictor
from metseg.reports.results import drawn, report_of, segment, write_results

TOUCHING = np.ones((3, 3, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return phantom_volumes(tmp_path_factory)


@pytest.fixture(scope="module")
def true_mm(folder):
    return np.array([lesion.centre_mm for lesion in true_lesions(folder)[FIRST]])


def opened(path):
    (given,) = scan_inputs(path)
    return open_scan(given)


def reference_of(folder):
    return reference_alone(folder / FIRST / f"{FIRST}-seg.nii.gz")


def found_in(path, folder):
    """The scan at a path, in which a network marks the phantom's reference."""
    scan = opened(path)
    return segment(scan, Marker(drawn(scan, reference_of(folder)).mask))


def test_a_scan_without_a_sequence(tmp_path, folder):
    """What one network never learned to do without another may; it is refused before it runs."""
    (given,) = scan_inputs(folder / FIRST)
    files = {name: path for name, path in given.sequences.items() if name != "flair"}
    scan = open_scan(replace(given, sequences=files), allow_missing=True)
    measured = {"scans": 3, "complete": 0.81, "without": {"flair": 0.78}}
    known = {"never_missing": "t1c", "incomplete_dice": measured}
    found = segment(scan, Predictor(write_bright_model(tmp_path / "new", **known)))
    assert "0.81 to 0.78" in found.notes[0]
    assert any("no flair: t1c stands in" in note for note in report_of(found).notes)
    for old in ({}, {"never_missing": "flair"}):
        with pytest.raises(MetsegError, match="has no flair"):
            segment(scan, Predictor(write_bright_model(tmp_path / "old", **old)), trust_anyway=True)


def test_a_scan_without_a_sequence_is_cut_by_thresholds_of_such_scans(tmp_path, folder):
    (given,) = scan_inputs(folder / FIRST)
    files = {name: path for name, path in given.sequences.items() if name != "flair"}
    scan = open_scan(replace(given, sequences=files), allow_missing=True)
    predictor = Predictor(write_bright_model(tmp_path, **pointed_without("flair", 0.3, 2.0)))
    found, complete = segment(scan, predictor), segment(open_scan(given), predictor)
    assert "2 false positives" in found.origin.operating_point and found.calibration is None
    assert "0.5 false positives" in complete.origin.operating_point and complete.calibration is not None


def all_there(places, true_mm) -> bool:
    distances = np.linalg.norm(np.array(places)[:, None] - true_mm, axis=-1)
    return len(places) == len(true_mm) and distances.min(axis=0).max() < 1e-2


@pytest.mark.parametrize("order", ["LPS", "ASR", "IRP"])
def test_the_mask_is_on_the_files_grid_at_the_true_place(tmp_path, folder, true_mm, order):
    for name in FILE_NAMES.values():
        image = nib.load(folder / FIRST / f"{FIRST}-{name}.nii.gz")
        turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), axcodes2ornt(order))
        (tmp_path / FIRST).mkdir(exist_ok=True)
        nib.save(image.as_reoriented(turn), tmp_path / FIRST / f"{FIRST}-{name}.nii.gz")
    found = found_in(tmp_path / FIRST, folder)
    paths, notes = write_results(found, tmp_path / "out", ["probabilities", "report"])
    assert notes == [] and set(paths) == {"mask", "probabilities", "report"}
    scan = nib.load(tmp_path / FIRST / f"{FIRST}-t1c.nii.gz")
    for kind, highest in (("mask", 1), ("probabilities", 0.75)):
        image = nib.load(paths[kind])
        assert image.shape == scan.shape and np.allclose(image.affine, scan.affine, atol=1e-6)
        pixels = image.get_fdata()
        assert set(np.unique(pixels)) == {0, highest}
        lesions, count = label(pixels, TOUCHING)
        centres = [np.argwhere(lesions == n).mean(axis=0) for n in range(1, count + 1)]
        assert all_there(nib.affines.apply_affine(image.affine, centres), true_mm)
    record = json.loads((tmp_path / "out" / f"{FIRST}_report" / "report.json").read_text())
    rows = [[row[f"centroid_mm_{axis}"] for axis in "ras"] for row in record["lesions"]]
    assert all_there(rows, true_mm)
    assert record["patient_id"] == "PHANTOM-MET-00001" and record["origin"]["caution"]


def test_dicom_results_are_at_the_true_place(tmp_path, folder, true_mm):
    found = found_in(folder / "dicom" / FIRST, folder)
    paths, _ = write_results(found, tmp_path, ["seg", "sr", "rtstruct"])
    assert set(paths) == {"mask", "seg", "sr", "rtstruct"}
    assert all_there([place for place, _ in read_seg(paths["seg"]).values()], true_mm)
    stored = found.scan.scan.stored
    contoured = read_rtstruct(paths["rtstruct"], stored.affine, stored.grid)
    places = [np.argwhere(contoured == n).mean(axis=0)[::-1] for n in range(1, len(true_mm) + 1)]
    assert all_there(nib.affines.apply_affine(stored.affine, places), true_mm)


def test_what_somebody_drew_is_not_overwritten(tmp_path, folder):
    found = found_in(folder / FIRST, folder)
    paths, _ = write_results(found, tmp_path, ["probabilities"])
    write_results(found, tmp_path, ["probabilities"])  # its own
    image = nib.load(paths["mask"])
    voxels = np.asarray(image.dataobj).copy()
    voxels[0, 0, 0] = 1
    nib.save(nib.Nifti1Image(voxels, image.affine, image.header), paths["mask"])
    before = paths["mask"].read_bytes()
    assert paths["mask"].name in complaint(write_results, found, tmp_path)
    (tmp_path / "new").mkdir()
    shutil.copy(paths["mask"], tmp_path / "new" / paths["probabilities"].name)
    line = complaint(write_results, found, tmp_path / "new", ["probabilities"])
    assert paths["probabilities"].name in line and len([*(tmp_path / "new").iterdir()]) == 1
    assert paths["mask"].read_bytes() == before


def test_dicom_of_one_slice(tmp_path, folder):
    home = tmp_path / "one"
    for name in sorted({path.name for path in (folder / "dicom" / FIRST).iterdir() if path.is_dir()}):
        paths = sorted((folder / "dicom" / FIRST / name).iterdir())
        (home / name).mkdir(parents=True)
        shutil.copy(paths[len(paths) // 2], home / name)
    scan = opened(home)
    found = segment(scan, Marker(np.ones(scan.scan.volume.grid, bool)))
    written, _ = write_results(found, tmp_path / "out", ["sr"])
    assert len(read_seg(written["seg"])) == 1


def test_an_sr_alone_brings_the_seg_that_it_refers_to(tmp_path, folder):
    paths, _ = write_results(found_in(folder / "dicom" / FIRST, folder), tmp_path, ["sr"])
    assert set(paths) == {"mask", "seg", "sr"}


def test_no_lesion_is_said(tmp_path, folder):
    scan = opened(folder / "dicom" / FIRST)
    found = segment(scan, Marker(np.zeros(scan.scan.volume.grid, bool)))
    paths, notes = write_results(found, tmp_path, ["seg"])
    assert set(paths) == {"mask"} and "no lesion" in notes[0] and "seg" in notes[0]
    assert nib.load(paths["mask"]).get_fdata().max() == 0


def test_dicom_of_what_is_none_is_refused(tmp_path, folder):
    line = complaint(write_results, found_in(folder / FIRST, folder), tmp_path / "out", ["report", "seg"])
    assert FIRST in line and "seg" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("target", "told"), [("", "TC (1, 3)"), ("WT", "WT (1, 2, 3)"), ("2", "labels (2)")])
def test_a_drawn_mask_says_what_its_labels_mean(folder, target, told):
    path = folder / FIRST / f"{FIRST}-seg.nii.gz"
    found = drawn(opened(folder / FIRST), reference_alone(path, target))
    assert found.prob_map is None and found.origin.network == "reference"
    assert any(told in note for note in found.notes)
    numbers = {"": (1, 3), "WT": (1, 2, 3), "2": (2,)}[target]
    assert found.mask.sum() == np.isin(nib.load(path).get_fdata(), numbers).sum()


def test_of_a_mask_of_any_other_name_every_label_is_a_lesion(tmp_path, folder):
    path = tmp_path / "by_hand.nii.gz"
    path.write_bytes((folder / FIRST / f"{FIRST}-seg.nii.gz").read_bytes())
    found = drawn(opened(folder / FIRST), reference_alone(path))
    assert found.mask.sum() == (nib.load(path).get_fdata() > 0).sum()
    assert "1, 2, 3" in found.notes[0]
    assert "ET" in complaint(reference_alone, path, "ET")  # of which nobody told the number


@pytest.mark.parametrize("is_bids", [True, False])
def test_bids_derivatives(tmp_path, folder, is_bids):
    source, home = folder / FIRST, tmp_path / "raw" / "sub-01" / "ses-1" / "anat"
    kinds = {"t1n": "T1w", "t1c": "ce-gadolinium_T1w", "t2f": "FLAIR"}
    if is_bids:
        home.mkdir(parents=True)
        for name, suffix in kinds.items():
            shutil.copy(source / f"{FIRST}-{name}.nii.gz", home / f"sub-01_ses-1_{suffix}.nii.gz")
    found = found_in(tmp_path / "raw" if is_bids else source, folder)
    paths, _ = write_results(found, tmp_path / "out", ["bids"])
    image = nib.load(paths["bids"])
    assert (image.get_fdata() == nib.load(paths["mask"]).get_fdata()).all()
    beside = json.loads(Path(str(paths["bids"]).replace(".nii.gz", ".json")).read_text())
    told = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    assert told["DatasetType"] == "derivative" and beside["Type"] == "Lesion"
    name = "sub-01_ses-1_ce-gadolinium_space-orig_label-lesion_mask.nii.gz"
    if is_bids:
        assert paths["bids"] == tmp_path / "out" / "sub-01" / "ses-1" / "anat" / name
        assert beside["Sources"] == ["bids:raw:sub-01/ses-1/anat/sub-01_ses-1_ce-gadolinium_T1w.nii.gz"]
    else:
        assert paths["bids"].name == "sub-PHANTOMMET00001_ses-000_space-orig_label-lesion_mask.nii.gz"
        assert beside["Sources"] == []
