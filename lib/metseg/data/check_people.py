"""Whether people who count as several are one: by their names, their slices, their masks."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metseg.data.cases import CaseFiles, doubtful
from metseg.data.patients import differing_by_zeros

_GUESSED = ("date", "visit", "sequence", "folder")  # by these a person's visits were told
_MANY_VISITS = 3
_TELLING_PX = 20  # a smaller mask may be the same in two people by chance


class Finding(NamedTuple):
    """Something about the data; an `error` is one with which a run could not be trusted."""

    error: bool
    text: str


Places = dict[bytes, list[tuple[str, Path]]]  # hash of a content → the patients and files that have it


@dataclass(frozen=True)
class SeenContents:
    """What slices and masks of a data set hold, by hash, as they are read."""

    images: Places = field(default_factory=lambda: defaultdict(list))
    masks: Places = field(default_factory=lambda: defaultdict(list))

    def image(self, patient_id: str, path: Path, image: np.ndarray) -> None:
        """Takes note of a slice, (H, W, 3) uint8."""
        self.images[_key(image)].append((patient_id, path))

    def mask(self, patient_id: str, path: Path, mask: np.ndarray) -> None:
        """Takes note of a mask, (H, W) bool, if it can tell one person from another."""
        if _TELLING_PX <= np.count_nonzero(mask) < mask.size:
            self.masks[_key(mask)].append((patient_id, path))

    def findings(self, cases: Sequence[CaseFiles]) -> list[Finding]:
        """Returns who may be one person, by all that was noted and by the names."""
        doubts = [Finding(True, text) for text in doubtful(cases)]
        return _same_slices(self.images) + _same_masks(self.masks) + doubts + _notes(cases)


def _key(pixels: np.ndarray) -> bytes:
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()


def _copies(places: Places) -> Iterator[tuple[tuple[str, ...], int, str]]:
    """Yields for each content that is there twice whose it is, how often, and in which files."""
    for copies in places.values():
        if len(copies) > 1:
            patients = tuple(sorted({patient for patient, _ in copies}))
            yield patients, len(copies), ", ".join(str(path) for _, path in copies)


def _same_slices(places: Places) -> list[Finding]:
    findings = []
    for patients, times, paths in _copies(places):
        if len(patients) > 1:
            text = f"patients {' and '.join(patients)} share a slice ({paths})"
            findings.append(Finding(True, f"{text}; they may be one person under two names"))
        else:
            findings.append(Finding(False, f"{patients[0]} has the same slice {times} times ({paths})"))
    return findings


def _same_masks(places: Places) -> list[Finding]:
    """Tells people whose lesions have the same outline to the pixel, once a group of people."""
    found: dict[tuple[str, ...], str] = {}
    for patients, _, paths in _copies(places):
        if len(patients) > 1:
            found.setdefault(patients, paths)
    why = "they may be one person under two names, or a mask was copied"
    return [
        Finding(True, f"patients {' and '.join(patients)} have the same mask ({paths}); {why}")
        for patients, paths in found.items()
    ]


def _notes(cases: Sequence[CaseFiles]) -> list[Finding]:
    """Tells what nobody can know by the names alone."""
    notes = [
        f"{' and '.join(names)} differ by zeros alone; are they one patient?"
        for names in differing_by_zeros(case.patient_id for case in cases)
    ]
    scans: dict[tuple[str, str], list[str]] = defaultdict(list)
    for case in cases:
        scans[case.patient_id, case.told_by].append(case.case_id)
    for (patient_id, told_by), names in scans.items():
        if told_by in _GUESSED and len(names) >= _MANY_VISITS:
            notes.append(
                f"{patient_id} has {len(names)} scans, told by {told_by} ({names[0]}, {names[1]}, …): if "
                "these are several people, say so in patients.csv"
            )
    return [Finding(False, text) for text in notes]
