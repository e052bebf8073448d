"""Everything that is wrong with a data set, at once."""

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from metseg.data.cases import CaseFiles, complain_if_incomplete, doubtful, how_read, list_cases
from metseg.data.images import CHANNELS, IMAGE_SUFFIXES, checked_image, read_mask, read_pixels
from metseg.data.patients import spellings
from metseg.data.provenance import Provenance, provenance_of
from metseg.errors import MetsegError
from metseg.files import files_below

_TELLING_PX = 20  # a smaller mask may be the same in two people by chance


@dataclass(frozen=True)
class Finding:
    """Something about the data; an `error` is one with which a run could not be trusted."""

    error: bool
    text: str


@dataclass(frozen=True)
class DataReport:
    """What `check_data` found.

    Attributes:
        cases: One row a scan: case_id, patient_id, visit, told_by (what told the person), slices,
            tumour_slices, lesion_px, height, width, spacing_mm, missing (channels that repeat FLAIR).
        findings: Errors first.
        provenance: What the data set is.
        how_read: How files became scans, in words.
    """

    cases: pd.DataFrame
    findings: tuple[Finding, ...]
    provenance: Provenance
    how_read: str

    @property
    def people(self) -> pd.DataFrame:
        """Who is who: one row a patient with the scans, their visits, and what told the person."""
        told = self.cases.assign(visit=self.cases.visit.fillna("-"))
        columns = {"case_id": "scans", "visit": "visits", "told_by": "told by"}
        by_patient = told.groupby("patient_id", sort=True)[list(columns)]
        people = by_patient.agg(lambda values: ", ".join(dict.fromkeys(values)))
        return people.rename(columns=columns).reset_index()

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


def check_data(
    folder: Path, *, pattern: str | None = None, on_case: Callable[[int, int], None] | None = None
) -> DataReport:
    """Reads every file of a data set and reports all that is wrong, not the first thing alone.

    Args:
        folder: Folder of scans.
        pattern: Regular expression that tells who is who, see `patients.by_pattern`.
        on_case: Called with (finished, of) after each scan.

    Raises:
        MetsegError: There is no scan in the folder at all, or a scan lies in it twice.
    """
    cases = list_cases(Path(folder), pattern=pattern)
    findings: list[Finding] = []
    contents, masks = defaultdict(list), defaultdict(list)
    rows = []
    for k, case in enumerate(cases):
        rows.append(_check_case(case, findings, contents, masks))
        if on_case:
            on_case(k + 1, len(cases))
    findings += _ignored_files(Path(folder), cases) + _same_content(contents) + _same_masks(masks)
    findings += [Finding(True, text) for text in doubtful(cases)] + _spellings(cases)
    if not any(row["lesion_px"] for row in rows) and not any(finding.error for finding in findings):
        findings.append(Finding(True, "no mask marks a lesion; there is nothing to learn"))
    findings.sort(key=lambda finding: not finding.error)
    provenance = provenance_of(case.case_id for case in cases)
    return DataReport(pd.DataFrame(rows), tuple(findings), provenance, how_read(cases))


# What is found in several places: hash of the content → [(patient, path)].
Contents = dict[bytes, list[tuple[str, Path]]]


def _check_case(case: CaseFiles, findings: list[Finding], contents: Contents, masks_of: Contents) -> dict:
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
                mask = read_mask(files.mask, None if image is None else image.shape[:2])
                lesion = int(mask.sum())
                if lesion >= _TELLING_PX and lesion < mask.size:
                    key = hashlib.sha256(repr(mask.shape).encode() + np.packbits(mask).tobytes()).digest()
                    masks_of[key].append((case.patient_id, files.mask))
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
        "visit": case.visit,
        "told_by": case.told_by,
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
    images = {path for path in files_below(folder) if path.suffix.lower() in IMAGE_SUFFIXES}
    ignored = sorted(images - known)
    if not ignored:
        return []
    text = (
        f"{len(ignored)} image files are ignored, such as {ignored[0]}: their names are not <scan>_<slice>, "
        "or they are pictures beside TIFF slices"
    )
    return [Finding(False, text)]


def _same_content(contents: Contents) -> list[Finding]:
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


def _same_masks(masks: Contents) -> list[Finding]:
    """Tells people whose lesions have the same outline to the pixel, once a pair."""
    found: dict[tuple[str, ...], list[Path]] = {}
    for copies in masks.values():
        patients = tuple(sorted({patient for patient, _ in copies}))
        if len(patients) > 1:
            found.setdefault(patients, [path for _, path in copies])
    return [
        Finding(
            True,
            f"patients {' and '.join(patients)} have the same mask ({', '.join(map(str, paths))}); they may "
            "be one person under two names, or a mask was copied",
        )
        for patients, paths in found.items()
    ]


def _spellings(cases: list[CaseFiles]) -> list[Finding]:
    alike, zeros = spellings(case.patient_id for case in cases)
    errors = [f"{' and '.join(names)} look like one patient; give each person one name" for names in alike]
    notes = [f"{' and '.join(names)} differ by zeros alone; are they one patient?" for names in zeros]
    return [Finding(True, text) for text in errors] + [Finding(False, text) for text in notes]
