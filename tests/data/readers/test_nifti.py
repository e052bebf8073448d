"""NIfTI in: which affine is taken and said, and every bad file refused by a sentence or handled."""

import gzip
import logging

import nibabel as nib
import numpy as np
import pytest

from metseg.base.errors import MetsegError
from metseg.data.grid import voxel_to_mm
from metseg.data.readers.image_errors import DamagedImage, NotAnImage, UnusablePixels
from metseg.data.readers.nifti import read, read_header, read_labels
from metseg.data.volume import Volume

# x to the left, y to the back, z to the head; 0.5 × 1 × 3 mm.
AFFINE = np.array([[-0.5, 0, 0, 90], [0, -1, 0, 126], [0, 0, 3, -72], [0, 0, 0, 1]])
PIXELS = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)  # z, y, x


def content(pixels=PIXELS, affine=AFFINE, edit=None, kind=nib.Nifti1Image, **fields) -> bytes:
    """A NIfTI file of (Z, Y, X) pixels, its header changed afterwards as a careless program would."""
    image = kind(pixels.T, affine)
    if affine is not None:
        image.set_sform(affine, 1)
        image.set_qform(affine, 1)
    image.header.set_xyzt_units("mm")
    data = bytearray(image.to_bytes())
    header = type(image.header)(bytes(data[: image.header.sizeof_hdr]), check=False)
    for name, value in fields.items():
        header[name] = value
    if edit:
        edit(header)
    data[: image.header.sizeof_hdr] = header.binaryblock
    return bytes(data)


def notes_of(data: bytes) -> str:
    return " ".join(read(data, "scan.nii")[1])


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_volume_has_its_files_voxels_and_affine(tmp_path, pack, kind):
    data = pack(content(kind=kind))
    (tmp_path / "scan.nii.gz").write_bytes(data)
    for source in (data, tmp_path / "scan.nii.gz"):  # the suffix is not asked
        volume, notes = read(source, channel="t1c")
        assert volume.array.dtype == np.int16 and (volume.array == PIXELS[None]).all()
        assert (volume.affine == AFFINE).all() and volume.spacing_mm == (3, 1, 0.5)
        assert volume.channels == ("t1c",) and notes == []


def test_a_volume_agrees_with_simpleitk(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(content()))
    volume, theirs = read(path)[0], sitk.ReadImage(str(path))
    assert (sitk.GetArrayFromImage(theirs) == volume.array[0]).all()
    for voxel in ((0, 0, 0), (3, 2, 1)):
        in_lps = np.array(theirs.TransformIndexToPhysicalPoint(voxel))
        assert voxel_to_mm([voxel[::-1]], volume)[0] == pytest.approx(in_lps * (-1, -1, 1))


def test_sform_is_taken_else_qform_else_none():
    other = AFFINE + np.array([[0, 0, 0, 7.0], [0] * 4, [0] * 4, [0] * 4])

    def set_qform(header):
        header.set_qform(other, 1)

    volume, notes = read(content(edit=set_qform))
    assert (volume.affine == AFFINE).all()
    assert "sform and qform" in notes[0] and "7.0 mm" in notes[0] and "sform was taken" in notes[0]
    volume, notes = read(content(edit=set_qform, sform_code=0))
    assert volume.affine == pytest.approx(other) and notes == []
    volume, notes = read(content(sform_code=0, qform_code=0))
    assert volume.affine is None and volume.spacing_mm == (3, 1, 0.5)
    assert len(notes) == 1 and "orientation is unknown" in notes[0]


def test_forms_that_differ_by_less_than_half_a_voxel_are_one():
    near = AFFINE + np.array([[0, 0, 0, 0.24], [0] * 4, [0] * 4, [0] * 4])  # a voxel is 0.5 mm wide
    assert notes_of(content(edit=lambda header: header.set_qform(near, 1))) == ""
    near[0, 3] += 0.02
    assert "qform" in notes_of(content(edit=lambda header: header.set_qform(near, 1)))
    mirrored = AFFINE @ np.diag([-1, 1, 1, 1])  # left for right about the first voxel
    assert "qform" in notes_of(content(edit=lambda header: header.set_qform(mirrored, 1)))


@pytest.mark.parametrize(("code", "to_mm", "said"), [(3, 0.001, "micro"), (1, 1000, "metre"), (0, 1, "unit")])
def test_lengths_become_mm(code, to_mm, said):
    volume, notes = read(content(xyzt_units=code))
    assert volume.affine[:3] == pytest.approx(AFFINE[:3] * to_mm) and said in " ".join(notes)
    volume, notes = read(content(xyzt_units=code, sform_code=0, qform_code=0))
    assert volume.spacing_mm == pytest.approx((3 * to_mm, to_mm, 0.5 * to_mm)) and said in " ".join(notes)


def test_several_volumes_are_refused_and_one_in_four_dimensions_is_taken():
    with pytest.raises(UnusablePixels, match=r"4 × 3 × 2 × 5"):
        read(content(np.zeros((5, 2, 3, 4), np.int16)), "scan.nii")
    volume, notes = read(content(PIXELS[None]))
    assert (volume.array == PIXELS).all() and notes == []
    flat, _ = read(content(PIXELS[:1], dim=[2, 4, 3, 1, 1, 1, 1, 1]))
    assert flat.grid == (1, 3, 4)


@pytest.mark.parametrize(("code", "said"), [(32, "complex"), (128, "colours"), (2304, "colours"), (77, "77")])
def test_voxels_that_are_no_real_numbers_are_refused(code, said):
    with pytest.raises(UnusablePixels, match=said):
        read(content(datatype=code), "scan.nii")


def test_what_is_not_finite_is_counted():
    pixels = PIXELS.astype(np.float32)
    pixels[0, 0, :2], pixels[1, 0, 0] = np.nan, np.inf
    volume, notes = read(content(pixels))
    assert np.isnan(volume.array).sum() == 2 and "3 of its 24 voxels" in notes[0]


def test_big_endian():
    image = nib.Nifti1Image(PIXELS.T, AFFINE, nib.Nifti1Header(endianness=">"))
    image.set_data_dtype(np.int16)
    image.header.set_xyzt_units("mm")
    assert image.to_bytes()[:4] == b"\0\0\1\x5c"
    volume, notes = read(image.to_bytes())
    assert (volume.array == PIXELS).all() and volume.array.dtype == np.dtype("=i2") and notes == []
    assert (volume.affine == AFFINE).all()


def test_slope_and_intercept():
    pixels = PIXELS.astype(np.uint8)
    volume, notes = read(content(pixels, scl_slope=0.5, scl_inter=-2))
    assert volume.array.dtype == np.float32 and (volume.array[0] == pixels / 2 - 2).all()
    assert "0.5" in notes[0] and "-2" in notes[0]
    for slope in (0, np.nan):  # no slope, says the standard
        assert read(content(pixels, scl_slope=slope, scl_inter=9))[0].array.dtype == np.uint8
    with pytest.raises(UnusablePixels, match="intercept"):
        read(content(pixels, scl_slope=1, scl_inter=np.nan), "scan.nii")


def test_truncated_or_damaged_gzip():
    # Noise, so that it is long enough to be cut within the voxels.
    noise = np.random.default_rng(0).integers(0, 9999, (9, 9, 9)).astype(np.int16)
    data = gzip.compress(content(noise))
    flipped = bytearray(data)
    flipped[-5] ^= 1  # in the check sum
    for bad in (data[:-1], data[: len(data) // 2], data[:400], data[:20], bytes(flipped)):
        with pytest.raises(DamagedImage, match="scan.nii.gz"):
            read(bad, "scan.nii.gz")


def test_gzip_bombs():
    def packed_zeros(start: bytes) -> bytes:
        """`start`, then 1 GB of zeros, as gzip members of 16 MB."""
        return gzip.compress(start) + gzip.compress(bytes(2**24), 9) * 64

    with pytest.raises(NotAnImage):
        read(packed_zeros(b""), "bomb.nii.gz")
    with pytest.raises(DamagedImage, match="more"):
        read(packed_zeros(content()), "bomb.nii.gz")
    honest = content(dim=[3, 1024, 1024, 512, 1, 1, 1, 1])  # its header says how much it is
    with pytest.raises(UnusablePixels, match="1024 × 1024 × 512"):
        read(packed_zeros(honest), "bomb.nii.gz")
    with pytest.raises(UnusablePixels, match="the most is 23"):
        read(content(), "scan.nii", max_voxels=23)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_header_that_lies_about_the_size(pack):
    for fields in ({"dim": [3, 4, 3, 3, 1, 1, 1, 1]}, {"dim": [3, 4, 3, 1, 1, 1, 1, 1]}, {"datatype": 16}):
        with pytest.raises(DamagedImage, match="says it is"):
            read(pack(content(**fields)), "scan.nii")
    with pytest.raises(DamagedImage, match="says it is"):  # no such memory is taken
        read(pack(content(dim=[3, 4096, 4096, 16, 1, 1, 1, 1])), "scan.nii")
    for dim in ([0] * 8, [3, 4, 0, 2, 1, 1, 1, 1], [3, 4, -3, 2, 1, 1, 1, 1], [9, 4, 3, 2, 1, 1, 1, 1]):
        with pytest.raises(UnusablePixels, match="size"):
            read(pack(content(dim=dim)), "scan.nii")
    for offset in (-1, 100, 1e30, np.nan):
        with pytest.raises(DamagedImage, match="begin"):
            read(pack(content(vox_offset=offset)), "scan.nii")


def test_extensions_are_skipped():
    image = nib.Nifti1Image(PIXELS.T, AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 3000))
    assert (read(image.to_bytes())[0].array == PIXELS).all()


def flattened(header):
    header["srow_x"] = header["srow_y"]


@pytest.mark.parametrize(
    "fields",
    [
        {"edit": flattened},
        {"srow_z": [0, 0, 0, 0]},
        {"srow_z": [0, 0, np.nan, 0]},
        {"sform_code": 0, "quatern_b": 3},
        {"sform_code": 0, "pixdim": [1, 0.5, 0, 3, 1, 1, 1, 1]},
        {"sform_code": 0, "pixdim": [1, 0.5, -1, 3, 1, 1, 1, 1]},
    ],
)
def test_an_affine_that_is_not_invertible_is_refused(fields):
    with pytest.raises(UnusablePixels, match="damaged [sq]form"):
        read(content(**fields), "scan.nii")


def test_a_damaged_qform_beside_an_sform():
    volume, notes = read(content(quatern_b=3))
    assert (volume.affine == AFFINE).all() and "qform is damaged" in notes[0]
    assert notes_of(content(sform_code=0, pixdim=[0, 0.5, 1, 3, 1, 1, 1, 1])) == ""  # 0 stands for 1


def test_a_sheared_affine_is_noted():
    sheared = AFFINE.copy()
    sheared[0, 2] = 3 * np.tan(np.radians(10))  # a gantry tilted by 10°
    volume, notes = read(content(edit=lambda header: header.set_sform(sheared, 1), qform_code=0))
    assert volume.affine == pytest.approx(sheared, rel=1e-6)
    assert "80.00°" in " ".join(notes)


@pytest.mark.parametrize("step", [0, -1, np.nan])
def test_pixdim_that_is_not_positive(step):
    pixdim = [1, 0.5, step, 3, 1, 1, 1, 1]
    volume, notes = read(content(pixdim=pixdim, qform_code=0))
    assert volume.spacing_mm == (3, 1, 0.5) and "pixdim" in notes[0]
    volume, notes = read(content(pixdim=pixdim, qform_code=0, sform_code=0))
    assert volume.spacing_mm is None and "spacing is unknown" in notes[1]


def test_pixdim_that_contradicts_the_sform_is_noted():
    assert "pixdim" in notes_of(content(pixdim=[1, 0.7, 1, 3, 1, 1, 1, 1], qform_code=0))


@pytest.mark.parametrize("data", [b"", b"\0" * 1000, b"\x89PNG\r\n\x1a\n" * 99, content()[:300]])
def test_what_is_no_nifti(data):
    with pytest.raises(NotAnImage, match="scan.nii"):
        read(data, "scan.nii")


def test_analyze_and_pairs_are_refused_for_they_do_not_tell_left_from_right():
    with pytest.raises(NotAnImage, match="left from right"):
        read(content(magic=b""), "scan.hdr")
    with pytest.raises(UnusablePixels, match=".img"):
        read(content(magic=b"ni1"), "scan.hdr")


def test_a_file_that_cannot_be_opened(tmp_path):
    for path in (tmp_path, tmp_path / "none.nii"):
        with pytest.raises(MetsegError, match=path.name):
            read(path)
    with pytest.raises(MetsegError, match="none.nii"):
        read_header(tmp_path / "none.nii")


def test_nothing_is_logged(caplog):
    with caplog.at_level(logging.DEBUG):
        read(content(bitpix=3, pixdim=[0, 0.5, 1, 3, 1, 1, 1, 1]))
    assert caplog.records == []


# References.

IMAGE = Volume(PIXELS[None], ("t1c",), affine=AFFINE)
MASK = (PIXELS % 5 == 4).astype(np.uint8) * 3
METS = {"ET": frozenset({3}), "TC": frozenset({1, 3}), "WT": frozenset({1, 2, 3})}


def labels_of(data: bytes, image=IMAGE, **known):
    return read_labels(data, image, "seg.nii", regions=METS, **known)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_labels_are_integers_whatever_they_are_stored_as(dtype):
    labels, notes = labels_of(content(MASK.astype(dtype)), expected={1, 2, 3, 4})
    assert labels.array.dtype.kind == "u" and (labels.array == MASK).all() and notes == []
    assert labels.stored == {3.0} and (labels.region("ET") == (MASK == 3)).all()


def test_labels_with_a_slope():
    labels, notes = labels_of(content(MASK * 85, scl_slope=1 / 85))
    assert (labels.array == MASK).all() and "scaled" in notes[0]


@pytest.mark.parametrize("value", [0.5, 2.98, -1, np.nan, np.inf, 1e30])
def test_labels_that_are_no_whole_numbers_are_refused(value):
    pixels = MASK.astype(np.float32)
    pixels[1, 1, 1] = value
    with pytest.raises(UnusablePixels, match="seg.nii"):
        labels_of(content(pixels))


def test_unexpected_labels():
    pixels = MASK + (PIXELS == 0)  # one voxel of 1
    pixels[0, 0, 1] = 7
    with pytest.raises(UnusablePixels, match=r"with 7, but only 1, 2, 3, 4"):
        labels_of(content(pixels), expected={1, 2, 3, 4})
    labels, notes = labels_of(content(pixels))
    assert labels.array.max() == 7 and "with 7" in notes[0] and "ET, TC, WT" in notes[0]


def test_an_empty_mask_is_noted():
    labels, notes = labels_of(content(MASK * 0))
    assert not labels.mask.any() and notes == ["It marks no voxel."]


def test_a_mask_in_another_axis_order_is_turned():
    image = nib.Nifti1Image(MASK.T, AFFINE)
    for codes in ("RAS", "PIL", "SRA"):
        ornt = nib.orientations.ornt_transform(
            nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(codes)
        )
        turned = image.as_reoriented(ornt)
        turned.header.set_xyzt_units("mm")
        labels, notes = labels_of(turned.to_bytes())
        assert (labels.array == MASK).all() and len(notes) == 1 and "axis order" in notes[0]


def test_a_mask_on_another_grid_is_refused():
    moved, mirrored, cut = AFFINE.copy(), AFFINE * (-1, 1, 1, 1), MASK[:, :, 1:]
    moved[2, 3] += 3
    for pixels, affine in ((MASK, moved), (MASK, mirrored), (cut, AFFINE), (MASK, np.eye(4))):
        with pytest.raises(UnusablePixels, match="another grid"):
            labels_of(content(pixels, affine))
    moved[2, 3] -= 2  # a third of a voxel: the nearest voxel is the same
    labels, notes = labels_of(content(MASK, moved))
    assert (labels.array == MASK).all() and "beside" in notes[0]


def test_a_mask_that_does_not_tell_its_orientation():
    data = content(MASK, sform_code=0, qform_code=0)
    labels, notes = labels_of(data)
    assert (labels.array == MASK).all() and "It does not tell its orientation" in notes[-1]
    unknown = Volume(PIXELS[None], ("t1c",), spacing_mm=(3, 1, 0.5))
    assert "Its image does not" in labels_of(content(MASK), unknown)[1][-1]
    assert len(labels_of(data, unknown)[1]) == 1
    with pytest.raises(UnusablePixels, match="another grid"):
        labels_of(content(MASK[:1], sform_code=0, qform_code=0))
