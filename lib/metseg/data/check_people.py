"""Whether people who count as several are one: by their names, their slices, their masks."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metseg.data.cases import CaseFiles
from metseg.data.layouts.dicom import HEADER, NOTHING
from metseg.data.patients import KNOWN, TABLE, identify, spelling_of

_LAST_PART = re.compile(r"[\W_]((?=\w*\d)(?=\w*[^\W\d_])[^\W_]+)$")  # `A_P1` and `B_P1` have one
_TELLING_PX = 20


class Finding(NamedTuple):
    """Something about the data.

    Attributes:
        error: Whether a run could not be trusted with it.
        text: A sentence.
        kind: Where many findings are of one kind, the first stands for all.
    """

    error: bool
    text: str
    kind: str = ""


Seen = dict[tuple[str, bytes], list[tuple[str, Path]]]  # what (slice, mask) and its hash → patients and files


def take_note(seen: Seen, what: str, pixels: np.ndarray, patient_id: str, path: Path) -> None:
    """Takes note of a `slice`, (H, W, 3), or a `mask`, (H, W) bool, if it can tell people apart."""
    # Blank slices are alike, and a small mask may be the same in two people by chance.
    if (pixels != pixels.flat[0]).any() and (what == "slice" or np.count_nonzero(pixels) >= _TELLING_PX):
        key = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        seen.setdefault((what, key), []).append((patient_id, path))


def same_contents(seen: Seen) -> list[Finding]:
    """Returns who has the same slice or mask, once for a group of people."""
    findings: dict[tuple[str, tuple[str, ...]], Finding] = {}
    for (what, _), copies in seen.items():
        patients, paths = sorted({who for who, _ in copies}), ", ".join(str(path) for _, path in copies)
        if len(patients) > 1:
            text = f"patients {' and '.join(patients)} have the same {what} ({paths})"
            text += "; they may be one person under two names, or a file was copied"
            findings.setdefault((what, tuple(patients)), Finding(True, text))
        elif len(copies) > 1 and what == "slice":
            text = f"{patients[0]} has the same slice again ({paths})"
            findings.setdefault((what, tuple(patients)), Finding(False, text))
    return list(findings.values())


def doubtful(cases: Iterable[CaseFiles]) -> list[str]:
    """Tells who may be one person though counted as several, by spelling, a stem, or a folder in common.

    Whom a public data set's name tells is not doubted, nor a group that `patients.csv` or a pattern tells. A
    PatientID is, where it holds a visit, where nothing but one tells people apart, or where there is none.

    Returns:
        A sentence for each group, with its remedy.
    """
    cases = list(cases)
    patients = {case.patient_id for case in cases}
    told = {case.patient_id for case in cases if case.told_by in ("pattern", TABLE)}
    groups: dict[tuple[str, str], set[str]] = defaultdict(set)
    for case in cases:
        patient = case.patient_id
        if case.told_by == HEADER:
            groups["PatientID but for a visit", identify(patient).patient_id].add(patient)
        if case.told_by in (*KNOWN, HEADER, NOTHING):
            continue
        for name in {patient, case.case_id} if patient in told else {patient}:
            for stem in _stems(name):
                groups["stem", stem] |= {patient} | ({stem} & patients)
        if last := _LAST_PART.search(patient):
            groups["ending", last[1]].add(patient)
        for depth in range(len(case.folders)):
            groups["folder", "/".join(case.folders[: depth + 1])].add(patient)
    for name in patients:
        groups["spelling", re.sub(r"(?<!\d)0+(?=\d)", "", spelling_of(name))].add(name)
    texts = {}
    by = {case.told_by for case in cases}
    if NOTHING in by:
        some = ", ".join(sorted(case.case_id for case in cases if case.told_by == NOTHING)[:3])
        texts["nobody"] = (
            f"{some} and others that lie with them have no PatientID that tells whose they are; give each "
            f"patient a folder, or say it in {TABLE} (metseg check-data --write-patients begins one)"
        )
    if by == {HEADER} and len(patients) == 1 < len(cases):
        texts["one"] = (
            f"all {len(cases)} scans have PatientID {min(patients)}: one patient's visits, or many patients "
            f"under one ID; say who is who in {TABLE} (metseg check-data --write-patients begins one)"
        )
    for (kind, name), group in groups.items():
        # A stem or a folder that all have in common is the data set's, not a person's.
        common = group == patients and kind != "spelling" and name not in patients
        # But `P1_A` and `P1_B` may be one, as what follows the stem is no number; not `study24_01`.
        numbered = any(re.search(r"\d", each[len(name) :]) for each in group)
        common &= not (kind == "stem" and re.search(r"\d", name) and not numbered)
        if len(group) < 2 or common or group <= told or frozenset(group) in texts:
            continue
        some = sorted(group)
        names = " and ".join(some) if len(some) == 2 else f"{', '.join(some[:3])}{', …' * (len(some) > 3)}"
        what = (
            "differ in spelling or leading zeros alone" if kind == "spelling" else f"share the {kind} {name}"
        )
        texts[frozenset(group)] = (
            f"{names} count as {len(some)} people but {what}; if they are one person, or if "
            f"they are not, say so in {TABLE} (metseg check-data --write-patients begins one)"
        )
    return list(texts.values())


def _stems(patient_id: str) -> list[str]:
    """Returns what is left of a name without its last parts: `P1_A` → `P1`, `P1v2` and `P1b` → `P1`."""
    stems = [patient_id[: cut.start()] for cut in re.finditer(r"[\W_]+(?=[^\W_])", patient_id)]
    if lettered := re.fullmatch(r"(.*\d)[A-Za-z]+\d*", patient_id):
        stems.append(lettered[1])
    return [stem for stem in stems if re.search(r"[^\W_]", stem)]
