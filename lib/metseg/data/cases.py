"""Scans and masks on disk become cases: a layout says which files make one, a reader reads them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from metseg.base.errors import MetsegError
from metseg.base.files import files_below
from metseg.data.layouts.slices import MAX_SLICE, Place, people_folders, place_of, slices_among
from metseg.data.patients import TABLE, Identity, by_pattern, read_patients
from metseg.data.readers.images import read_scan
from metseg.data.volume import Case

_LIKE_THE_TABLE = re.compile(r"patients?\W*(\(?\d*\)?)\W*(csv|tsv|xlsx?|txt|csv\.txt)", re.IGNORECASE)


class SliceFiles(NamedTuple):
    """One slice's files; one that is missing is None."""

    slice_index: int
    image: Path | None
    mask: Path | None


@dataclass(frozen=True)
class CaseFiles:
    """One scan's files in slice order."""

    case_id: str
    patient_id: str
    slices: tuple[SliceFiles, ...]
    visit: str | None = None  # which of the person's scans; None where nothing tells
    told_by: str = "name"  # what told the person, see `Identity`
    folders: tuple[str, ...] = ()  # below the data set's, without those that group people


def list_cases(folder: Path, *, pattern: str | None = None) -> list[CaseFiles]:
    """Lists the scans below a folder, complete or not.

    Which files are slices of which scan is told by `metseg.data.layouts`; who is who by the names
    (`metseg.data.patients`), or by a `patients.csv` in the folder.

    Args:
        folder: The data set's.
        pattern: Regular expression that tells a scan's person instead, see `by_pattern`.

    Raises:
        MetsegError: The folder is missing, holds no slice, or holds one scan twice; a slice's number is none;
            `patients.csv` is wrong.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MetsegError(f"{folder} is not a folder; give the one that holds the scans")
    files = files_below(folder)
    table, declared = _declared(files)
    found: dict[str, dict[int, dict[str, Path]]] = defaultdict(lambda: defaultdict(dict))
    first: dict[str, tuple[Path, Place]] = {}  # of each scan
    for path, place in slices_among(files, folder, scans=declared).items():
        if place.slice_index is None:
            text = f"{path} ends in a number that is no slice's (0 to {MAX_SLICE})"
            raise MetsegError(f"{text}; name the slices of a scan <scan>_1, <scan>_2 and so on")
        other, its = first.setdefault(place.case_id, (path, place))
        if its.home != place.home:
            text = f"scan {place.case_id} lies in {other.parent} and in {path.parent}"
            raise MetsegError(f"{text}; name the folder of one copy, or give each scan a name of its own")
        kind = "mask" if place.is_mask else "image"
        there = found[place.case_id][place.slice_index].setdefault(kind, path)
        if there != path:
            raise MetsegError(f"{there} and {path} are the same slice's {kind}; remove or rename one of them")
    if not found:
        kinds = Counter(path.suffix.lower() or "no suffix" for path in files).most_common(3)
        there = f" (but {', '.join(f'{times} files of {kind}' for kind, times in kinds)})" if kinds else ""
        expected = "expected files such as <case>_1.tif and <case>_1_mask.tif (see data/README.md)"
        raise MetsegError(f"{folder} holds no scan{there}; {expected}")
    for case_id in declared:
        if case_id not in found:
            text = f"{table} names case {case_id}, which is no scan (such as {min(found)}); correct it"
            raise MetsegError(text)
        scan = place_of(first[case_id][0], folder).case_id
        if scan != case_id and scan in found:
            text = f"{table} names {case_id}, but the other slices of {scan} are left to their names"
            raise MetsegError(f"{text}; name all of them, or the scan alone")
    people = {case_id: place.who for case_id, (_, place) in first.items()} | declared
    if pattern is not None:
        people = {case_id: by_pattern(case_id, pattern) for case_id in people}
    return [
        CaseFiles(
            case_id,
            people[case_id].patient_id,
            tuple(SliceFiles(z, f.get("image"), f.get("mask")) for z, f in sorted(slices.items())),
            visit=people[case_id].visit,
            told_by=people[case_id].by,
            folders=people_folders(first[case_id][1].home),
        )
        for case_id, slices in sorted(found.items())
    ]


def _declared(files: list[Path]) -> tuple[Path | None, dict[str, Identity]]:
    """Returns the `patients.csv` among the files, if there is one, and whom it tells."""
    tables = [path for path in files if path.name == TABLE]
    if not tables and (alike := [path for path in files if _LIKE_THE_TABLE.fullmatch(path.name)]):
        raise MetsegError(f"{alike[0]} is not read; call it {TABLE}, with commas, if it says who is who")
    if len(tables) > 1:
        raise MetsegError(f"{tables[0]} and {tables[1]} both say who is who; keep one of them")
    return (tables[0], read_patients(tables[0])) if tables else (None, {})


def find_cases(folder: Path) -> list[CaseFiles]:
    """Lists the scans below a folder, each slice with its image and its mask.

    Raises:
        MetsegError: As in `list_cases`, or a slice lacks its image or its mask.
    """
    cases = list_cases(folder)
    for case in cases:
        for files in case.slices:
            complain_if_incomplete(files)
    return cases


def how_read(cases: Iterable[CaseFiles]) -> str:
    """Returns in words how files were read: "36 files: 1 scan of 18 slices, 1 patient (by TCGA)"."""
    cases = list(cases)
    files = sum((each.image is not None) + (each.mask is not None) for case in cases for each in case.slices)
    told_by = Counter(case.told_by for case in cases)
    patients = len({case.patient_id for case in cases})
    told = ", ".join(name for name, _ in told_by.most_common())
    scans = count_scans(len(case.slices) for case in cases)
    return f"{files} files: {scans}; {patients} patient{'s' * (patients != 1)}, told by {told}"


def count_scans(lengths: Iterable[int]) -> str:
    """Returns in words how many scans of how many slices there are."""
    lengths = sorted(lengths)
    if set(lengths) == {1}:
        return f"{len(lengths)} single slice{'s' * (len(lengths) != 1)}"
    low, high = lengths[0], lengths[-1]
    slices = f"{low} to {high} slices" if low < high else f"{high} slices"
    return f"{len(lengths)} scan{'s' * (len(lengths) != 1)} of {slices}"


def complain_if_incomplete(files: SliceFiles) -> None:
    """Raises a `MetsegError` that names the missing file of a pair."""
    if files.mask is None:
        name = f"{files.image.stem}_mask{files.image.suffix}"
        raise MetsegError(f"{files.image} has no mask; add {name} (all black where there is no lesion)")
    if files.image is None:
        raise MetsegError(f"{files.mask} has no image; add the slice it belongs to or remove it")


def load_case(files: CaseFiles) -> Case:
    """Reads one scan; raises `MetsegError` naming the first file that is wrong."""
    for each in files.slices:
        complain_if_incomplete(each)
    volume, labels = read_scan(
        [each.image for each in files.slices], [each.mask for each in files.slices], files.case_id
    )
    numbers = tuple(each.slice_index for each in files.slices)
    return Case(volume, labels, files.case_id, files.patient_id, files.visit, numbers)
