"""Where masks go, what is left alone, and what a mask file holds."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from metseg.base.errors import MetsegError
from metseg.data.writers.tiff_masks import write_mask
from metseg.inference.folder import how_read, segmentable


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_one_image(tmp_path):
    touch(tmp_path, "scan.png")
    assert segmentable(tmp_path / "scan.png", Path("out")) == [
        [(tmp_path / "scan.png", Path("out/scan_mask.tif"))]
    ]


def scans_of(source: Path, **options) -> list[list[str]]:
    scans = segmentable(source, Path("out"), **options)
    return sorted([image.relative_to(source).as_posix() for image, _ in scan] for scan in scans)


def test_slices_of_one_scan_come_together_in_order(tmp_path):
    source = touch(tmp_path, "p/p_10.tif", "p/p_9.png", "TCGA_CS_4941_2.tif", "TCGA_CS_4941_10.tif", "x.tif")
    assert scans_of(source) == [
        ["TCGA_CS_4941_2.tif", "TCGA_CS_4941_10.tif"], ["p/p_9.png", "p/p_10.tif"], ["x.tif"],
    ]  # fmt: skip
    assert how_read(segmentable(source, Path("out"))) == "5 files: 2 scans of 2 slices, 1 single slice"
    # The folder that is named may be the scan's own.
    assert scans_of(source / "p") == [["p_9.png", "p_10.tif"]]


def test_strangers_are_single_slices_unless_told(tmp_path, monkeypatch):
    names = [f"image_{n}.png" for n in range(1, 7)]
    touch(tmp_path / "strangers", *names)
    assert scans_of(tmp_path / "strangers") == [[name] for name in names]
    assert scans_of(tmp_path / "strangers", volumes=True) == [names]
    assert scans_of(tmp_path) == [[f"strangers/{name}"] for name in names]
    assert how_read(segmentable(tmp_path, Path("out"))) == "6 files: 6 single slices"
    assert how_read(segmentable(tmp_path, Path("out"), volumes=True)) == "6 files: 1 scan of 6 slices"
    monkeypatch.chdir(tmp_path / "strangers")
    assert scans_of(Path(".")) == [[name] for name in names]


def test_a_folder_has_its_name_however_it_is_given(tmp_path, monkeypatch):
    touch(tmp_path / "P1" / "deeper", "x.txt")
    touch(tmp_path / "P1", "P1_1.png", "P1_2.png")
    monkeypatch.chdir(tmp_path / "P1" / "deeper")
    for source in (tmp_path / "P1", Path("..")):
        assert scans_of(source) == [["P1_1.png", "P1_2.png"]]


def test_masks_in_a_folder_of_their_own_are_left_alone(tmp_path):
    touch(tmp_path, "images/P1_1.png", "masks/P1_1.png")
    assert scans_of(tmp_path) == [["images/P1_1.png"]]


def test_a_tree_is_mirrored_and_its_masks_are_left_alone(tmp_path):
    source = touch(
        tmp_path / "in", "b.tif", "a/x_1.TIFF", "a/x_1_mask.tif", "a/deep/y.jpeg", "a/deep/y_MASK.png",
        "a/z.jpg", "notes.txt", ".hidden.tif", "mask.png",
    )  # fmt: skip
    (source / "folder.tif").mkdir()
    found = [pair for scan in segmentable(source, tmp_path / "out") for pair in scan]
    names = {i.relative_to(source).as_posix(): t.relative_to(tmp_path / "out").as_posix() for i, t in found}
    assert names == {
        "b.tif": "b_mask.tif",
        "a/x_1.TIFF": "a/x_1_mask.tif",
        "a/deep/y.jpeg": "a/deep/y_mask.tif",
        "a/z.jpg": "a/z_mask.tif",
        "mask.png": "mask_mask.tif",
    }


def test_nothing_to_segment(tmp_path):
    with pytest.raises(MetsegError, match="absent does not exist; give an image or a folder"):
        segmentable(tmp_path / "absent", tmp_path)
    touch(tmp_path, "a_mask.tif", "notes.txt")
    with pytest.raises(MetsegError, match=r"holds no image; expected \.tif, \.tiff, \.png, \.jpg, \.jpeg"):
        segmentable(tmp_path, tmp_path)


def test_a_path_that_cannot_be_printed(tmp_path):
    touch(tmp_path, "scan.png")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/Ren\xe9.png"))
    for source, output in ((odd, tmp_path / "out"), (tmp_path / "scan.png", odd)):
        with pytest.raises(MetsegError, match=r"Ren\\xe9\.png is no UTF-8"):
            segmentable(source, output)


def test_two_images_of_one_name(tmp_path):
    source = touch(tmp_path, "a/x.png", "a/x.tif", "b/x.tif")
    with pytest.raises(MetsegError, match="several images would write out/a/x_mask.tif; give") as refused:
        segmentable(source, Path("out"))
    assert "b/x" not in str(refused.value)


@pytest.mark.parametrize("source", [".", "a.tif"])
def test_a_reference_beside_its_image_is_never_overwritten(tmp_path, source):
    touch(tmp_path, "a.tif", "a_mask.tif", "b.tif")
    with pytest.raises(MetsegError, match="a_mask.tif lies there already and may be a reference; choose"):
        segmentable(tmp_path / source, tmp_path)
    assert segmentable(tmp_path / "b.tif", tmp_path) == [[(tmp_path / "b.tif", tmp_path / "b_mask.tif")]]


def test_only_masks_of_our_own_are_written_again(tmp_path):
    touch(tmp_path, "in/a.tif")
    target = tmp_path / "in" / "masks" / "a_mask.tif"
    write_mask(np.ones((2, 2), bool), target)
    assert segmentable(tmp_path / "in", tmp_path / "in" / "masks") == [[(tmp_path / "in/a.tif", target)]]
    tifffile.imwrite(target, np.ones((2, 2), np.uint8), software="metseg phantom")
    with pytest.raises(MetsegError, match="may be a reference"):
        segmentable(tmp_path / "in", tmp_path / "in" / "masks")


def test_mask_file(tmp_path):
    mask = np.array([[True, False, False], [False, True, True]])
    write_mask(mask, tmp_path / "new" / "a_mask.tif")
    with tifffile.TiffFile(tmp_path / "new" / "a_mask.tif") as tif:
        assert len(tif.pages) == 1
        assert tif.pages[0].photometric == tifffile.PHOTOMETRIC.MINISBLACK
        pixels = tif.asarray()
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == [[255, 0, 0], [0, 255, 255]]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a_mask.tif"]
