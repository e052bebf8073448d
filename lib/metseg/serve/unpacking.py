"""Uploaded files, and those within uploaded ZIP files, one after the other and within limits."""

import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

from metseg.data.readers.image_errors import DamagedImage
from metseg.serve.upload import Refused

MAX_UNPACKED_BYTES = 2**30
MAX_FILES = 4000  # four sequences of 1,000 slices
_MAX_LISTING = 1024 * MAX_FILES  # bytes of a ZIP's list of files, which is read whole

SentFile = tuple[str, bytes]  # its name and content


def unpacked(files: Sequence[SentFile]) -> Iterator[SentFile]:
    """Yields files and what ZIP files among them hold: plain files that are not hidden.

    A name is one to show; it may hold anything, so no file must be written under it.

    Raises:
        DamagedImage: A ZIP file is damaged.
        Refused: It is encrypted or packed in a rare way, or there are too many or too large files.
    """
    count, left = 0, MAX_UNPACKED_BYTES
    for name, content in files:
        for inner, data in _members(content, name, left) if is_zip(content) else [(name, content)]:
            count, left = count + 1, left - len(data)
            if count > MAX_FILES or left < 0:
                most = f"{MAX_FILES} files and {MAX_UNPACKED_BYTES // 2**20} MB"
                raise Refused("too_large", f"{name} holds more than {most} unpacked; send one scan alone")
            yield inner, data


def is_zip(content: bytes) -> bool:
    """Returns whether a file is a ZIP file, by its content."""
    return content[:4] in (b"PK\3\4", b"PK\5\6")


def _members(content: bytes, name: str, left: int) -> Iterator[SentFile]:
    end = content.rfind(b"PK\5\6")  # APPNOTE 4.3.16; of ZIP64, which has its own list, a scan has no need
    if end < 0 or len(content) < end + 22:
        raise DamagedImage(f"{name} is a truncated ZIP file; send it again")
    if int.from_bytes(content[end + 12 : end + 16], "little") > _MAX_LISTING or b"PK\6\7" in content[-99999:]:
        raise Refused("too_large", f"{name} lists too many files for one scan; send one scan alone")
    try:
        with ZipFile(BytesIO(content)) as archive:
            for entry in archive.infolist():
                path = PurePosixPath(entry.filename)
                if entry.is_dir() or path.name.startswith(".") or "__MACOSX" in path.parts:
                    continue
                # Of other methods Python unpacks without a limit.
                if entry.flag_bits & 1 or entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                    raise Refused(
                        "unusable_volume", f"{name} is encrypted or packed in a rare way; make a plain ZIP"
                    )
                with archive.open(entry) as stream:
                    data = stream.read(left + 1)
                left -= len(data)
                yield entry.filename, data
    except (BadZipFile, EOFError, OSError, NotImplementedError, ValueError, zlib.error) as error:
        raise DamagedImage(f"{name} is a damaged ZIP file; make it again") from error
