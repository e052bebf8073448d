"""The visits of one patient: from the scans that a user names, in time order, to one report."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, count, pairwise
from pathlib import Path

from metseg.base.errors import MetsegError
from metseg.data.scan import RESCALED
from metseg.data.scan_inputs import OpenScan, ScanInput, open_scan, scan_inputs
from metseg.reports.follow_up import FollowUp, follow_up
from metseg.reports.lesion_report import write_report
from metseg.reports.results import Segmented, report_of

_LISTED = 3


def visit_inputs(sources: Sequence[Path], sequences: Mapping[str, str] | None = None) -> list[ScanInput]:
    """Lists the scans of several visits.

    Args:
        sources: Each one scan: a NIfTI file, a case's folder, or a folder of DICOM.
        sequences: As in `scan_inputs`; names of files are looked for beside each source.

    Raises:
        MetsegError: A source holds none or several scans, or two of them the same file.
    """
    found = []
    for source in sources:
        scans = scan_inputs(source, sequences)
        if not scans:
            raise MetsegError(f"{source} holds no volume; a report needs NIfTI or DICOM")
        if len(scans) > 1:
            some = ", ".join(each.case_id for each in scans[:_LISTED])
            more = " …" * (len(scans) > _LISTED)
            raise MetsegError(f"{source} holds {len(scans)} scans ({some}{more}); name each by an --input")
        found += scans
    for one, other in combinations(found, 2):
        if shared := _files(one) & _files(other):
            raise MetsegError(f"{min(shared)} is named for two visits; give each visit its own files")
    return found


def open_visits(
    inputs: Sequence[ScanInput],
    *,
    allow_missing: bool = False,
    partial: bool = False,
    same_patient: bool = False,
) -> tuple[list[OpenScan], list[str]]:
    """Reads the scans of one patient's visits.

    Args:
        inputs: In time order.
        allow_missing, partial: As in `open_scan`.
        same_patient: Take them as one patient's, whoever they are by their names or headers.

    Returns:
        The scans, and what was assumed, as sentences.

    Raises:
        MetsegError: A scan cannot be read, they are of different patients, or not in time order.
    """
    scans = [open_scan(each, allow_missing=allow_missing, partial=partial) for each in inputs]
    people = list(dict.fromkeys(scan.patient_id for scan in scans))
    notes = []
    if len(people) > 1:
        listed = ", ".join(people)
        if not same_patient:
            raise MetsegError(
                f"the scans are of {len(people)} patients ({listed}) by their names or headers; give visits "
                "of one, or say that they are (--same-patient)"
            )
        notes.append(f"By names or headers the visits are of {listed}; they are one patient's, as you say.")
    for name, times in Counter(scan.case_id for scan in scans).items():
        if times > 1:  # else one's mask would be written over the other's
            number = count(1)
            scans = [
                replace(scan, case_id=f"{name}_{next(number)}") if scan.case_id == name else scan
                for scan in scans
            ]
            notes.append(f"{times} visits are called {name}; in their order here they are {name}_1 and on.")
    for former, now in pairwise(scans):
        if former.visit and now.visit and is_later(former.visit, now.visit):
            raise MetsegError(
                f"visit {former.visit} is named before {now.visit}; give the visits in time order"
            )
    return scans, notes


def compare_visits(found: Sequence[Segmented], *, register: bool = False) -> FollowUp | None:
    """Compares the lesions of visits in time order, see `follow_up`; None for one visit alone."""
    visits = [each.visit for each in found]
    if len({visit.name for visit in visits}) < len(visits):
        visits = [replace(each.visit, name=each.scan.case_id) for each in found]
    return follow_up(visits, register=register) if len(visits) > 1 else None


def unlike(found: Sequence[Segmented]) -> list[str]:
    """Returns why a change between segmented visits may be none.

    Other sequences are missing, or a region is so large that it should not be missing from a mask.
    """
    segmented = [each for each in found if each.prob_map is not None]
    told = [
        f"{each.visit.name}: a large region is not in the mask; what is told as gone or as new may be this."
        for each in segmented
        if each.dropped and len(found) > 1
    ]
    if len({each.scan.scan.missing for each in segmented}) < 2:
        return told
    lacks = ", ".join(
        f"{each.visit.name} lacks {' and '.join(each.scan.scan.missing) or 'no sequence'}"
        for each in segmented
    )
    return [*told, f"{lacks}: probabilities differ by that alone, which can look like growth or shrinkage."]


def reading_notes(found: Sequence[Segmented]) -> list[str]:
    """Returns what was changed or guessed as the scans and masks were read, each visit by its name."""
    told = [(each, note) for each in found for note in (*each.scan.scan.notes, *each.cautions)]
    each_its_own = [
        note if note == RESCALED or len(found) == 1 else f"{each.scan.case_id}: {note}" for each, note in told
    ]
    return list(dict.fromkeys(each_its_own))


def write_visits(
    found: Sequence[Segmented], folder: Path, *, compared: FollowUp | None = None, notes: Sequence[str] = ()
) -> dict[str, Path]:
    """Writes the report of the last visit, with what became of the lesions since the former ones.

    Args:
        found: The visits in time order.
        folder: Receives the folder `<case>_report`.
        compared: From `compare_visits`.
        notes: What was guessed or assumed, as sentences; see `reading_notes`.

    Returns:
        As `write_report`.
    """
    last = found[-1]
    report = report_of(last, notes=notes, follow_up=compared)
    return write_report(report, folder / f"{last.scan.case_id}_report")


def _files(given: ScanInput) -> set[Path]:
    if given.dicom is not None:
        return {given.dicom.resolve()}
    return {Path(path).resolve() for path in given.sequences.values()}


def is_later(one: str, other: str) -> bool:
    """Tells whether a visit is later than another, where both are dates or numbers written alike.

    Dates that end in the year are not compared: whether the day or the month comes first, nothing tells.
    """
    numbers = [re.findall(r"\d+", visit) for visit in (one, other)]
    if len(numbers[0]) > 1 and len(numbers[0][-1]) == 4:
        return False
    alike = re.sub(r"\d", "0", one) == re.sub(r"\d", "0", other)
    return alike and numbers[0] > numbers[1]
