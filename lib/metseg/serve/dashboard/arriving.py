"""Files on their way from a browser, in pieces."""

from metseg.data.readers.images import IMAGE_SUFFIXES
from metseg.serve.unpacking import SentFile
from metseg.serve.upload import too_large
from metseg.serve.volume_upload import too_large_volume


class Arriving:
    """Puts files together; newer ones take the place of unfinished ones."""

    def __init__(self):
        self._upload: int | None = None
        self._files: list[tuple[str, bytearray]] = []

    def take(self, piece: dict, data: bytes, *, slice_bytes: int, all_bytes: int) -> list[SentFile] | None:
        """Takes a piece; one that comes twice, or out of turn, is left aside.

        Args:
            piece: {"upload": a number for all files that were chosen together, "name", "file": which of how
                many "files", "start": its offset, "size": of the file, "total": of all}.
            data: Its bytes.
            slice_bytes: The most that a picture may have.
            all_bytes: The most that all files may have together.

        Returns:
            The files when they are complete, else None.

        Raises:
            Refused: They are larger than that, whatever the browser thought.
        """
        index, start = piece.get("file", 0), piece["start"]
        if index == start == 0:
            self._upload, self._files = piece["upload"], []
        if piece["upload"] != self._upload:
            return None
        if start == 0 and index == len(self._files):
            self._files.append((piece["name"], bytearray()))
        if index + 1 != len(self._files) or start != len(self._files[-1][1]):
            return None
        received = sum(len(content) for _, content in self._files) + len(data)
        size = max(piece.get("total", piece["size"]), received)
        if size > all_bytes:
            raise too_large_volume(piece["name"])
        if size > slice_bytes and piece["name"].lower().endswith(IMAGE_SUFFIXES):
            raise too_large(piece["name"])
        last = self._files[-1][1]
        last += data
        if len(self._files) < piece.get("files", 1) or len(last) < piece["size"]:
            return None
        done, self._upload, self._files = self._files, None, []
        return [(name, bytes(content)) for name, content in done]
