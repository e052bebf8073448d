"""Gzip files, inflated as they are read; what takes long and holds next to nothing is refused."""

import zlib
from typing import BinaryIO

from metseg.data.readers.image_errors import DamagedImage

_MAX_MEMBERS = 65_536  # of a file; bgzip makes one for each 64 kB, others one in all
_MAX_WASTE = 2**20  # bytes by which a file may be longer than what it holds; of noise gzip makes 0.03 % more
_PIECE = 2**16  # bytes taken at once
_GZIP = 16 + zlib.MAX_WBITS


class Inflated:
    """What a gzip file holds, to be read once, from its start.

    Python's own `gzip` goes through padding and names byte by byte, and through any number of empty members.
    """

    def __init__(self, raw: BinaryIO, name: str):
        self._raw, self._name = raw, name
        self._rest, self._member = b"", zlib.decompressobj(_GZIP)
        self._members, self._waste = 1, 0

    def read(self, size: int) -> bytes:
        """Returns the next `size` bytes, or fewer at the end.

        Raises:
            EOFError, zlib.error: It is truncated or damaged.
            DamagedImage: It has very many members, or is longer than what it holds.
        """
        found = []
        while size and (self._rest or self._take()):
            if self._member.eof:
                self._rest = self._rest.lstrip(b"\0")  # padding
                if self._rest:
                    self._member, self._members = zlib.decompressobj(_GZIP), self._members + 1
                continue
            found.append(self._member.decompress(self._rest, size))
            self._rest = self._member.unused_data or self._member.unconsumed_tail
            size, self._waste = size - len(found[-1]), self._waste - len(found[-1])
        if size and not self._member.eof:
            raise EOFError
        return b"".join(found)

    def _take(self) -> bool:
        if self._members > _MAX_MEMBERS or self._waste > _MAX_WASTE:
            raise DamagedImage(
                f"{self._name} is gzip in very many pieces, or with next to nothing in it; pack it again"
            )
        self._rest = self._raw.read(_PIECE)
        self._waste += len(self._rest)
        return bool(self._rest)
