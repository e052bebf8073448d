"""NIfTI out: on the input's grid with its header, read back, or no file at all."""

import gzip
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest

from metseg.base.errors import MetsegError
from metseg.data.grid import reorder, same_grid, to_axial, voxel_to_mm
from metseg.data.readers.nifti import read, read_labels
from metseg.data.volume import Volume
from metseg.data.writers import nifti
from metseg.data.writers.nifti import write_image, write_mask, write_probabilities

PIXELS = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)  # z, y, x
MASK = PIXELS % 5 == 4
COS, SIN = np.cos(0.3), np.sin(0.3)
OBLIQUE = np.array([[-0.5 * COS, SIN, 0, 90], [-0.5 * SIN, -COS, 0, 126], [0, 0, 3, -72], [0, 0, 0, 1]])


def image(pixels=PIXELS, sform=1, qform=1, affine=OBLIQUE, kind=nib.Nifti1Image, units="mm") -> bytes:
    made = kind(pixels.T, affine)
    made.set_sform(affine, sform)
    made.set_qform(affine, qform)
    made.header.set_xyzt_units(units)
    made.header["descrip"] = b"DOE^JANE"
    made.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"DOE^JANE"))
    return made.to_bytes()


@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(("sform", "qform"), [(1, 1), (4, 1), (0, 2), (2, 0), (0, 0)])
def test_a_mask_has_its_inputs_grid_and_forms(tmp_path, name, kind, sform, qform):
    source = image(sform=sform, qform=qform, kind=kind)
    volume, notes = read(source)
    write_mask(MASK, volume, tmp_path / name, source=source)
    found, original = nib.load(tmp_path / name), kind.from_bytes(source)
    assert found.get_data_dtype() == np.uint8 and (np.asarray(found.dataobj).T == MASK).all()
    assert found.header["sform_code"] == sform and found.header["qform_code"] == qform
    for field in ("srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "pixdim"):
        assert (found.header[field] == original.header[field]).all()
    assert (found.affine == original.affine).all()
    assert type(found.header) is type(original.header)
    assert read(tmp_path / name)[1] == notes
    assert [path.name for path in tmp_path.iterdir()] == [name]
    whole = (tmp_path / name).read_bytes()
    assert b"DOE" not in (gzip.decompress(whole) if name.endswith(".gz") else whole)


def test_probabilities(tmp_path):
    volume = read(image())[0]
    prob_map = np.linspace(0, 1, PIXELS.size).reshape(PIXELS.shape)
    write_probabilities(prob_map, volume, tmp_path / "p.nii.gz", source=image())
    found = read(tmp_path / "p.nii.gz")[0]
    assert found.array.dtype == np.float32 and found.array[0] == pytest.approx(prob_map)
    for bad in (prob_map + 0.1, prob_map * np.nan, prob_map - 0.1):
        with pytest.raises(ValueError, match="prob_map"):
            write_probabilities(bad, volume, tmp_path / "bad.nii")


@pytest.mark.parametrize("units", ["mm", "micron", "meter"])
def test_other_units_big_endian_slope_and_a_fourth_dimension(tmp_path, units):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    made = nib.Nifti1Image(PIXELS[None].T, OBLIQUE, header)
    made.header.set_xyzt_units(units)
    made.header.set_slope_inter(0.5, 3)
    data = bytearray(made.to_bytes())
    data[112:116] = np.array(0.5, ">f4").tobytes()
    volume = read(bytes(data))[0]
    write_mask(MASK, volume, tmp_path / "mask.nii", source=bytes(data))
    found, notes = read(tmp_path / "mask.nii")
    assert same_grid(found, volume) and (found.array == MASK).all() and found.array.dtype == np.uint8
    assert not any("scaled" in note for note in notes)
    assert nib.load(tmp_path / "mask.nii").shape == (4, 3, 2)


def test_from_a_volume_alone(tmp_path):
    sheared = OBLIQUE.copy()
    sheared[0, 2] = 0.5
    for affine, forms in ((OBLIQUE, (1, 1)), (np.diag([-1.0, -1, 2, 1]), (1, 1)), (sheared, (1, 0))):
        volume = Volume(PIXELS[None], ("t1c",), affine=affine)
        write_mask(MASK, volume, tmp_path / "mask.nii")
        found, notes = read(tmp_path / "mask.nii")
        assert same_grid(found, volume, 1e-4) and (found.array == MASK).all()
        assert [note for note in notes if "sheared" not in note] == []
        header = nib.load(tmp_path / "mask.nii").header
        assert (header["sform_code"], header["qform_code"]) == forms
    for spacing in ((3, 1, 0.5), None):
        unknown = Volume(PIXELS[None], ("t1c",), spacing_mm=spacing)
        write_mask(MASK, unknown, tmp_path / "mask.nii")
        found, notes = read(tmp_path / "mask.nii")
        assert found.affine is None and found.spacing_mm == (spacing or (1, 1, 1))
        assert any("orientation is unknown" in note for note in notes)
        assert any("unit" in note for note in notes) == (spacing is None)


def test_simpleitk_sees_the_mask_where_the_image_is(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    (tmp_path / "image.nii").write_bytes(image())
    volume = read(tmp_path / "image.nii")[0]
    write_mask(MASK, volume, tmp_path / "mask.nii.gz", source=tmp_path / "image.nii")
    write_mask(MASK, volume, tmp_path / "bare.nii.gz")
    scan = sitk.ReadImage(str(tmp_path / "image.nii"))
    for name in ("mask.nii.gz", "bare.nii.gz"):
        mask = sitk.ReadImage(str(tmp_path / name))
        assert mask.GetOrigin() == pytest.approx(scan.GetOrigin(), abs=1e-4)
        assert mask.GetDirection() == pytest.approx(scan.GetDirection(), abs=1e-5)
        assert mask.GetSpacing() == pytest.approx(scan.GetSpacing())
        assert (sitk.GetArrayFromImage(mask) == MASK).all()


def test_a_lesion_stays_at_its_place_in_every_axis_order(tmp_path):
    """Written in one order, read as the reference of an image in another, and seen by ITK at the same mm."""
    sitk = pytest.importorskip("SimpleITK")
    image = Volume(PIXELS[None], ("t1c",), affine=OBLIQUE)
    lesion = np.zeros(PIXELS.shape, bool)
    lesion[1, 0, 2] = True
    place = voxel_to_mm([[1, 0, 2]], image)[0]
    for axes, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        order = np.eye(4, dtype=int)
        order[:3, :3] = np.eye(3, dtype=int)[:, list(axes)] * signs
        order[:3, 3] = [
            size - 1 if min(row) < 0 else 0 for row, size in zip(order[:3, :3], (4, 3, 2), strict=True)
        ]
        stored = Volume(reorder(lesion.view(np.uint8)[None], order), ("mask",), affine=OBLIQUE @ order)
        write_image(stored, tmp_path / "mask.nii", durable=False)
        labels, notes = read_labels(tmp_path / "mask.nii", image)
        assert (labels.mask == lesion).all() and len(notes) == (stored.affine != OBLIQUE).any()
        theirs = sitk.ReadImage(str(tmp_path / "mask.nii"))
        assert theirs[theirs.TransformPhysicalPointToIndex((place * (-1, -1, 1)).tolist())] == 1


def test_labels_and_images_keep_their_numbers(tmp_path):
    volume = read(image())[0]
    write_mask(PIXELS.astype(np.int32), volume, tmp_path / "labels.nii.gz")
    assert (read(tmp_path / "labels.nii.gz")[0].array == PIXELS).all()
    for dtype in (np.int16, np.float32, np.uint16):
        write_image(Volume(PIXELS[None].astype(dtype), ("t1",), affine=OBLIQUE), tmp_path / "t1.nii.gz")
        found = read(tmp_path / "t1.nii.gz")[0]
        assert found.array.dtype == dtype and (found.array == PIXELS).all()


def test_what_does_not_fit_is_refused(tmp_path):
    volume = read(image())[0]
    for mask in (PIXELS - 1, PIXELS + 300, PIXELS / 2, MASK[1:]):
        with pytest.raises(ValueError, match="mask is|array is"):
            write_mask(mask, volume, tmp_path / "mask.nii")
    with pytest.raises(MetsegError, match=r"mask.tif.*\.nii"):
        write_mask(MASK, volume, tmp_path / "mask.tif")
    with pytest.raises(MetsegError, match="grid"):  # the reordered volume is not the file's
        axial = to_axial(Volume(PIXELS[None], ("t1",), affine=np.diag([1.0, 1, 1, 1])))
        write_mask(MASK, axial, tmp_path / "mask.nii", source=image(affine=np.diag([1.0, 1, 1, 1])))
    with pytest.raises(ValueError, match="one at a time"):
        write_image(Volume(PIXELS[None].repeat(2, 0), ("t1", "t2"), affine=OBLIQUE), tmp_path / "t1.nii")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_reads_back_otherwise_is_refused_and_leaves_the_old_one(tmp_path, monkeypatch):
    volume, path = read(image())[0], tmp_path / "mask.nii.gz"
    path.write_bytes(b"old")
    far = OBLIQUE.copy()
    far[0, 3] = 1e9  # float32, as a header has it, knows it to 64 mm
    far_away = Volume(PIXELS[None], ("t1",), affine=far + [[0, 0, 0, 20.5], [0] * 4, [0] * 4, [0] * 4])
    with pytest.raises(MetsegError, match="mask.nii.gz was not written"):
        write_mask(MASK, far_away, path)

    def broken(content, *args, **known):
        return gzip.compress(content[:-1] + b"\7")

    monkeypatch.setattr(nifti, "gzip", type("Broken", (), {"compress": staticmethod(broken)}))
    with pytest.raises(MetsegError, match="mask.nii.gz was not written"):
        write_mask(MASK, volume, path)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1
