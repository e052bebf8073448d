"""Code streams are held against the header before they are decoded."""

import struct

import numpy as np
import pytest
from complaints import complaint
from dicom_files import a_scan, a_series, compress, edit
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from metseg.data.readers.dicom import list_series, read_series
from metseg.data.readers.dicom_streams import keep_frames


def jpeg_2000(size=8, tile=8, layers=1, precincts=b"", before=b"", in_tile=b"", length=None) -> bytes:
    """A square without data, of two levels of resolution, as T.800 A.5, A.6.1 and A.4.2 lay it out."""
    siz = struct.pack(">HH8IHBBB", 41, 0, size, size, 0, 0, tile, tile, 0, 0, 1, 7, 1, 1)
    cod = (
        struct.pack(">HBBHB5B", 12 + len(precincts), bool(precincts), 0, layers, 0, 1, 4, 4, 0, 1) + precincts
    )
    whole = 14 + len(in_tile) if length is None else length
    sot = struct.pack(">HHIBB", 10, 0, whole, 0, 1)
    main = b"\xff\x4f\xff\x51" + siz + before + b"\xff\x52" + cod
    return main + b"\xff\x90" + sot + in_tile + b"\xff\x93" + b"\xff\xd9"


def jpeg(rows=8, columns=8, before=b"", scans=1) -> bytes:
    """A grey one without data, as T.81 B.2 lays it out."""
    sof = struct.pack(">HBHHBBBB", 11, 8, rows, columns, 1, 1, 0x11, 0)
    return b"\xff\xd8" + before + b"\xff\xc0" + sof + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * scans


def of(*frames: bytes, syntax=JPEG2000Lossless, count=None, has_bot=False, pieces=1) -> Dataset:
    """An 8 × 8 image of 16 bits, 128 bytes a frame."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.Rows = dataset.Columns = 8
    dataset.BitsAllocated, dataset.NumberOfFrames = 16, count or len(frames)
    dataset.PixelData = encapsulate(list(frames), has_bot=has_bot, fragments_per_frame=pieces)
    return dataset


def kept(dataset: Dataset) -> list[bytes]:
    return list(generate_frames(dataset.PixelData, number_of_frames=dataset.NumberOfFrames))


@pytest.mark.parametrize("name", ["JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"])
@pytest.mark.parametrize("lie", [{"Rows": 32}, {"Columns": 128}])
def test_a_stream_of_another_size_than_the_header_is_named(tmp_path, name, lie):
    (path,) = a_series(tmp_path, a_scan(shape=(1, 64, 64)))
    compress(path, name)
    edit(path, **lie)
    (series,) = list_series(tmp_path)
    text = complaint(read_series, series)
    assert path.name in text and "64 × 64" in text and str(*lie.values()) in text


@pytest.mark.parametrize(
    "stream",
    [
        jpeg_2000(16_384, 16_384),
        jpeg(16_384, 16_384),
        jpeg(0, 8),
    ],
)
def test_a_large_picture_in_a_small_one_is_refused(stream):
    with pytest.raises(ValueError, match="8 × 8"):
        keep_frames(of(stream), [0])


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"\0\0\0\x0cjP  \r\n\x87\n" + jpeg_2000(),  # a JP2 file
        jpeg_2000(layers=65_535),
        jpeg_2000(layers=9000, precincts=b"\x11\x11"),
        jpeg_2000(before=b"\xff\x30"),  # known to none
        jpeg_2000(before=b"\xff\x53\0\x09\0\0\1\4\4\0\1"),  # COC, for one component
        jpeg_2000(in_tile=b"\xff\x52\0\x0c\0\0\xff\xff\0\x20\4\4\0\1"),
        jpeg_2000(length=2),
        jpeg_2000()[:60],
        jpeg(before=b"\0"),
        jpeg(before=b"\xff\xe0\0\0"),
        jpeg(scans=33),
        b"\xff\xd8\xff\xda\0\2",
        jpeg() + bytes(2**15),
    ],
)
def test_a_stream_that_is_none_or_costs_too_much_is_refused(stream):
    with pytest.raises((ValueError, struct.error)):
        keep_frames(of(stream), [0])


def test_very_many_tiles_are_refused():
    dataset = of(jpeg_2000(1024, 16))
    dataset.Rows = dataset.Columns = 1024
    with pytest.raises(ValueError, match="tiles"):
        keep_frames(dataset, [0])


@pytest.mark.parametrize(
    "stream",
    [
        jpeg_2000(layers=12, precincts=b"\x77\x88"),
        jpeg_2000(tile=4, in_tile=b"\xff\x64\0\4\0\1"),  # a comment
        jpeg_2000(length=0),  # to the end
        jpeg(before=b"\xff\xff\xff\xe0\0\2", scans=4),  # filled up, as T.81 B.1.1.2 allows
    ],
)
def test_what_a_stream_may_be(stream):
    dataset = of(stream)
    keep_frames(dataset, [0])
    assert kept(dataset)[0].startswith(stream)


@pytest.mark.parametrize(("has_bot", "pieces"), [(True, 1), (False, 1), (True, 3)])
def test_the_wanted_frames_alone_are_left_each_in_one_piece(has_bot, pieces):
    frames = [jpeg(before=b"\xff\xfe\0\4" + bytes([0, k])) + b"\xff\xd9" for k in range(5)]
    dataset = of(*frames, syntax=JPEGBaseline8Bit, has_bot=has_bot, pieces=pieces)
    keep_frames(dataset, [1, 4])
    assert [frame[:30] for frame in kept(dataset)] == [frames[1][:30], frames[4][:30]]
    with pytest.raises(ValueError, match="frame"):
        keep_frames(of(*frames, count=6, has_bot=has_bot), [0, 5])


def test_pieces_and_places_without_end_are_refused():
    for dataset in (
        of(jpeg_2000() + bytes(3000), pieces=1500),
        of(*[jpeg_2000()] * 40, count=1, has_bot=True),
    ):
        with pytest.raises(ValueError, match="pieces"):
            keep_frames(dataset, [0])
    dataset = of(jpeg_2000())
    dataset.ExtendedOffsetTable = dataset.ExtendedOffsetTableLengths = bytes(80)
    with pytest.raises(ValueError, match="places"):
        keep_frames(dataset, [0])


def test_frames_of_an_enhanced_file_are_found_without_a_table(tmp_path):
    """Every other one, as where two echoes are in one file."""
    scan = a_scan(shape=(6, 6, 7))
    (path,) = a_series(tmp_path, scan, enhanced=True)
    dataset = dcmread(path)
    dataset.compress(RLELossless, generate_instance_uid=False)
    streams = list(generate_frames(dataset.PixelData, number_of_frames=6))
    dataset.PixelData = encapsulate(streams, has_bot=False)
    for k, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 2.5 * (k // 2)]
        frame.MREchoSequence = [Dataset()]
        frame.MREchoSequence[0].EffectiveEchoTime = 10.0 + k % 2
    dataset.SharedFunctionalGroupsSequence[0].pop("MREchoSequence", None)
    dataset.save_as(path)
    found = list_series(tmp_path)
    assert len(found) == 2
    for k, series in enumerate(sorted(found, key=lambda each: each.part)):
        np.testing.assert_array_equal(read_series(series)[0].array[0], scan.array[0, k::2])
