"""Studies of DICOM become cases: headers tell whose they are and which series is which sequence."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from metseg.base.errors import MetsegError
from metseg.data.layouts.dicom_parts import complain_of_target, counted, kind_of, meaning_of
from metseg.data.layouts.own import OWN, DicomLayout, read_dicom_layout
from metseg.data.layouts.slices import people_folders
from metseg.data.patients import TABLE, Identity, file_name_of, identify, is_visit
from metseg.data.readers.images import IMAGE_SUFFIXES
from metseg.data.volume import SEQUENCES
from metseg.data.volume_files import SeriesFiles, VolumeFiles, is_nifti

if TYPE_CHECKING:
    from metseg.data.readers.dicom_masks import MaskHeader
    from metseg.data.readers.dicom_studies import Study

DICOM, HEADER, NOTHING = "DICOM", "PatientID", "nothing"
_LISTED = 4
# What programs write in place of a PatientID.
_NOBODY = re.compile(
    r"|anon(ym(ous|i[sz]ed)?)?|de-?identified|pseudonymi[sz]ed|unknown|none|null|n/?a|no ?(name|id)|patient|"
    r"subject|removed|hidden|test|x+|0+",
    re.IGNORECASE,
)


def dicom_cases(
    files: Iterable[Path],
    folder: Path,
    target: str = "",
    *,
    on_file: Callable[[int, int], None] | None = None,
) -> list[VolumeFiles]:
    """Sorts the DICOM files of a data set into cases, one a study; series and references go by their UIDs.

    Args:
        files: All files below the data set's folder.
        folder: The data set's. A `layout.yml` in it overrules what headers tell, see `layouts.own`.
        target: Which segments or ROIs are a lesion: numbers (`1,3`), what they are called, a region of
            `layout.yml`; or several of these, `A+B`, the main one first. All if left out.
        on_file: Called with (finished, of) as headers are read.

    Returns:
        The cases by name; none if there is no DICOM.

    Raises:
        MetsegError: No study has any of the networks' sequences, `layout.yml` is wrong, no reference has such
            a target, or a file cannot be opened.
    """
    from metseg.data.readers.dicom_studies import list_studies  # here, for pydicom takes its time

    folder, files = Path(folder), list(files)
    others = [path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES and not is_nifti(path)]
    others = [path for path in others if path.name not in (OWN, TABLE)]
    studies, notes = list_studies(others, folder, on_file=on_file)
    if not studies and notes:
        raise MetsegError(f"{folder} holds DICOM, but no scan: {'; '.join(notes)}; give a folder of scans")
    if not studies:
        return []
    own = read_dicom_layout(folder / OWN) if folder / OWN in files else DicomLayout()
    people = _people(studies, folder)
    cases, masks, left = [], [], []
    for study, (case_id, who) in zip(studies, people, strict=True):
        taken, told = _sequences(study, own, folder)
        if not taken:
            left.append(f"{case_id} ({'; '.join(told)})")
            continue
        path, refusal = _reference(study, own, folder, case_id)
        masks += [study.masks[path]] if path else []
        meaning = meaning_of(target, own.labels, study.masks.get(path))
        refusal = refusal or (f"{path} {meaning.refusal}" if meaning.refusal else "")
        meant = who, DICOM, taken, path, frozenset(), meaning.target
        known = {"refusal": refusal, "notes": told, "called": meaning.called}
        cases.append(VolumeFiles(case_id, *meant, **known))
    if not cases:
        raise MetsegError(
            f"{folder} holds {len(studies)} studies of DICOM, and none tells which series are "
            f"{', '.join(SEQUENCES)}: {'; '.join(left[:2])}; say it in {OWN} (see data/README.md)"
        )
    complain_of_target(cases, masks, target)
    notes += [f"left out, for no series is any of {', '.join(SEQUENCES)}: {'; '.join(left)}"] * bool(left)
    if nifti := [path.name for path in files if is_nifti(path)]:
        notes.append(f"{len(nifti)} files of NIfTI, such as {nifti[0]}, are not read beside DICOM")
    guess = "; ".join([*_guesses(cases, masks, people), *notes])
    return sorted((replace(case, guess=guess) for case in cases), key=lambda case: case.case_id)


def _people(studies: list["Study"], folder: Path) -> list[tuple[str, Identity]]:
    """Returns what each study is called, and whose it is: by PatientID, else by a folder of its own."""
    homes = [_home(study.files, folder) for study in studies]
    found = []
    for study, home in zip(studies, homes, strict=True):
        if not _NOBODY.fullmatch(study.patient_id.strip(" ._-^*")):
            found.append(Identity(study.patient_id, study.date, HEADER))
            continue
        alone = sum(other[: len(home)] == home or home[: len(other)] == other for other in homes) == 1
        if not alone:
            found.append(Identity(f"unknown-{_digits(study.uid)}", study.date, NOTHING))
            continue
        found.append(_by_folders(home or (folder.resolve().name,), study.date))
    names = [file_name_of(who.patient_id, who.visit) for who in found]
    times = Counter(names)
    unique = (
        name if times[name] == 1 else f"{name}_{_digits(study.uid)}"
        for name, study in zip(names, studies, strict=True)
    )
    return list(zip(unique, found, strict=True))


def _by_folders(home: tuple[str, ...], date: str | None) -> Identity:
    """Reads patient and visit from the folders of a study; all of them, for `P1/scan` is not `P2/scan`."""
    folders, visits = [*people_folders(home)] or [*home], []
    while len(folders) > 1 and is_visit(folders[-1]):
        visits.insert(0, folders.pop())
    own = identify(folders.pop())
    visit = "_".join(filter(None, [own.visit, *visits])) or date
    return Identity("_".join([*folders, own.patient_id]), visit, "folder")


def _digits(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:6]


def _home(files: Iterable[Path], folder: Path) -> tuple[str, ...]:
    """Returns the folders below the data set's in which all of some files lie."""
    return Path(os.path.commonpath({path.parent for path in files})).relative_to(folder).parts


def _fits(pattern: re.Pattern, called: str, place: str) -> bool:
    return bool(pattern.fullmatch(called) or ("/" in pattern.pattern and pattern.fullmatch(place)))


def _sequences(
    study: "Study", own: DicomLayout, folder: Path
) -> tuple[dict[str, SeriesFiles], tuple[str, ...]]:
    """Returns {sequence: series} of a study, by the rules of `predict`, and what was left out and why."""
    from metseg.data.readers.dicom import choose_series

    pool = [series for series in study.series if series.modality == "MR"] or list(study.series)
    told, unclear = {}, {}
    for sequence, pattern in own.sequences.items():
        places = {series: "/".join(_home(series.files, folder)) for series in pool}
        fitting = [each for each in pool if _fits(pattern, each.description, places[each])]
        if twice := [other for other, series in told.items() if series in fitting]:
            raise MetsegError(
                f"{folder / OWN}: {fitting[0]} fits {twice[0]} and {sequence}; make the patterns differ"
            )
        if len(fitting) == 1:
            told[sequence] = fitting[0]
        else:
            called = ", ".join(repr(each.description) for each in fitting[:_LISTED])
            unclear[sequence] = f"{len(fitting)} series fit {OWN}, {called}; make its pattern narrower"
            if not fitting:
                unclear[sequence] = f"not one series is called as {OWN} says"
    try:
        taken, notes = choose_series(pool, told)
    except MetsegError:
        return {}, tuple(f"{each.description!r}: {each.refusal or each.by}" for each in pool[:_LISTED])
    notes += [f"There is no {sequence}: {why}." for sequence, why in unclear.items()]
    chosen = {name: taken[name] for name in SEQUENCES if name in taken and name not in unclear}
    return chosen, tuple([*notes, *study.beside])


def _reference(study: "Study", own: DicomLayout, folder: Path, case_id: str) -> tuple[Path | None, str]:
    """Returns the SEG or RTSTRUCT of a study, or why there is none."""
    found = [*study.masks]
    if own.reference:
        places = {path: path.relative_to(folder).as_posix() for path in found}
        found = [path for path in found if _fits(own.reference, study.masks[path].called, places[path])]
    if len(found) == 1:
        return found[0], ""
    if found:
        each = [(path.relative_to(folder).as_posix(), study.masks[path].called) for path in found[:_LISTED]]
        some = ", ".join(f"{place} ({called!r})" for place, called in each)
        remedy = f"say which in {OWN} (reference: its description, or its place), or move the others away"
        return None, f"{case_id} has {len(found)} references, {some}; {remedy}"
    others = f"; none of {len(study.masks)} is called as {OWN} says" if study.masks else ""
    where = folder.joinpath(*_home(study.files, folder))
    return None, f"{where} has no reference for {case_id}; add the SEG or RTSTRUCT of this study{others}"


def _guesses(
    cases: list[VolumeFiles], masks: list["MaskHeader"], people: list[tuple[str, Identity]]
) -> list[str]:
    """Returns what was told by headers, counted, as sentences."""
    texts = []
    for sequence in SEQUENCES:
        found = [case.sequences[sequence].description for case in cases if sequence in case.sequences]
        texts.append(f"{sequence} is {counted(found)}")
    parts = [kind_of(text) for mask in masks for text in mask.parts.values()]
    texts.append(f"references mark {counted(parts)}")
    if by_folder := [who for _, who in people if who.by == "folder"]:
        texts.append(f"PatientID says nothing in {len(by_folder)} studies, their folders tell the patient")
    return texts
