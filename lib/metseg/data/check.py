"""Everything that is wrong with a data set, at once."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import files_below
from metseg.data.cases import CaseFiles, complain_if_incomplete, how_read, list_cases
from metseg.data.check_people import Finding, SeenContents
from metseg.data.check_pixels import Fault, SlicePixels, faults_of, label_sentences, sentences
from metseg.data.content import files_of
from metseg.data.provenance import Provenance, provenance_of
from metseg.data.readers.images import IMAGE_SUFFIXES, read_image, read_labels
from metseg.data.volume import CHANNELS

_MANY = 4  # files that are told in one sentence


@dataclass(frozen=True)
class DataReport:
    """What `check_data` found.

    Attributes:
        cases: One row a scan: case_id, patient_id, visit, told_by (what told the person), slices,
            tumour_slices, lesion_px, height, width, spacing_mm, missing (channels that repeat FLAIR).
        findings: Errors first.
        provenance: What the data set is.
        how_read: How files became scans.
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
        few = " Three patients are needed to train on." if patients < 3 else ""
        return f"{self.provenance.name}: {counts}, {lesions}. {self.provenance.caution}{few}"

    @property
    def errors(self) -> list[str]:
        """The findings that a run could not be trusted with."""
        return [finding.text for finding in self.findings if finding.error]

    @property
    def notes(self) -> list[str]:
        """The findings that a reader of the results should know of."""
        return [finding.text for finding in self.findings if not finding.error]


@dataclass
class _Found:
    """What is found as scans are read; some of it is told once for all of them."""

    findings: list[Finding] = field(default_factory=list)
    contents: SeenContents = field(default_factory=SeenContents)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)  # a file and the sentence on it
    faults: list[Fault] = field(default_factory=list)
    labels: list[tuple[Path, float]] = field(default_factory=list)  # a mask and the number that it marks with

    def error(self, text: str) -> None:
        self.findings.append(Finding(True, text))

    def note(self, text: str) -> None:
        self.findings.append(Finding(False, text))

    @contextmanager
    def reading(self, path: Path) -> Iterator[None]:
        """Takes note of a file that cannot be read."""
        try:
            yield
        except MetsegError as error:
            self.unreadable.append((path, str(error)))


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
    cases, found, rows = list_cases(Path(folder), pattern=pattern), _Found(), []
    for k, case in enumerate(cases):
        rows.append(_check_case(case, found))
        if on_case:
            on_case(k + 1, len(cases))
    findings = list(found.findings)
    if not any(finding.error for finding in findings) and not found.unreadable:
        findings += _few_lesions(rows)  # else a lesion may be in what could not be read
    findings += _ignored_files(Path(folder), cases) + found.contents.findings(cases)
    told = sentences(found.faults, len(cases)) + label_sentences(found.labels)
    findings += _alike_once(found.unreadable) + [Finding(*each) for each in told]
    findings.sort(key=lambda finding: not finding.error)
    provenance = provenance_of(case.case_id for case in cases)
    return DataReport(pd.DataFrame(rows), tuple(findings), provenance, how_read(cases))


def _few_lesions(rows: list[dict]) -> list[Finding]:
    """Whether `split_by_patient` can give every set a patient with a lesion."""
    patients = {row["patient_id"] for row in rows}
    with_lesion = {row["patient_id"] for row in rows if row["lesion_px"]}
    if not with_lesion:
        return [Finding(True, "no mask marks a lesion; there is nothing to learn")]
    if len(with_lesion) >= 3 or with_lesion == patients:
        return []
    text = f"{len(with_lesion)} of {len(patients)} patients have a lesion"
    text += "; training, validation and test need one each: give scans of more patients with a lesion"
    without_test = " (two are enough for a training with test_fraction=0)" * (len(with_lesion) == 2)
    return [Finding(True, text + without_test)]


def _check_case(case: CaseFiles, found: _Found) -> dict:
    tumour_slices = lesion_px = masks = 0
    shapes, spacings, repeats, slices = set(), [], [], []
    for files in case.slices:
        image = labels = None
        with found.reading(files.image or files.mask):
            complain_if_incomplete(files)
        if files.image is not None:
            with found.reading(files.image):
                volume = read_image(files.image)
                image = volume.channels_last[0]
                shapes.add(image.shape[:2])
                spacings.append(volume.spacing_mm)
        if image is not None and np.ptp(image) > 0:  # blank slices are alike and tell nothing
            found.contents.image(case.patient_id, files.image, image)
            flair = image[..., CHANNELS.index("FLAIR")]
            alike = (image == flair[..., None]).all(axis=(0, 1))
            repeats.append({name for name, same in zip(CHANNELS, alike, strict=True) if same} - {"FLAIR"})
        if files.mask is not None:
            with found.reading(files.mask):
                labels = read_labels(files.mask, None if image is None else image.shape[:2])
                lesion = np.count_nonzero(labels)
                found.contents.mask(case.patient_id, files.mask, labels > 0)
                lesion_px += lesion
                tumour_slices += lesion > 0
                masks += 1
                if lesion:
                    found.labels.append((files.mask, float(labels.max())))
        slices.append(SlicePixels(files.image, image, files.mask, labels))
    found.faults.extend(faults_of(case.case_id, slices))
    if len(shapes) > 1:
        found.error(f"{case.case_id} has slices of sizes {sorted(shapes)}; export it at one size")
    if len(set(spacings)) > 1:
        found.error(f"{case.case_id} has slices of different spacing; export it with one spacing")
    numbers = [files.slice_index for files in case.slices]
    gaps = [(a + 1, b - 1) for a, b in pairwise(numbers) if b > a + 1]
    if gaps:
        text = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in gaps[:5])
        found.note(f"{case.case_id} has no slice {text}{', …' * (len(gaps) > 5)}")
    if lesion_px == 0 and masks == len(case.slices):
        found.note(f"{case.case_id} has no lesion in any slice; its volume Dice is undefined")
    missing = sorted(set.intersection(*repeats)) if repeats else []
    if missing:
        found.note(f"{case.case_id} has no {' and no '.join(missing)}: FLAIR stands in its place")
    height, width = max(shapes, default=(0, 0))
    who = {name: getattr(case, name) for name in ("case_id", "patient_id", "visit", "told_by")}
    counts = {"slices": len(slices), "tumour_slices": tumour_slices, "lesion_px": lesion_px}
    spacing = spacings[0] if spacings else None
    return (
        who
        | counts
        | {"height": height, "width": width, "spacing_mm": spacing}
        | {"missing": ", ".join(missing)}
    )


def _alike_once(unreadable: list[tuple[Path, str]]) -> list[Finding]:
    """Tells of files that are refused, once where many are refused for the same reason."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for path, text in unreadable:
        by_reason[text.replace(str(path), "").replace(path.stem, "")].append(text)
    findings = []
    for texts in by_reason.values():
        few = texts if len(texts) < _MANY else [f"{texts[0]}; so it is with {len(texts) - 1} files more"]
        findings += [Finding(True, text) for text in few]
    return findings


def _ignored_files(folder: Path, cases: list[CaseFiles]) -> list[Finding]:
    images = {path for path in files_below(folder) if path.suffix.lower() in IMAGE_SUFFIXES}
    ignored = sorted(images - set(files_of(cases)))
    if not ignored:
        return []
    text = (
        f"{len(ignored)} image files are ignored, such as {ignored[0]}: their names are not <scan>_<slice>, "
        "or they are pictures beside TIFF slices"
    )
    return [Finding(False, text)]
