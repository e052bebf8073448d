"""Scans and masks on disk become cases: a layout says which files make one, a reader reads them."""

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from metseg.base.errors import MetsegError, MetsegWarning
from metseg.base.files import files_below
from metseg.data.layouts.dicom import dicom_cases
from metseg.data.layouts.slices import MAX_SLICE, Place, SliceFiles, people_folders, place_of, slices_among
from metseg.data.missing_sequences import keep_usable
from metseg.data.own_results import complain_if_result
from metseg.data.patients import by_pattern, declared_among
from metseg.data.readers.images import read_image, read_labels, read_scan
from metseg.data.scan import Scan, grid_of_scan, read_files, read_reference
from metseg.data.volume import SEQUENCES, Case, Volume
from metseg.data.volume_files import VolumeFiles, volume_cases


@dataclass(frozen=True)
class CaseFiles:
    """One scan's files: those of its slices in order, or those of its volumes."""

    case_id: str
    patient_id: str
    slices: tuple[SliceFiles, ...] = ()
    visit: str | None = None  # which of the person's scans; None where nothing tells
    told_by: str = "name"  # what told the person, see `Identity`
    folders: tuple[str, ...] = ()  # below the data set's, without those that group people
    volumes: VolumeFiles | None = None
    allow_missing: bool = False  # let another stand in for a sequence that is missing

    @property
    def missing(self) -> tuple[str, ...]:
        """The networks' sequences that volumes lack; slices have all, be it FLAIR in their place."""
        present = self.volumes.sequences if self.volumes else SEQUENCES
        return tuple(sequence for sequence in SEQUENCES if sequence not in present)

    @property
    def files(self) -> list[Path]:
        """All files of a complete case, images and reference."""
        if self.volumes:
            return self.volumes.files
        return [path for each in self.slices for path in (each.image, each.mask)]

    @cached_property
    def grid(self) -> tuple[int, int, int] | None:
        """(Z, Y, X) of axial volumes, by a header; of slices it is not known before they are read."""
        return grid_of_scan(self.volumes.sequences) if self.volumes else None

    @property
    def slice_numbers(self) -> tuple[int, ...]:
        """The slices' numbers in their files' names; of volumes from 0 on."""
        return tuple(range(self.grid[0])) if self.grid else tuple(each.slice_index for each in self.slices)

    @property
    def voxels(self) -> int:
        """How many voxels a sequence has; of slices, at their usual size."""
        return math.prod(self.grid or (len(self.slices), 256, 256))

    def complain_if_incomplete(self) -> None:
        """Raises a `MetsegError` that names a missing file, or a reference that is none."""
        if self.volumes:
            self.volumes.complain_if_incomplete()
        for each in self.slices:
            each.complain_if_incomplete()
        for first in self.slices[:1]:  # its others were written with it
            complain_if_result(first.mask)


def list_cases(
    folder: Path,
    *,
    pattern: str | None = None,
    target: str = "",
    on_file: Callable[[int, int], None] | None = None,
) -> list[CaseFiles]:
    """Lists the scans below a folder, complete or not.

    Where there are volumes, they are the scans, NIfTI before DICOM; else slices are. `metseg.data.layouts`
    tells which files are one scan; names, DICOM headers or a `patients.csv` in the folder who is who.

    Args:
        folder: The data set's.
        pattern: Regular expression that tells a scan's person instead, see `by_pattern`.
        target: What is a lesion in references with several labels: a region of the layout (`ET`, `TC`, `WT`),
            several, the main one first (`TC+ET+WT`), or labels (`1,3`); its first region if left out. Of
            DICOM see `dicom_cases`.
        on_file: Called with (finished, of) as headers of DICOM are read.

    Raises:
        MetsegError: The folder is missing, holds no scan, or holds one scan twice; a slice's number is none;
            `patients.csv` or `layout.yml` is wrong; there is no such target.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MetsegError(f"{folder} is not a folder; give the one that holds the scans")
    files = files_below(folder)
    table, declared = declared_among(files)
    if volumes := volume_cases(files, folder, target)[0]:
        return _of_volumes(volumes, folder, (table, declared), pattern)
    places = slices_among(files, folder, scans=declared)
    masked = any(place.is_mask for place in places.values())  # pictures beside DICOM are not
    if not masked and (volumes := dicom_cases(files, folder, target, on_file=on_file)):
        return _of_volumes(volumes, folder, (table, declared), pattern)
    if target:
        raise MetsegError(f"target={target} is for references with several labels; {folder} holds slices")
    found: dict[str, dict[int, dict[str, Path]]] = defaultdict(lambda: defaultdict(dict))
    first: dict[str, tuple[Path, Place]] = {}  # of each scan
    for path, place in places.items():
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
            raise MetsegError(f"{table} names case {case_id}, which is no scan ({min(found)} is); correct it")
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


def _of_volumes(
    volumes: list[VolumeFiles], folder: Path, told: tuple[Path | None, dict], pattern: str | None
) -> list[CaseFiles]:
    """Returns the cases of volumes, with whom the table or the pattern tells."""
    table, declared = told
    people = {each.case_id: each.identity for each in volumes}
    if strangers := declared.keys() - people.keys():
        text = f"{table} names case {min(strangers)}, which is no scan (such as {min(people)})"
        raise MetsegError(f"{text}; correct it")
    people |= declared
    if pattern is not None:
        people = {case_id: by_pattern(case_id, pattern) for case_id in people}
    found = []
    for each in volumes:
        home, who = each.home.relative_to(folder).parts, people[each.case_id]
        known = {"visit": who.visit, "told_by": who.by, "folders": people_folders(home), "volumes": each}
        found.append(CaseFiles(each.case_id, who.patient_id, **known))
    return found


def find_cases(folder: Path, *, target: str = "", **missing) -> list[CaseFiles]:
    """Lists the scans below a folder, each complete.

    A scan that lacks a sequence is left out, or another stands in; a warning names it. `missing` is
    `allow_missing` and `never_missing`, see `keep_usable`.

    Raises:
        MetsegError: As in `list_cases`, a reference or a slice is missing, or no scan has all sequences.
    """
    cases, notes = keep_usable(list_cases(folder, target=target), **missing)
    for note in notes:
        warnings.warn(note, MetsegWarning, stacklevel=1)  # where it was raised: so it is shown once
    for case in cases:
        case.complain_if_incomplete()
    return cases


def how_read(cases: Iterable[CaseFiles]) -> str:
    """Returns in words how files were read: "36 files: 1 scan of 18 slices, 1 patient (by TCGA)"."""
    cases = list(cases)
    files = sum(path is not None for case in cases for path in case.files)
    told_by = Counter(case.told_by for case in cases)
    patients = len({case.patient_id for case in cases})
    told = ", ".join(name for name, _ in told_by.most_common())
    scans = count_scans(len(case.slice_numbers) for case in cases)
    text = f"{files} files: {scans}; {patients} patient{'s' * (patients != 1)}, told by {told}"
    guesses = sorted({case.volumes.guess for case in cases if case.volumes} - {""})
    return "; ".join([text, *(f"lesion in {each}" for each in [lesion_told(cases)] if each), *guesses])


def lesion_told(cases: Iterable[CaseFiles]) -> str:
    """Returns which labels are a lesion: "BraTS: TC (1, 3)"; nothing for slices, which have one label."""
    volumes = [case.volumes for case in cases if case.volumes]
    return "; ".join(sorted({f"{each.layout}: {each.regions}" for each in volumes}))


def count_scans(lengths: Iterable[int]) -> str:
    """Returns in words how many scans of how many slices there are."""
    lengths = sorted(lengths)
    if set(lengths) == {1}:
        return f"{len(lengths)} single slice{'s' * (len(lengths) != 1)}"
    low, high = lengths[0], lengths[-1]
    slices = f"{low} to {high} slices" if low < high else f"{high} slices"
    return f"{len(lengths)} scan{'s' * (len(lengths) != 1)} of {slices}"


def read_scan_of(files: CaseFiles) -> Volume:
    """Reads one scan without its reference; raises `MetsegError` naming the first file that is wrong."""
    if files.volumes:
        return _read_volumes(files).volume
    return Volume.stacked([read_image(each.image) for each in files.slices])


def load_mask(files: CaseFiles) -> np.ndarray:
    """Reads one scan's reference alone, (Z, Y, X) bool as `Case.mask` is; raises as `load_case` does."""
    files.complain_if_incomplete()
    if files.volumes:
        return read_reference(files.volumes)[0].mask
    return np.stack([read_labels(each.mask, None) > 0 for each in files.slices])


def load_case(files: CaseFiles) -> Case:
    """Reads one scan and its reference; raises `MetsegError` naming the first file that is wrong."""
    files.complain_if_incomplete()
    if files.volumes:
        scan = _read_volumes(files)
        volume, (labels, _) = scan.volume, read_reference(files.volumes, scan.stored)
    else:
        images, masks = zip(*((each.image, each.mask) for each in files.slices), strict=True)
        volume, labels = read_scan(images, masks, files.case_id)
    return Case(volume, labels, files.case_id, files.patient_id, files.visit, files.slice_numbers)


def _read_volumes(files: CaseFiles) -> Scan:
    return read_files(files.volumes, allow_missing=files.allow_missing)
