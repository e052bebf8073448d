"""A reference mask comes to its scan's grid, or is refused."""

import numpy as np
import pytest
from phantom_upload import nifti_files, nifti_of, reference_file, visit

from metseg.data.grid import from_axial
from metseg.data.readers.image_errors import NotAnImage, UnusablePixels
from metseg.serve.reference_volume import read_reference_volume
from metseg.serve.volume_upload import VolumeUpload


def test_a_reference_comes_to_the_scan_s_grid(tmp_path):
    with VolumeUpload([*nifti_files().items()], home=tmp_path) as upload:
        stored = upload.open().scan.stored
    mask, notes = read_reference_volume(reference_file(), "ref.nii.gz", stored)
    assert np.array_equal(from_axial(mask, stored), visit().labels > 0)
    assert any("1, 2, 3" in note for note in notes)
    other = nifti_of(np.zeros((2, 8, 8), np.uint8), np.diag([-1.0, -1.0, 2.0, 1.0]))
    with pytest.raises(UnusablePixels, match="another grid"):
        read_reference_volume(other, "ref.nii.gz", stored)
    with pytest.raises(NotAnImage):
        read_reference_volume(b"x" * 999, "ref.nii.gz", stored)
