"""DICOM files whose headers are counted while pydicom reads them: a small file can hold very many parts."""

from io import BufferedReader, FileIO
from pathlib import Path

# Of one header, which took pydicom 3 µs each; of enhanced files a frame has some hundred, or a thousand.
MOST_PARTS = 2**21
_ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # how an item of a sequence begins, in either byte order
_PARTS_OF_ITEM = 16  # as many elements take pydicom as long
_SHORTEST = 8  # bytes of an element


class CountedFile(BufferedReader):
    """An open file that counts what pydicom reads, at once or later.

    Attributes:
        parts: What it may hold: an element by each read and by each eight bytes, for sequences are read as
            one value and taken apart later; and its items. At most `MOST_PARTS` and one.
    """

    def __init__(self, path: Path):
        super().__init__(FileIO(path))
        self.parts = 0

    def read(self, size: int | None = -1) -> bytes:
        """Reads as files do; raises a `ValueError` where there are too many parts."""
        found = super().read(size)
        more = 1 + len(found) // _SHORTEST + _PARTS_OF_ITEM * sum(map(found.count, _ITEMS))
        self.parts = min(self.parts + more, MOST_PARTS + 1)
        if self.has_too_many:
            raise ValueError(f"its header has more than {MOST_PARTS} parts")
        return found

    @property
    def has_too_many(self) -> bool:
        """Whether its header has more than `MOST_PARTS`; pydicom makes other errors of that one."""
        return self.parts > MOST_PARTS
