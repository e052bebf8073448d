"""Everything that is wrong with a data set, at once."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from metseg.data.cases import CaseFiles, complain_if_incomplete, list_cases
from metseg.data.images import CHANNELS, TIFF_SUFFIXES, checked_image, read_mask, read_pixels
from metseg.data.provenance import Provenance, provenance_of
from metseg.errors import MetsegError
from metseg.files import files_below


@dataclass(frozen=True)
class Finding:
    """Something about the data; an `error` is one with which a run could not be trusted."""

    error: bool
    text: str


@dataclass(frozen=True)
class DataReport:
    """What `check_data` found.

    Attributes:
        cases: One row a scan: case_id, patient_id, slices, tumour_slices, lesion_px, height, width,
            spacing_mm, missing (channels that repeat FLAIR).
        findings: Errors first.
    """

    cases: pd.DataFrame
    findings: tuple[Finding, ...]
    provenance: Provenance

    @property
    def summary(self) -> str:
        """What the data set is, counted, and its caution."""
        patients, slices = self.cases.patient_id.nunique(), self.cases.slices.sum()
        counts = f"{patients} patients, {len(self.cases)} scans, {slices} slices"
        lesions = f"{self.cases.tumour_slices.sum()} with lesion"
        return f"{self.provenance.name}: {counts}, {lesions}. {self.provenance.caution}"

    @property
    def errors(self) -> list[str]:
        """The findings that a run could not be trusted with."""
        return [finding.text for finding in self.findings if finding.error]

    @property
    def notes(self) -> list[str]:
        """The findings that a reader of the results should know of."""
        return [finding.text for finding in self.findings if not finding.error]


def check_data(folder: Path, *, on_case: Callable[[int, int], None] | None = None) -> DataReport:
    """Reads every file of a data set and reports all that is wrong, not the first thing alone.

    Args:
        folder: Folder of scans.
        on_case: Called with (finished, of) after each scan.

    Raises:
        MetsegError: There is no scan in the folder at all, or a scan lies in it twice.
    """
    cases = list_cases(Path(folder))
    findings: list[Finding] = []
    contents: dict[bytes, list[tuple[str, Path]]] = defaultdict(list)
    rows = []
    for k, case in enumerate(cases):
        rows.append(_check_case(case, findings, contents))
        if on_case:
            on_case(k + 1, len(cases))
    if not any(finding.error for finding in findings):  # else a lesion may be in what could not be read
        findings += _few_lesions(rows)
    findings += _ignored_files(Path(folder), cases) + _same_content(contents) + _same_person(cases)
    findings.sort(key=lambda finding: not finding.error)
    return DataReport(pd.DataFrame(rows), tuple(findings), provenance_of(case.case_id for case in cases))


def _few_lesions(rows: list[dict]) -> list[Finding]:
    """Whether `split_by_patient` can give every set a patient with a lesion."""
    patients = {row["patient_id"] for row in rows}
    with_lesion = {row["patient_id"] for row in rows if row["lesion_px"]}
    if len(with_lesion) >= 3 or with_lesion == patients:
        return []
    if not with_lesion:
        return [Finding(True, "no mask marks a lesion; there is nothing to learn")]
    have = "patient has" if len(with_lesion) == 1 else "patients have"
    text = (
        f"{len(with_lesion)} of {len(patients)} {have} a lesion; training, validation and test need one "
        "each: give scans of more patients with a lesion"
    )
    without_test = " (two are enough for a training with test_fraction=0)" * (len(with_lesion) == 2)
    return [Finding(True, text + without_test)]


def _check_case(case: CaseFiles, findings: list[Finding], contents: dict) -> dict:
    tumour_slices = lesion_px = masks = 0
    shapes, spacings, repeats = set(), [], []
    for files in case.slices:
        try:
            complain_if_incomplete(files)
        except MetsegError as error:
            findings.append(Finding(True, str(error)))
        image = None
        if files.image is not None:
            try:
                pixels, spacing = read_pixels(files.image)
                image = checked_image(pixels, str(files.image))
                shapes.add(image.shape[:2])
                spacings.append(spacing)
            except MetsegError as error:
                findings.append(Finding(True, str(error)))
        if image is not None and np.ptp(image) > 0:  # blank slices are alike and tell nothing
            contents[hashlib.sha256(image.tobytes()).digest()].append((case.patient_id, files.image))
            repeats.append(
                {name for c, name in enumerate(CHANNELS) if c != 1 and (image[..., c] == image[..., 1]).all()}
            )
        if files.mask is not None:
            try:
                lesion = int(read_mask(files.mask, None if image is None else image.shape[:2]).sum())
                lesion_px += lesion
                tumour_slices += lesion > 0
                masks += 1
            except MetsegError as error:
                findings.append(Finding(True, str(error)))
    if len(shapes) > 1:
        findings.append(
            Finding(True, f"{case.case_id} has slices of sizes {sorted(shapes)}; export it at one size")
        )
    if len(set(spacings)) > 1:
        findings.append(
            Finding(True, f"{case.case_id} has slices of different spacing; export it with one spacing")
        )
    numbers = [files.slice_index for files in case.slices]
    gaps = [(a + 1, b - 1) for a, b in pairwise(numbers) if b > a + 1]
    if gaps:
        text = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in gaps[:5])
        findings.append(Finding(False, f"{case.case_id} has no slice {text}{', …' * (len(gaps) > 5)}"))
    if lesion_px == 0 and masks == len(case.slices):
        findings.append(
            Finding(False, f"{case.case_id} has no lesion in any slice; its volume Dice is undefined")
        )
    missing = sorted(set.intersection(*repeats)) if repeats else []
    if missing:
        findings.append(
            Finding(False, f"{case.case_id} has no {' and no '.join(missing)}: FLAIR stands in its place")
        )
    if shapes and not repeats:
        findings.append(Finding(False, f"{case.case_id} has nothing but blank slices"))
    height, width = max(shapes, default=(0, 0))
    return {
        "case_id": case.case_id,
        "patient_id": case.patient_id,
        "slices": len(case.slices),
        "tumour_slices": tumour_slices,
        "lesion_px": lesion_px,
        "height": height,
        "width": width,
        "spacing_mm": spacings[0] if spacings else None,
        "missing": ", ".join(missing),
    }


def _ignored_files(folder: Path, cases: list[CaseFiles]) -> list[Finding]:
    known = {path for case in cases for files in case.slices for path in (files.image, files.mask)}
    tiffs = {path for path in files_below(folder) if path.suffix.lower() in TIFF_SUFFIXES}
    ignored = sorted(tiffs - known)
    if not ignored:
        return []
    text = f"{len(ignored)} TIFF files are not named <case>_<slice>.tif and are ignored, such as {ignored[0]}"
    return [Finding(False, text)]


def _same_content(contents: dict[bytes, list[tuple[str, Path]]]) -> list[Finding]:
    findings = []
    for copies in contents.values():
        patients = sorted({patient for patient, _ in copies})
        paths = ", ".join(str(path) for _, path in copies)
        if len(patients) > 1:
            text = f"patients {' and '.join(patients)} share a slice ({paths})"
            findings.append(Finding(True, f"{text}; they may be one person under two names"))
        elif len(copies) > 1:
            findings.append(Finding(False, f"{patients[0]} has the same slice {len(copies)} times ({paths})"))
    return findings


def _same_person(cases: list[CaseFiles]) -> list[Finding]:
    spellings: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for case in cases:
        # Runs of letters and of digits: CS_4941 and cs4941 are one, site1_11 and site11_1 are two.
        spellings[tuple(re.findall(r"[^\W\d_]+|\d+", case.patient_id.lower()))].add(case.patient_id)
    return [
        Finding(True, f"{' and '.join(sorted(names))} look like one patient; give each person one name")
        for names in spellings.values()
        if len(names) > 1
    ]
