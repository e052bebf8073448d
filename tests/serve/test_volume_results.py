"""What a visitor's settings change of a scan that is segmented."""

import numpy as np
import pytest
from drawn_volumes import FIRST, Marker, phantom_volumes

from metseg.data.scan_inputs import open_scan, scan_inputs
from metseg.inference.operating_points import LesionCalibration
from metseg.masks.postprocess import Postprocessing
from metseg.reports.results import segment
from metseg.serve import volume_results
from metseg.serve.service.jobs import Jobs
from metseg.serve.volume_results import with_settings, write_archive

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


def test_a_lesion_keeps_its_probability_at_other_thresholds(scan):
    """It is calibrated by voxels from 0.5 on; what surrounds them at a lower threshold is not asked."""
    grid = scan.scan.volume.grid
    prob_map = np.zeros(grid, np.float32)
    prob_map[2:6, 10:30, 10:30], prob_map[3:5, 15:25, 15:25] = 0.2, 0.9
    network = Marker(prob_map > 0.5, postprocessing=STRICT)
    calibration = LesionCalibration(slope=1, intercept=0, least=0.5, candidates=40, lesions=20)
    found = segment(scan, network)._replace(prob_map=prob_map, calibration=calibration)
    wide = [
        with_settings(found, network, settings)
        for settings in (STRICT.detecting_from(0.1), STRICT.detecting_from(0.6).extending_from(0.1))
    ]
    for each in wide:
        (lesion,) = each.visit.lesions
        assert lesion.voxels == 4 * 20 * 20 and lesion.score == pytest.approx(0.9)
        assert each.calibration.probability(lesion.score) == pytest.approx(0.9)


def test_what_a_killed_process_left_is_removed(scan, tmp_path, monkeypatch):
    left = tmp_path / "left"
    monkeypatch.setattr(
        volume_results.tempfile, "TemporaryDirectory", lambda **options: _Stays(left, **options)
    )
    write_archive(segment(scan, Marker(np.ones(scan.scan.volume.grid, bool))), [], home=tmp_path)
    (folder,) = left.iterdir()
    monkeypatch.setattr("metseg.serve.service.jobs.psutil.pid_exists", lambda pid: False)
    jobs = Jobs(left)
    jobs.forget_old()
    jobs.close()
    assert not folder.exists()


class _Stays:
    """A folder that nobody removes, as after a kill."""

    def __init__(self, home, prefix, dir):
        self.name = home / f"{prefix}x"

    def __enter__(self):
        self.name.mkdir(parents=True)
        return str(self.name)

    def __exit__(self, *_):
        pass
