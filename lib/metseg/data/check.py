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
from metseg.data.cases import CaseFiles, how_read, list_cases
from metseg.data.check_people import Finding, Seen, doubtful, same_contents, take_note
from metseg.data.check_pixels import SlicePixels, pixel_findings
from metseg.data.check_volumes import check_volumes
from metseg.data.content import files_of
from metseg.data.missing_sequences import keep_usable
from metseg.data.own_results import complain_if_result, is_result
from metseg.data.provenance import Provenance, provenance_of
from metseg.data.readers.images import IMAGE_SUFFIXES, complain_of_classes, read_image, read_labels
from metseg.data.scan import is_dicom
from metseg.data.split import split_by_patient
from metseg.data.volume import CHANNELS, NEVER_MISSING
from metseg.data.volume_files import is_nifti

_MANY = 4  # findings of one kind that are told in one sentence


def _never_missing(cases: list[CaseFiles]) -> str:
    """Returns the sequence that no scan may lack, by which there are any left for a training."""
    return "t1c" if all(NEVER_MISSING in case.missing for case in cases) else NEVER_MISSING


@dataclass(frozen=True)
class DataReport:
    """What `check_data` found.

    Attributes:
        cases: One row a scan: case_id, patient_id, visit, told_by (what told the person), slices,
            tumour_slices, lesion_px, height, width, spacing_mm, missing (channels that repeat FLAIR).
    """

    cases: pd.DataFrame
    findings: tuple[Finding, ...]  # errors first
    provenance: Provenance
    how_read: str  # how files became scans

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
        return [finding.text for finding in self.findings if finding.error]

    @property
    def notes(self) -> list[str]:
        return [finding.text for finding in self.findings if not finding.error]


@dataclass
class _Found:
    """What is found as scans are read; some of it is told once for all of them."""

    findings: list[Finding] = field(default_factory=list)
    contents: Seen = field(default_factory=dict)
    labels: dict[float, Path] = field(default_factory=dict)  # a number that masks mark with and one of them

    @contextmanager
    def complaints(self, path: Path) -> Iterator[None]:
        """Takes note of what is complained of, a file that cannot be read above all."""
        try:
            yield
        except MetsegError as error:
            kind = str(error).replace(str(path), "").replace(path.stem, "")
            finding = Finding(True, str(error), kind)
            self.findings += [finding] * (finding not in self.findings)


def check_data(
    folder: Path,
    *,
    pattern: str | None = None,
    target: str = "",
    allow_missing: bool = False,
    on_case: Callable[[int, int], None] | None = None,
    on_file: Callable[[int, int], None] | None = None,
) -> DataReport:
    """Reads every file of a data set and reports all that is wrong, not the first thing alone.

    Args:
        folder: Folder of scans.
        pattern: Regular expression that tells who is who, see `patients.by_pattern`.
        target: What is a lesion where references have several labels, see `list_cases`.
        allow_missing: Whether a training would keep scans that lack a sequence, see `keep_usable`.
        on_case: Called with (finished, of) after each scan.
        on_file: See `list_cases`.

    Raises:
        MetsegError: There is no scan in the folder at all, or a scan lies in it twice.
    """
    folder, found, rows = Path(folder), _Found(), []
    cases = list_cases(folder, pattern=pattern, target=target, on_file=on_file)
    for k, case in enumerate(cases):
        if case.volumes:
            row = check_volumes(case, found.findings, found.contents, found.complaints)
        else:
            row = _check_slices(case, found)
        who = {name: getattr(case, name) for name in ("case_id", "patient_id", "visit", "told_by")}
        rows.append(who | row)
        if on_case:
            on_case(k + 1, len(cases))
    table, kept = pd.DataFrame(rows), []
    with found.complaints(folder):
        never = _never_missing(cases) if allow_missing else NEVER_MISSING
        kept, notes = keep_usable(cases, allow_missing=allow_missing, never_missing=(never,))
        if never != NEVER_MISSING:
            notes.append(f"these scans can be used in trainings with never_missing={never} alone")
        found.findings += [Finding(False, note) for note in notes]
    learned = table[table.case_id.isin([case.case_id for case in kept])]
    if learned.patient_id.nunique() >= 3 and not any(finding.error for finding in found.findings):
        with found.complaints(folder):
            with_lesion = learned.patient_id[learned.lesion_px > 0]
            split_by_patient(learned.patient_id, with_lesion=with_lesion, fingerprint="")
    if len(table) and not table.lesion_px.any() and not any(finding.error for finding in found.findings):
        text = f"not one reference in {folder} marks a lesion; see what the target and layout.yml call one"
        found.findings.append(Finding(True, text))
    with found.complaints(folder):
        some = ", ".join(str(path) for _, path in sorted(found.labels.items()))
        complain_of_classes({*found.labels}, f"masks such as {some}")
    findings = found.findings + same_contents(found.contents)
    findings += [Finding(True, text) for text in doubtful(cases)]
    others = {*files_below(folder)} - {*files_of(cases)}
    images = {each for each in others if each.suffix.lower() in IMAGE_SUFFIXES or is_nifti(each)}
    are_dicom = any(case.volumes and case.volumes.is_dicom for case in cases)
    if not are_dicom and (dicom := sum(map(is_dicom, others - images))):
        text = f"{dicom} files of DICOM are not read beside other scans; give their folder by itself"
        findings.append(Finding(False, text))
    if ignored := sorted(each for each in images if not is_result(each)):
        text = f"{len(ignored)} image files are ignored, such as {ignored[0]}: their names are not "
        names = "those of a case's sequences and reference" if cases[0].volumes else "<scan>_<slice>"
        findings.append(Finding(False, f"{text}{names}, or they are pictures beside the scans"))
    provenance = provenance_of(case.case_id for case in cases)
    return DataReport(table, _folded(findings), provenance, how_read(cases))


def _folded(findings: list[Finding]) -> tuple[Finding, ...]:
    """Returns the findings, errors first; of many of one kind the first stands for all."""
    by_kind: dict[object, list[Finding]] = defaultdict(list)
    for k, finding in enumerate(findings):
        by_kind[finding.kind or k].append(finding)
    told = []
    for alike in by_kind.values():
        more = f"; so it is with {len(alike) - 1} more"
        told += alike if len(alike) < _MANY else [alike[0]._replace(text=alike[0].text + more)]
    return tuple(sorted(told, key=lambda finding: not finding.error))


def _check_slices(case: CaseFiles, found: _Found) -> dict:
    """Reads one scan of slices and returns its row of `DataReport.cases`, but for who is who."""
    shapes, spacings, repeats, lesions, slices = [], [], [], [], []
    for files in case.slices:
        image = labels = None
        with found.complaints(files.image or files.mask):
            files.complain_if_incomplete()
        if files.image is not None:
            with found.complaints(files.image):
                volume = read_image(files.image)
                image = volume.channels_last[0]
                shapes.append(image.shape[:2])
                spacings.append(volume.spacing_mm)
        if image is not None and np.ptp(image) > 0:  # blank slices tell nothing
            take_note(found.contents, "slice", image, case.patient_id, files.image)
            flair = image[..., CHANNELS.index("FLAIR")]
            alike = (image == flair[..., None]).all(axis=(0, 1))
            repeats.append({name for name, same in zip(CHANNELS, alike, strict=True) if same} - {"FLAIR"})
        if files.mask is not None:
            with found.complaints(files.mask):
                labels = read_labels(files.mask, None if image is None else image.shape[:2])
                take_note(found.contents, "mask", labels > 0, case.patient_id, files.mask)
                lesions.append(np.count_nonzero(labels))
                found.labels |= {float(labels.max()): files.mask} if lesions[-1] else {}
        slices.append(SlicePixels(files.image, image, files.mask, labels))
    if first := case.slices[0].mask:
        with found.complaints(first):
            complain_if_result(first)
    numbers = [files.slice_index for files in case.slices]
    gaps = [f"{a + 1} to {b - 1}" if b > a + 2 else f"{a + 1}" for a, b in pairwise(numbers) if b > a + 1]
    missing = sorted(set.intersection(*repeats)) if repeats else []
    rules = (
        (True, len(set(shapes)) > 1, f"slices of sizes {sorted(set(shapes))}; export it at one size"),
        (True, len(set(spacings)) > 1, "slices of different spacing; export it with one spacing"),
        (False, gaps, f"no slice {', '.join(gaps[:5])}{', …' * (len(gaps) > 5)}"),
        (False, lesions == [0] * len(slices), "no lesion in any slice; its volume Dice is undefined"),
        (False, missing, f"no {' and no '.join(missing)}: FLAIR stands in its place"),
    )
    found.findings += [
        Finding(error, f"{case.case_id} has {text}") for error, broken, text in rules if broken
    ]
    found.findings += pixel_findings(case.case_id, slices)
    height, width = max(shapes, default=(0, 0))
    return {
        "slices": len(slices),
        "tumour_slices": np.count_nonzero(lesions),
        "lesion_px": sum(lesions),
        "height": height,
        "width": width,
        "spacing_mm": spacings[0] if spacings else None,
        "missing": ", ".join(missing),
    }
