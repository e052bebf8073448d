"""Cases are read ahead, in order, and no more of them than their bytes allow."""

import threading
import time

import numpy as np
import pytest
from volume_set import SPACING_MM, write_volumes

from metseg.data.cases import find_cases, load_case, load_mask
from metseg.preprocessing.pipeline import Preprocessing
from metseg.training import network_slices as reading
from metseg.training.network_slices import read_in_turn

CONFIG = Preprocessing(image_size=16)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return find_cases(write_volumes(tmp_path_factory.mktemp("volumes")), target="WT")


def test_volumes_are_axial_whatever_their_files(cases):
    assert {case.grid for case in cases} == {(3, 32, 32)}
    assert cases[0].slice_numbers == (0, 1, 2) and cases[0].voxels == 3 * 32 * 32
    case = load_case(cases[0])
    assert case.volume.spacing_mm == pytest.approx(SPACING_MM)
    assert case.mask.any(axis=(1, 2)).tolist() == [True, True, False]
    np.testing.assert_array_equal(load_mask(cases[0]), case.mask)
    assert case.image[case.mask].min() > case.image[~case.mask].max()  # image and reference lie on each other


def test_several_regions_lie_in_the_last_axis(cases):
    several = find_cases(cases[0].volumes.home.parent, target="TC+ET+WT")[0]
    found, config = reading.network_slices(several, CONFIG), CONFIG
    assert found.masks.shape == (3, 16, 16, 3) and found.masks.dtype == bool
    for k, target in enumerate(("TC", "ET", "WT")):
        alone = find_cases(cases[0].volumes.home.parent, target=target)[0]
        one = reading.network_slices(alone, config)
        np.testing.assert_array_equal(found.masks[..., k], one.masks)
        if k == 0:  # the main one, whose pixels are counted
            assert (found.scan_lesion_px == one.scan_lesion_px).all()


@pytest.mark.parametrize(("most_bytes", "at_once"), [(1, 1), (2**30, 9)])
def test_as_many_at_once_as_their_bytes_allow(cases, monkeypatch, most_bytes, at_once):
    lock, waiting, most = threading.Lock(), set(), []

    def slow(files, config):
        with lock:
            waiting.add(files.case_id)
            most.append(len(waiting))
        time.sleep(0.01)
        return files.case_id

    monkeypatch.setattr(reading, "network_slices", slow)
    order = []
    for case, found in read_in_turn(cases, CONFIG, most_bytes=most_bytes):
        assert found == case.case_id
        order.append(found)
        with lock:
            waiting.remove(found)
    assert order == [case.case_id for case in cases]
    assert max(most) <= at_once
    assert at_once == 1 or max(most) > 1
