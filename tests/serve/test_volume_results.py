"""What a visitor's settings change of a scan that is segmented."""

import numpy as np
import pytest
from drawn_volumes import FIRST, Marker, phantom_volumes

from metseg.data.scan_inputs import open_scan, scan_inputs
from metseg.masks.postprocess import Postprocessing
from metseg.reports.results import segment
from metseg.serve.volume_results import with_settings

STRICT = Postprocessing(lesion_threshold=0.9)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    (given,) = scan_inputs(phantom_volumes(tmp_path_factory) / FIRST)
    return open_scan(given)


def test_a_large_region_is_told_until_a_threshold_marks_it(scan):
    volume = scan.scan.volume
    marked = np.zeros(volume.grid, bool)
    marked[:, 2:-2, 2:-2] = True  # probability 0.75
    assert marked.sum() * np.prod(volume.spacing_mm) > 5000
    network = Marker(marked, postprocessing=STRICT)
    found = segment(scan, network)
    assert not found.mask.any() and len(found.dropped) == 1 and found.dropped[0] in found.cautions
    lower = with_settings(found, network, STRICT.detecting_from(0.7))
    assert (lower.mask == marked).all() and not lower.dropped
    higher = with_settings(found, network, STRICT.detecting_from(0.95))
    assert "0.95" in higher.dropped[0] and higher.cautions == higher.dropped
