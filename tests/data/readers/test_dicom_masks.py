"""Masks in DICOM are the labels that were written, on the scan's grid, or are refused by name."""

from dataclasses import replace
from functools import partial

import highdicom as hd
import numpy as np
import pytest
from complaints import complaint
from dicom_files import OBLIQUE, edit
from dicom_results import GRID, MADE_BY, several, sources_of
from pydicom import dcmread
from pydicom.sr.codedict import codes

from metseg.data.grid import reorder
from metseg.data.readers.dicom_masks import read_labels
from metseg.data.scan import read_reference
from metseg.data.volume import Volume
from metseg.data.volume_files import reference_alone
from metseg.data.writers.dicom_seg import write_seg
from metseg.data.writers.rtstruct import write_rtstruct

SCAN = Volume.of_grid(GRID, affine=OBLIQUE)
WRITERS = {"seg": write_seg, "rtstruct": write_rtstruct}


@pytest.fixture
def sources(tmp_path):
    return sources_of(tmp_path / "scan")


@pytest.fixture
def written(tmp_path, sources):
    """A function that writes the lesions of `several` and returns the file."""

    def write(kind):
        WRITERS[kind](several(), OBLIQUE, sources, tmp_path / f"{kind}.dcm", MADE_BY)
        return tmp_path / f"{kind}.dcm"

    return write


@pytest.mark.parametrize("kind", WRITERS)
def test_what_was_written_is_read(written, sources, kind):
    path, frame = written(kind), sources[0].FrameOfReferenceUID
    labels, notes = read_labels(path, SCAN, frame_of_reference=frame)
    assert np.array_equal(labels.array, several()) and labels.stored == {1, 2, 3}
    (note,) = notes
    assert "1 Lesion 1, 2 Lesion 2, 3 Lesion 3" in note
    again, notes = read_reference(reference_alone(path, "2,3"), SCAN, frame_of_reference=frame)
    assert again.mask.sum() == (several() > 1).sum()
    notes = read_labels(path, SCAN)[1]  # the scan is NIfTI
    assert any("frame of reference" in note for note in notes)


@pytest.mark.parametrize("kind", WRITERS)
def test_the_scan_may_have_its_axes_otherwise(written, kind):
    order = np.array([[0, -1, 0, 13], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    scan = Volume(reorder(SCAN.array, order), ("grid",), affine=OBLIQUE @ order)
    assert np.array_equal(read_labels(written(kind), scan)[0].array, reorder(several(), order))


@pytest.mark.parametrize("kind", WRITERS)
def test_of_another_scan_it_is_refused(written, kind):
    path = written(kind)
    assert "frame of reference (" in complaint(partial(read_labels, frame_of_reference="1.2.3"), path, SCAN)
    for shift, told in (((0, 0, 0.5), "slices" if kind == "rtstruct" else "grid"), ((9, 0, 0), "outside")):
        affine = OBLIQUE @ np.block([[np.eye(3), np.array(shift).reshape(3, 1)], [np.zeros(3), 1]])
        assert told in complaint(read_labels, path, Volume.of_grid(GRID, affine=affine))
    assert "orientation" in complaint(read_labels, path, Volume.of_grid(GRID))


def test_other_pixels_are_another_grid(written):
    finer = OBLIQUE @ np.diag([0.5, 0.5, 1, 1])
    assert "another grid" in complaint(read_labels, written("seg"), Volume.of_grid(GRID, affine=finer))


def test_fractions_count_from_one_half(tmp_path, sources):
    shares = np.where(several() == 1, 0.4, np.where(several() == 2, 0.6, 0))
    algorithm = hd.AlgorithmIdentificationSequence("a", codes.DCM.ArtificialIntelligence, "1")
    segment = hd.seg.SegmentDescription(
        1, "tumour", codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Lesion,
        hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC, algorithm,
    )  # fmt: skip
    about = ("FRACTIONAL", [segment], hd.UID(), 1, hd.UID(), 1, "a", "b", "c", "d")
    hd.seg.Segmentation(sources, shares, *about).save_as(tmp_path / "seg.dcm")
    labels, notes = read_labels(tmp_path / "seg.dcm", SCAN)
    assert np.array_equal(labels.array > 0, several() == 2)
    assert any("one half" in note for note in notes) and any("1 tumour" in note for note in notes)


def test_organs_are_left_out_and_said(written):
    path = written("rtstruct")
    file = dcmread(path)
    file.RTROIObservationsSequence[1].RTROIInterpretedType = "ORGAN"
    file.StructureSetROISequence[1].ROIName = "Brainstem"
    file.save_as(path)
    labels, notes = read_labels(path, SCAN)
    assert np.array_equal(labels.array, np.where(several() == 2, 0, several()))
    assert any("2 Brainstem (ORGAN)" in note for note in notes)
    for each in file.RTROIObservationsSequence:
        each.RTROIInterpretedType = "EXTERNAL"
    file.save_as(path)
    assert read_labels(path, SCAN)[1][-1] == "It marks no voxel."
    assert "frame of reference (" in complaint(partial(read_labels, frame_of_reference="1.2.3"), path, SCAN)


def test_parts_that_overlap_are_said(written):
    path = written("rtstruct")
    file = dcmread(path)
    file.ROIContourSequence[1].ContourSequence = file.ROIContourSequence[0].ContourSequence
    file.save_as(path)
    labels, notes = read_labels(path, SCAN)
    shared = (several() == 1).sum()
    assert (labels.array == 2).sum() == shared and any(f"{shared} voxels" in note for note in notes)


def test_slanted_contours_are_filled(written):
    """A diamond around the voxel (6, 5), 3 voxels to each corner: 13 + 12 centres, its own corners apart."""
    path = written("rtstruct")
    file = dcmread(path)
    corners = np.array([[9.2, 5, 2, 1], [6, 8.2, 2, 1], [2.8, 5, 2, 1], [6, 1.8, 2, 1]])
    mm = (corners @ (np.diag([-1.0, -1, 1, 1]) @ OBLIQUE).T)[:, :3]
    contour = file.ROIContourSequence[0].ContourSequence[0]
    contour.ContourData, contour.NumberOfContourPoints = [f"{value:.4f}" for value in mm.ravel()], 4
    file.ROIContourSequence[0].ContourSequence = [contour]
    file.save_as(path)
    z, y, x = np.mgrid[: GRID[0], : GRID[1], : GRID[2]]
    expected = (z == 2) & (abs(x - 6) + abs(y - 5) <= 3)
    assert expected.sum() == 25 and np.array_equal(read_labels(path, SCAN)[0].array == 1, expected)
    contour.ContourGeometricType = "POINT"
    file.save_as(path)
    assert "POINT" in complaint(read_labels, path, SCAN)


def test_other_files_are_named(tmp_path, sources, written):
    scan = next((tmp_path / "scan").glob("*.dcm"))
    assert str(scan) in complaint(read_labels, scan, SCAN)
    path = written("seg")
    edit(path, PerFrameFunctionalGroupsSequence=None)
    assert f"{path} is damaged" in complaint(read_labels, path, SCAN)
    files = replace(reference_alone(written("rtstruct")), known=frozenset({1}))
    assert "marks with [2, 3]" in complaint(read_reference, files, SCAN)
