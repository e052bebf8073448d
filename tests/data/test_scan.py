import numpy as np
import pytest

from metseg.base.errors import MetsegError
from metseg.data.grid import from_axial
from metseg.data.scan import as_scan, read_nifti_scan, read_reference
from metseg.data.volume import SEQUENCES, Volume
from metseg.data.volume_files import volume_cases
from metseg.data.writers import nifti as writer

ORIGIN = [10.0, -20, 5]


def affine(x=1.0, y=1.0, z=3.0, origin=ORIGIN):
    found = np.diag([x, y, z, 1.0])
    found[:3, 3] = origin
    return found


def ramp(sequence, *, grid=(2, 3, 4), at=None, **known):
    array = np.arange(np.prod(grid), dtype=np.int16).reshape(1, *grid)
    return Volume(array, (sequence,), affine=affine() if at is None else at, **known)


def test_sequences_are_8_bits_each_by_itself_in_the_networks_order():
    flair = ramp("flair")
    others = [Volume(100 * ramp(name).array, (name,), affine=flair.affine) for name in ("t1c", "t1", "t2")]
    scan = as_scan([*others, flair], "P1", [])
    assert scan.volume.channels == tuple(SEQUENCES)
    assert scan.volume.array.dtype == np.uint8
    for channel in scan.volume.array:
        assert (channel.min(), channel.max()) == (0, 255)


def test_the_volume_is_axial_and_goes_back_to_the_files_grid():
    scan = as_scan([ramp(name) for name in SEQUENCES], "P1", [])
    # x grows to the right and y to the front, so that both are turned round.
    np.testing.assert_array_equal(scan.volume.affine[:3, :3], np.diag([-1, -1, 3]))
    assert scan.volume.array[0, 0, -1, -1] == 0
    back = from_axial(scan.volume.array[0], scan.stored)
    assert back[0, 0, 0] == 0
    assert back[-1, -1, -1] == 255


def test_another_grid_is_resampled_to_the_post_contrast_and_said():
    coarse = ramp("flair", grid=(2, 2, 2), at=affine(2, 2, 3))
    scan = as_scan([ramp("t1"), ramp("t1c"), coarse], "P1", [])
    assert scan.grid_of == "t1c"
    assert scan.volume.grid == (2, 3, 4)
    assert any("flair" in note and "t1c" in note for note in scan.notes)


def test_what_another_grid_does_not_cover_is_said():
    beside = ramp("flair", at=affine(origin=[12, -20, 5]))  # 2 of 4 columns
    scan = as_scan([ramp("t1"), ramp("t1c"), beside], "P1", [])
    assert any("50 %" in note and "flair" in note for note in scan.notes)
    far = ramp("flair", at=affine(origin=[100, -20, 5]))
    with pytest.raises(MetsegError, match="flair of P1"):
        as_scan([ramp("t1"), ramp("t1c"), far], "P1", [])


def test_without_orientation_voxels_of_another_size_are_not_laid_on_each_other():
    t1, t1c, flair = (
        Volume(ramp(name).array, (name,), spacing_mm=(3, 1, x))
        for name, x in (("t1", 1), ("t1c", 1), ("flair", 2))
    )
    with pytest.raises(MetsegError, match="orientation"):
        as_scan([t1, t1c, flair], "P1", [])


def test_a_missing_sequence_is_named_unless_allowed():
    volumes = [ramp("flair"), ramp("t1c")]
    with pytest.raises(MetsegError, match="P1 has no t1;"):
        as_scan(volumes, "P1", [])
    scan = as_scan(volumes, "P1", [], allow_missing=True)
    np.testing.assert_array_equal(scan.volume.array[0], scan.volume.array[1])
    assert any("no t1: flair stands in" in note for note in scan.notes) and scan.missing == ("t1",)


def test_post_contrast_stands_in_where_there_is_no_flair():
    t1, bright = ramp("t1"), Volume(ramp("t1c").array ** 2, ("t1c",), affine=affine())
    with pytest.raises(MetsegError, match="P1 has no flair;.*let t1c stand in"):
        as_scan([t1, bright], "P1", [])
    scan = as_scan([t1, bright], "P1", [], allow_missing=True)
    assert scan.missing == ("flair",) and any("no flair: t1c stands in" in note for note in scan.notes)
    np.testing.assert_array_equal(scan.volume.array[1], scan.volume.array[2])
    assert (scan.volume.array[0] != scan.volume.array[2]).any()
    alone = as_scan([bright], "P1", [], allow_missing=True)
    assert alone.missing == ("t1", "flair") and alone.volume.channels == tuple(SEQUENCES)
    assert (alone.volume.array == scan.volume.array[2]).all()


def test_nothing_stands_in_by_pre_contrast():
    with pytest.raises(MetsegError, match="no flair, t1c; add it$"):
        as_scan([ramp("t1")], "P1", [], allow_missing=True)


def test_a_sequence_that_shows_nothing_is_said():
    blank = Volume(np.full((1, 2, 3, 4), 7, np.int16), ("t1c",), affine=affine())
    notes = as_scan([ramp("t1"), blank, ramp("flair")], "P1", []).notes
    assert any("t1c" in note and "one grey value" in note for note in notes)
    assert not any("one grey value" in note for note in as_scan([ramp(c) for c in SEQUENCES], "P1", []).notes)


def test_no_finite_number_is_refused():
    nothing = Volume(np.full((1, 2, 3, 4), np.nan, np.float32), ("t1",), affine=affine())
    with pytest.raises(MetsegError, match="t1 of P1"):
        as_scan([nothing, ramp("t1c"), ramp("flair")], "P1", [])


def test_files_and_their_reference(tmp_path):
    files = {name: tmp_path / f"P1_{name}.nii.gz" for name in (*SEQUENCES, "seg")}
    for name in SEQUENCES:
        writer.write_image(ramp(name), files[name])
    marked = np.zeros((2, 3, 4), bool)
    marked[1, 2, 0] = True
    writer.write_mask(marked, ramp("t1"), files["seg"])
    scan = read_nifti_scan({name: files[name] for name in SEQUENCES}, "P1")
    (case,), _ = volume_cases(files.values(), tmp_path, "1")
    labels, _ = read_reference(case)
    assert (labels.regions, labels.stored) == ({"labels": {1}}, {1})
    np.testing.assert_array_equal(from_axial(labels.mask, scan.stored), marked)


def test_a_scan_that_no_network_sees_may_have_one_sequence():
    scan = as_scan([ramp("t1c")], "P1", [], partial=True)
    assert scan.volume.channels == ("t1c",) and scan.grid_of == "t1c"
    both = as_scan([ramp("flair"), ramp("t1c")], "P1", [], partial=True)
    assert both.volume.channels == ("flair", "t1c")
    with pytest.raises(MetsegError, match="no t1, flair, t1c"):
        as_scan([ramp("t2")], "P1", [], partial=True)
