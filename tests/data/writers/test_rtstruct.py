"""An RTSTRUCT's contours, filled by another program's rule, are the lesions."""

import cv2
import numpy as np
import pytest
from complaints import complaint
from dicom_files import OBLIQUE
from dicom_results import GRID, MADE_BY, complaints_of_dciodvfy, one, places_of, several, sources_of
from pydicom import dcmread

from metseg.data.writers.rtstruct import read_rtstruct, write_rtstruct


@pytest.mark.parametrize("labels", [one(), several()], ids=["one", "several"])
def test_filled_again_it_is_the_same(tmp_path, labels):
    path = tmp_path / "rt.dcm"
    write_rtstruct(labels, OBLIQUE, sources_of(tmp_path), path, MADE_BY)
    np.testing.assert_array_equal(read_rtstruct(path, OBLIQUE, labels.shape), labels)
    assert complaints_of_dciodvfy(path) == []


def test_contours_lie_where_the_lesions_are(tmp_path):
    """By pydicom and OpenCV alone: even-odd filling in each slice, twenty times as fine."""
    labels, path, fine = several(), tmp_path / "rt.dcm", 20
    sources = sources_of(tmp_path)
    write_rtstruct(labels, OBLIQUE, sources, path, MADE_BY)
    to_voxel = np.linalg.inv(np.diag([-1.0, -1, 1, 1]) @ OBLIQUE)
    slice_of = {each.SOPInstanceUID: z for z, each in enumerate(sources)}
    for roi in dcmread(path).ROIContourSequence:
        number, planes = int(roi.ReferencedROINumber), {}
        for contour in roi.ContourSequence:
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            mm = np.reshape(contour.ContourData, (-1, 3)).astype(float)
            x, y, z = to_voxel[:3, :3] @ mm.T + to_voxel[:3, 3:]
            np.testing.assert_allclose(z, z.mean().round(), atol=1e-3)
            assert slice_of[contour.ContourImageSequence[0].ReferencedSOPInstanceUID] == z.mean().round()
            points = np.stack([x, y], axis=1) + 0.5  # from the corner of the first pixel
            planes.setdefault(int(z.mean().round()), []).append(np.rint(fine * points).astype(np.int32))
        area, moment = 0.0, np.zeros(3)
        for z, polygons in planes.items():
            drawn = np.zeros((fine * GRID[1], fine * GRID[2]), np.uint8)
            cv2.fillPoly(drawn, polygons, 1)
            y, x = np.nonzero(drawn)
            area += len(x)
            moment += (x.sum(), y.sum(), z * len(x))
        assert area / fine**2 == pytest.approx(
            (labels == number).sum(), rel=0.15
        )  # its edge counts as inside
        x, y, z = moment / area
        at = OBLIQUE @ ((x + 0.5) / fine - 0.5, (y + 0.5) / fine - 0.5, z, 1)
        assert np.linalg.norm(at[:3] - places_of(labels)[number]) < 0.4  # half of the smallest side


def test_what_cannot_be_is_refused(tmp_path):
    nothing, path = np.zeros(GRID, int), tmp_path / "rt.dcm"
    assert "no lesion" in complaint(
        write_rtstruct, nothing, OBLIQUE, sources_of(tmp_path / "a"), path, MADE_BY
    )
    frames = sources_of(tmp_path / "b", enhanced=True)
    assert "SEG" in complaint(write_rtstruct, one(), OBLIQUE, frames, path, MADE_BY)
    assert not path.exists()
