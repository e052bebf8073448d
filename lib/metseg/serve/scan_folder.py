"""Scans on the server's own disk: what a visitor may choose below the one folder that the host allows."""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from stat import S_ISREG

from metseg.base.errors import MetsegError
from metseg.data.layouts.volumes import REFERENCE, place_of
from metseg.data.readers.images import IMAGE_SUFFIXES
from metseg.data.volume_files import is_nifti
from metseg.serve.sequence_names import case_of, sequence_of
from metseg.serve.unpacking import MAX_FILES, MAX_UNPACKED_BYTES
from metseg.serve.upload import Refused

SCANS = "METSEG_DASHBOARD_SCANS"  # environment variable of a dashboard's kernel
LISTED = 200  # folders, and scans, of one folder
_LOOKED_AT = 200_000  # entries of one folder
_PEEKED_BELOW, _PEEKED_AT = 2_000, 40  # entries, and files among them, to tell whether there is DICOM
_OTHERS = (*IMAGE_SUFFIXES, ".json", ".csv", ".txt", ".tsv", ".md", ".pdf", ".html", ".zip")

ServerFile = tuple[str, Path]  # its name to show, and where it lies


class ScanFolder:
    """A folder of scans. A place in it is named by folders with slashes between; "" is the folder itself.

    No name leads out of it: neither `..`, nor an absolute path, nor a link.

    Attributes:
        path: The folder's own.
    """

    def __init__(self, folder: Path):
        """Raises a `MetsegError` where there is no such folder, or it cannot be read."""
        try:
            self.path = Path(folder).resolve(strict=True)
            os.scandir(self.path).close()
        except OSError as error:
            reason = error.strerror or error
            raise MetsegError(f"cannot read {folder} ({reason}); give the folder of the scans") from error

    @classmethod
    def offered(cls) -> "ScanFolder | None":
        """Returns the one that this process's dashboard offers."""
        return cls(Path(os.environ[SCANS])) if os.environ.get(SCANS) else None

    def listing(self, place: str = "", find: str = "") -> dict:
        """Lists a place.

        Args:
            place: A folder.
            find: Only names that hold this, in upper or lower case.

        Returns:
            {"place", "find", "folders": names, "scans": [{"name", "details", "files": names; none for all
            DICOM files here and below}], "more": whether there are others, which are not listed}.

        Raises:
            Refused: There is no such folder below the allowed one.
        """
        home = self._within(place)
        if not home.is_dir():
            raise _unknown(place)
        folders, names, more = [], [], False
        with os.scandir(home) as entries:
            for entry in islice(entries, _LOOKED_AT):
                if not _is_plain(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False) or (
                    entry.is_symlink() and self._leads(entry, Path.is_dir)
                ):
                    folders.append(entry.name)
                elif not entry.is_symlink() or self._leads(entry, Path.is_file):
                    names.append(entry.name)
            more = next(entries, None) is not None
        has_dicom = any(map(_is_dicom, islice(self._files_below(home, _PEEKED_BELOW), _PEEKED_AT)))
        scans = [{"name": "DICOM", "details": "all files here and below", "files": []}] * has_dicom
        scans += _scans_of(sorted(filter(_has_nifti_name, names)), home.name)
        found = [
            [each for each in every if find.casefold() in name_of(each).casefold()]
            for every, name_of in ((sorted(folders), str), (scans, lambda scan: scan["name"]))
        ]
        more |= any(len(each) > LISTED for each in found)
        folders, scans = (each[:LISTED] for each in found)
        return {"place": place, "find": find, "folders": folders, "scans": scans, "more": more}

    def files(self, place: str, names: Sequence[str] = ()) -> list[ServerFile]:
        """Returns the files of a scan.

        Args:
            place: Its folder.
            names: Of NIfTI files in it; all DICOM files there and below if there are none.

        Raises:
            Refused: There is no such file below the allowed folder, or there are too many or too large ones.
        """
        home = self._within(place)
        if names:
            found = [(_shown(name, home.name), self._within(f"{place}/{name}".lstrip("/"))) for name in names]
        else:
            found = [(path.name, path.resolve()) for path in self._files_below(home) if _is_dicom(path)]
        if not found:
            raise _unknown(place)
        if len(found) > MAX_FILES:
            raise Refused(
                "too_large", f"{place or 'It'} holds more than {MAX_FILES} files; open a folder of it"
            )
        sizes = [os.stat(path) for _, path in found]
        if not all(S_ISREG(each.st_mode) for each in sizes):
            raise _unknown(place)
        if sum(each.st_size for each in sizes) > MAX_UNPACKED_BYTES:
            most = f"{MAX_UNPACKED_BYTES // 2**20} MB"
            raise Refused("too_large", f"{place or 'It'} holds more than {most}; open one scan alone")
        return found

    def _within(self, place: str) -> Path:
        """Returns the true path of a place, which lies in the folder."""
        parts = place.split("/") if place else []
        try:
            path = self.path.joinpath(*parts).resolve(strict=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise _unknown(place) from error
        if not all(map(_is_plain, parts)) or not path.is_relative_to(self.path):
            raise _unknown(place)
        return path

    def _leads(self, entry: "os.DirEntry | Path", test) -> bool:
        """Returns whether a link stays in the folder, and leads to what the test wants."""
        try:
            path = Path(entry).resolve(strict=True)
            return path.is_relative_to(self.path) and test(path)
        except (OSError, RuntimeError):
            return False

    def _files_below(self, home: Path, most: int = _LOOKED_AT) -> Iterator[Path]:
        """Yields files that may be DICOM, here and below, up to one more than a scan may have."""
        looked = count = 0
        for folder, folders, names in os.walk(home):
            folders[:] = sorted(filter(_is_plain, folders))
            looked += len(names) + len(folders)
            for name in sorted(names):
                path = Path(folder, name)
                if not _is_plain(name) or _has_nifti_name(name) or path.suffix.lower() in _OTHERS:
                    continue
                if self._leads(path, Path.is_file):
                    count += 1
                    yield path
                if count > MAX_FILES:
                    return
            if looked > most:
                return


def _scans_of(names: list[str], folder: str) -> list[dict]:
    """Sorts the NIfTI files of a folder into scans by their names; those of unknown names may be one scan."""
    known: dict[str, dict[str, str]] = {}
    others = []
    for name in names:
        shown = _shown(name, folder)
        if sequence := sequence_of(shown):
            known.setdefault(case_of(shown), {})[name] = sequence
        else:
            others.append(name)
    scans = [
        {"name": case, "details": ", ".join(_order(kinds.values())), "files": list(kinds)}
        for case, kinds in known.items()
    ]
    if 1 < len(others) <= 8:
        scans.append({"name": "All of these as one scan", "details": f"{len(others)} files", "files": others})
    return [*scans, *({"name": name, "details": "by itself", "files": [name]} for name in others)]


def _order(kinds) -> list[str]:
    return sorted(set(kinds), key=lambda kind: (kind == REFERENCE, kind))


def _shown(name: str, folder: str) -> str:
    """Returns a file's name, with its folder's where a data set names the case by that."""
    return f"{folder}/{name}" if not place_of(name) and place_of(f"{folder}/{name}") else name


def _has_nifti_name(name: str) -> bool:
    return is_nifti(Path(name))


def _is_plain(name: str) -> bool:
    """Returns whether a name is that of one entry that may be seen, neither hidden nor a way elsewhere."""
    return bool(name) and not name.startswith(".") and "\0" not in name and name.isprintable()


def _is_dicom(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _unknown(place: str) -> Refused:
    return Refused("not_found", f"There is no {place[:200]!r} among the scans on the server; choose another")
