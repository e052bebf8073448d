"""Compressed frames of DICOM: what their code streams say of themselves is read before a pixel is decoded.

Decoders believe the stream, not the DICOM header, and what takes a few bytes to say may take them minutes.
References: JPEG, ITU-T T.81 annex B; JPEG-LS, T.87 annex C; JPEG 2000, T.800 annex A; frames in pieces, DICOM
PS3.5 A.4, which leaves out the boxes of JP2 files.
"""

import struct
from collections.abc import Iterator, Sequence

from pydicom import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import RLELossless

_PIECES, _PIECES_OF_FRAME = 1024, 64  # of a file, and in addition for each of its frames
_HEADERS = 2**14  # bytes of a frame beside twice its pixels
_MAX_SCANS = 32  # of a JPEG; each one may cost as much time as a whole picture
_MAX_TILES, _MAX_PACKETS = 1024, 2**15  # of a JPEG 2000
_ITEM = b"\xfe\xff\x00\xe0"
_TABLES = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
_SOS = 0xFFDA
# Start of frame, but for tables of Huffman and arithmetic codes and a marker that is reserved.
_SOF = {*range(0xFFC0, 0xFFD0), 0xFFF7} - {0xFFC4, 0xFFC8, 0xFFCC}
_JPEG = {*range(0xFFC0, 0xFFD0), *range(0xFFDA, 0xFFFF)}  # all that have a length
_J2K = b"\xff\x4f\xff\x51"
_SIZ, _COD, _SOT, _SOD = 0xFF51, 0xFF52, 0xFF90, 0xFF93
_TILE_PART = {0xFF58, 0xFF5C, 0xFF5D, 0xFF5E, 0xFF5F, 0xFF61, 0xFF64, _SOD}
_MAIN = {_SIZ, _COD, 0xFF55, 0xFF57, 0xFF60, 0xFF63, _SOT} | _TILE_PART - {_SOD}


def keep_frames(dataset: Dataset, wanted: Sequence[int]) -> None:
    """Leaves only some compressed frames in a data set, each in one piece, where they are what it says.

    pydicom would go through all pieces again for each frame.

    Args:
        dataset: With PixelData in pieces; it is changed.
        wanted: Which frames, from 0, ascending.

    Raises:
        ValueError: A frame is missing, its code stream has another size than the header, or one that takes
            a decoder much more time or memory than its pixels would.
    """
    pixels, count = dataset.PixelData, int(dataset.get("NumberOfFrames") or 1)
    has_tables = all(name in dataset for name in _TABLES)
    offsets = tuple(dataset[name].value for name in _TABLES) if has_tables else ()
    # Tables have four or eight bytes for a frame.
    if (
        pixels.count(_ITEM) > _PIECES + _PIECES_OF_FRAME * count
        or max([int.from_bytes(pixels[4:8], "little"), *map(len, offsets)]) > 8 * count
    ):
        raise ValueError(f"far more pieces or places than its {count} frames need")
    of_header = dataset.Rows, dataset.Columns, dataset.get("SamplesPerPixel", 1)
    longest = _HEADERS + 2 * dataset.Rows * dataset.Columns * of_header[2] * dataset.BitsAllocated // 8
    kept, which = [], set(wanted)
    for k, stream in enumerate(
        generate_frames(pixels, number_of_frames=count, extended_offsets=offsets or None)
    ):
        if k in which:
            if len(stream) > longest:
                raise ValueError(f"frame {k + 1} has {len(stream)} bytes, far more than its pixels")
            if dataset.file_meta.TransferSyntaxUID != RLELossless:
                _complain_of_size(_sizes(stream), of_header)
            kept.append(stream)
        if len(kept) == len(wanted):
            break
    else:
        raise ValueError(f"frame {wanted[len(kept)] + 1} is missing")
    dataset.PixelData, dataset.NumberOfFrames = encapsulate(kept, has_bot=False), len(kept)
    for name in _TABLES:
        dataset.pop(name, None)


def _complain_of_size(found: set[tuple[int, int, int]], told: tuple[int, int, int]) -> None:
    if other := found - {told}:
        sizes = (" × ".join(map(str, size)) for size in (min(other), told))
        raise ValueError("a frame is {}, but {} by the header".format(*sizes))


def _sizes(stream: bytes) -> set[tuple[int, int, int]]:
    """Returns rows, columns and samples as a code stream tells them, each time that it does."""
    if stream.startswith(_J2K):
        return {_of_jpeg_2000(stream)}
    if not stream.startswith(b"\xff\xd8") or stream.count(_SOS.to_bytes(2)) > _MAX_SCANS:
        raise ValueError("a frame is no JPEG, JPEG-LS or JPEG 2000, or one of very many scans")
    starts = [at for marker, at in _segments(stream, 2, _SOS, _JPEG) if marker in _SOF]
    if not starts:
        raise ValueError("a frame does not tell its size")
    return {struct.unpack_from(">HHB", stream, at + 5) for at in starts}


def _of_jpeg_2000(stream: bytes) -> tuple[int, int, int]:
    right, low, left, top, wide, high, *_, samples = struct.unpack_from(">8IH", stream, 8)
    width, height = right - left, low - top
    across, down = (-(-end // max(side, 1)) for end, side in ((right, wide), (low, high)))
    packets = 0
    for marker, at in _segments(stream, 2, _SOT, _MAIN):
        if marker == _COD:
            own, layers, levels = struct.unpack_from(">BxHxB", stream, at + 4)
            sizes = stream[at + 14 : at + 15 + levels] if own & 1 else b""
            side = 2 ** min((nibble for size in sizes for nibble in (size & 15, size >> 4)), default=15)
            # At most so many: precincts end at tiles, and their grid need not begin at the picture's corner.
            packets += layers * (levels + 1) * (width // side + across + 2) * (height // side + down + 2)
    if across * down > _MAX_TILES or packets > _MAX_PACKETS:
        raise ValueError("a frame is JPEG 2000 in very many tiles, layers or precincts")
    # What a tile says of its own would go before all this, so that it may say little.
    while stream[at : at + 2] == _SOT.to_bytes(2):
        length = int.from_bytes(stream[at + 6 : at + 10])
        for _ in _segments(stream, at + 12, _SOD, _TILE_PART):
            pass
        at += length or len(stream)
        if 0 < length < 14:
            raise ValueError("a frame has a tile of no length")
    return height, width, samples


def _segments(stream: bytes, at: int, last: int, known: set[int]) -> Iterator[tuple[int, int]]:
    """Yields marker and place of each segment of a header, to the marker that ends it.

    Decoders pass over what they do not know in ways of their own, so that it is refused here.
    """
    marker = 0
    while marker != last:
        while known is _JPEG and stream[at : at + 2] == b"\xff\xff":  # as many as they like before a marker
            at += 1
        marker, length = struct.unpack_from(">HH", stream, at)
        if marker not in known or (length < 2 and marker != _SOD):
            raise ValueError(f"a frame has the unknown marker {marker:04X} or ends early")
        yield marker, at
        at += 2 + length
