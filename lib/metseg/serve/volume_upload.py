"""What a visitor uploads becomes the scan of a volume: NIfTI files, DICOM files, or a ZIP file of either.

NIfTI stays in memory. DICOM, which is read and referred to as files, lies in a folder of its own, under names
made here, until the upload is closed. Files of the server's own disk are not copied: links stand for them.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from metseg.base.errors import MetsegError
from metseg.data.layouts.volumes import REFERENCE
from metseg.data.readers.image_errors import ImageError, NotAnImage
from metseg.data.volume import SEQUENCES
from metseg.serve.scan_folder import ServerFile
from metseg.serve.sequence_names import NAMELESS, case_of, sequence_of
from metseg.serve.unpacking import SentFile, is_zip, unpacked
from metseg.serve.upload import Refused

UPLOAD = "metseg-upload-"  # how folders begin, then the number of their process
MAX_VOLUME_BYTES = 256 * 2**20  # of all files as they are sent
MAX_VOXELS = 2**26  # of one sequence: 512 × 512 × 256
MAX_PARTS = 2**22  # of all DICOM headers: a thousand for each of 4,000 files, which is 300 elements or so
MAX_SLICES = 1024  # each takes a network's time, however small it is
_GZIP = b"\x1f\x8b"
_HEADERS = {size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")}


class Part(NamedTuple):
    """A NIfTI file or a DICOM series: by what it is known, what to show, and which sequence it seems."""

    key: str
    name: str
    sequence: str  # of `SEQUENCES`, or `t2`, `reference`; "" where nothing tells


def is_volume(files: Sequence[SentFile]) -> bool:
    """Returns whether uploaded files are volumes, or ZIP files, by their content."""
    return any(is_zip(content) or _is_nifti(content) or _is_dicom(content) for _, content in files)


class VolumeUpload:
    """The files of one scan; close it, so that nothing stays on the disk."""

    def __init__(
        self, files: Sequence[SentFile], *, there: Sequence[ServerFile] = (), home: Path | None = None
    ):
        """Unpacks the files.

        Args:
            files: As they were sent.
            there: Those that lie on the server.
            home: Where the folder for DICOM is made; the system's for temporary files if left out.

        Raises:
            ImageError: A ZIP file is damaged, or there is no volume.
            Refused: There are too many or too large files, or NIfTI beside DICOM.
        """
        self._folder = tempfile.TemporaryDirectory(prefix=f"{UPLOAD}{os.getpid()}-", dir=home)
        self._path = Path(self._folder.name)
        self.nifti: dict[str, bytes | Path] = {}
        self._others: list[str] = []
        self._gzip_bytes = 0
        try:
            dicom = False
            for number, (name, content) in enumerate((*unpacked(files), *there)):
                head = content[:132] if isinstance(content, bytes) else _head(content)
                is_nifti = _is_nifti(head)
                dicom |= _is_dicom(head)
                if is_nifti and isinstance(content, bytes):
                    self._add_nifti(name, content)
                    continue
                plain = re.sub(r"[^\w.-]", "_", PurePosixPath(name).name).lstrip(".")[-80:] or "file"
                path = self._path / str(number) / plain
                path.parent.mkdir()
                if isinstance(content, bytes):
                    path.write_bytes(content)
                else:
                    path.symlink_to(content)
                if is_nifti:
                    self._add_nifti(name, path)
                else:
                    self._others.append(plain)
            if self.nifti and dicom:
                raise Refused("unusable_volume", "There are NIfTI and DICOM files; send one scan, as either")
            if not self.nifti and not dicom:
                some = ", ".join(self._others[:3]) or "nothing"
                raise NotAnImage(
                    f"There is no NIfTI and no DICOM file (but {some}); export the scan as either"
                )
        except BaseException:
            self.close()
            raise

    def _add_nifti(self, name: str, content: bytes | Path) -> None:
        if isinstance(content, bytes) and content[:2] == _GZIP:
            # Of gzip a ZIP that was sent can hold hardly more than its size.
            self._gzip_bytes += len(content)
            if self._gzip_bytes > MAX_VOLUME_BYTES:
                raise too_large_volume(name)
        if self.nifti.setdefault(name, content) is not content:
            raise Refused("unusable_volume", f"{name:.200} is sent twice; send each file once")

    @cached_property
    def parts(self) -> list[Part]:
        """What can be taken for a sequence."""
        if self.nifti:
            return [Part(name, name, sequence_of(name)) for name in self.nifti]
        from metseg.data.readers.dicom_sequences import UNKNOWN
        from metseg.data.readers.dicom_series import list_series

        with self._without_path():
            found = list_series(self._path, max_parts=MAX_PARTS)
        names = [f"{each.description or 'no description'} ({len(each.frames)} slices)" for each in found]
        known = ["" if each.sequence == UNKNOWN else each.sequence for each in found]
        return [Part(each.key, *rest) for each, *rest in zip(found, names, known, strict=True)]

    @property
    def reference(self) -> SentFile | None:
        """The NIfTI file that a reference mask is by its name, if there is one alone."""
        found = [key for key, _, kind in self.parts if self.nifti and kind == REFERENCE]
        return (found[0], self.content_of(found[0])) if len(found) == 1 else None

    def content_of(self, name: str) -> bytes:
        """Returns a NIfTI file as it lies on the disk; raises `Refused` if it is too large for one mask."""
        content = self.nifti[name]
        if isinstance(content, Path):
            if content.stat().st_size > MAX_VOLUME_BYTES:
                raise too_large_volume(name)
            content = content.read_bytes()
        return content

    def open(self, told: Mapping[str, str] | None = None, *, allow_missing: bool = False):
        """Reads the scan.

        Args:
            told: {sequence: key of a part}, which goes before what names and headers tell.
            allow_missing: Let FLAIR, or else t1c, stand in for a sequence that is missing.

        Returns:
            The `OpenScan`; its notes begin with what was taken for what.

        Raises:
            ImageError: A file is damaged or holds no volume.
            Refused: A sequence is missing or there twice, or anything else is wrong with the scan.
        """
        from metseg.data.scan_inputs import ScanInput, open_scan

        told = dict(told or {})
        if strange := set(told.values()) - {each.key for each in self.parts} if told else ():
            names = ", ".join(each.key for each in self.parts)
            raise Refused("invalid_setting", f"There is no {min(strange):.200}; there is {names:.2000}")
        limits = {"allow_missing": allow_missing, "max_voxels": MAX_VOXELS}
        with self._without_path():
            if not self.nifti:
                given = ScanInput(NAMELESS, told, dicom=self._path)
                return _checked(open_scan(given, max_parts=MAX_PARTS, **limits))
            taken, told_notes = self._taken(told)
            name = next(name for name, content in self.nifti.items() if content is next(iter(taken.values())))
            opened = open_scan(ScanInput(case_of(name), taken), **limits)
        notes = [*told_notes, *map(self._without_folder, opened.scan.notes)]
        return _checked(replace(opened, scan=opened.scan._replace(notes=notes)))

    def close(self) -> None:
        """Removes what lies on the disk."""
        self._folder.cleanup()

    def __enter__(self) -> "VolumeUpload":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _taken(self, told: Mapping[str, str]) -> tuple[dict[str, bytes | Path], list[str]]:
        """Returns {sequence: its NIfTI file or the content}, and a note on each file."""
        files = dict(told)
        notes = [f"{sequence} is {key}: as you say." for sequence, key in told.items()]
        for key, _, sequence in self.parts:
            if key in told.values():
                continue
            if sequence not in SEQUENCES:
                why = f"its name says {sequence}" if sequence else "its name tells none"
                notes.append(f"{key} was taken for no sequence: {why}.")
            elif sequence not in files:
                files[sequence] = key
                notes.append(f"{sequence} is {key}: by its name.")
            elif sequence not in told:
                twice = f"{files[sequence]} and {key} are both {sequence} by their names"
                raise Refused("unusable_volume", f"{twice}; send one scan, or say which is which")
        if not files:
            names = ", ".join(self.nifti)
            raise Refused(
                "unusable_volume",
                f"No name tells which sequence its file is ({names:.300}); say it, or let names end in "
                "t1, t1c and flair",
            )
        return {sequence: self.nifti[key] for sequence, key in files.items()}, notes

    @contextmanager
    def _without_path(self) -> Iterator[None]:
        """Makes each error one for a visitor, to whom the folder here means nothing."""
        try:
            yield
        except Refused:
            raise
        except ImageError as error:
            raise type(error)(self._without_folder(str(error))) from error
        except MetsegError as error:
            text = self._without_folder(str(error).replace("(--allow-missing)", "(allow_missing)"))
            raise Refused("unusable_volume", text[0].upper() + text[1:]) from error

    def _without_folder(self, text: str) -> str:
        folder = rf"{re.escape(str(self._path))}(/\d+/)?"
        return re.sub(folder, lambda found: "" if found[1] else "the upload", text)


def too_large_volume(name: str = "The upload") -> Refused:
    """Returns the error of files above `MAX_VOLUME_BYTES`."""
    return Refused("too_large", f"{name} is larger than {MAX_VOLUME_BYTES // 2**20} MB; send one scan alone")


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(132)
    except OSError as error:
        reason = error.strerror or error
        raise Refused("not_found", f"{path.name} cannot be opened ({reason}); choose another") from error


def _is_nifti(content: bytes) -> bool:
    return content[:4] in _HEADERS or content[:2] == _GZIP


def _is_dicom(content: bytes) -> bool:
    return content[128:132] == b"DICM"


def _checked(opened):
    if (slices := opened.scan.volume.grid[0]) > MAX_SLICES:
        raise Refused("unusable_volume", f"The scan has {slices} slices; the most is {MAX_SLICES}")
    return opened
