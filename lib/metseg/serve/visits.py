"""Two visits of one patient: whether they are one person's, which is the earlier one, and what changed."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from metseg.base.errors import MetsegError
from metseg.data.patients import identify
from metseg.data.scan import Scan
from metseg.data.scan_inputs import OpenScan
from metseg.inference.predictor import Predictor
from metseg.reports.follow_up import FollowUp
from metseg.reports.lesion_report import Origin
from metseg.reports.matching import Visit
from metseg.reports.patient import compare_visits, is_later, reading_notes, unlike
from metseg.reports.results import Segmented, segment
from metseg.serve.reference_volume import read_reference_volume
from metseg.serve.sequence_names import NAMELESS, case_of
from metseg.serve.unpacking import SentFile, unpacked
from metseg.serve.upload import Refused
from metseg.serve.volume_upload import VolumeUpload

_MASK, _RECORD = "_mask.nii.gz", "_report/report.json"  # in the ZIP of results


class KeptVisit(NamedTuple):
    """One visit, and what tells whose and of when it is.

    Attributes:
        found: The scan with its lesions.
        patient: The person; "" where nothing tells.
        told_by: What tells the person.
        date: YYYYMMDD; "" where neither a DICOM header nor a report of metseg tells it.
    """

    found: Segmented
    patient: str
    told_by: str
    date: str

    @classmethod
    def of(cls, found: Segmented) -> "KeptVisit":
        """Takes a scan that was opened, with what its headers or else its name tell."""
        scan = found.scan
        if scan.series is not None:
            return cls(found, scan.series.patient_id, "its PatientID", scan.series.visit or "")
        patient = "" if scan.patient_id == NAMELESS else scan.patient_id
        return cls(found, patient, "its files' names", "")

    @property
    def name(self) -> str:
        """The visit's date, else what its name tells, else the scan's name."""
        when = self.date or self.found.scan.visit or self.found.scan.case_id
        return f"{when[:4]}-{when[4:6]}-{when[6:]}" if self.date and len(when) == 8 else when

    @property
    def is_mask(self) -> bool:
        """Whether there is no scan, but a mask alone."""
        return self.found.scan.scan.grid_of == ""


class Compared(NamedTuple):
    """Two visits, the earlier one first, and what changed.

    Attributes:
        cautions: Why a change may be none, as sentences; `changes` has more.
        notes: How both were read, as sentences.
    """

    found: tuple[Segmented, Segmented]
    changes: FollowUp
    cautions: list[str]
    notes: list[str]


def read_visit(files: Sequence[SentFile], predictor: Predictor, home: Path | None = None) -> KeptVisit:
    """Reads a visit: a scan, which is segmented; its mask alone; or the ZIP of results that metseg makes.

    Args:
        files: As they were sent. One NIfTI file alone is a mask.
        predictor: What segments a scan.
        home: As in `VolumeUpload`.

    Raises:
        MetsegError: As by `VolumeUpload`; or there is a report without a mask.
    """
    if all(name.lower().endswith(".json") for name, _ in files):
        told = (
            "A report tells the lesions' sizes, not where they end; give the ZIP that holds it, or the mask"
        )
        raise Refused("unusable_volume", told)
    if results := _results(files):
        return _of_mask(*results)
    with VolumeUpload(files, home=home) as upload:
        if len(upload.nifti) == 1:
            (name,) = upload.nifti
            return _of_mask(name, upload.content_of(name))
        return KeptVisit.of(segment(upload.open(), predictor, trust_anyway=True))


def doubt_of(one: KeptVisit, other: KeptVisit) -> str:
    """Returns why two visits may be of two people; "" where both name the same one."""
    if one.patient and one.patient == other.patient:
        return ""
    told = [
        f"{each.name} is of {each.patient} by {each.told_by}"
        if each.patient
        else f"nothing tells whose {each.name} is"
        for each in (one, other)
    ]
    which = (
        "These seem to be two people"
        if one.patient and other.patient
        else "It is not sure that this is one person"
    )
    return f"{which}: {'; '.join(told)}."


def in_order(kept: KeptVisit, now: KeptVisit, *, is_former: bool) -> tuple[tuple[KeptVisit, KeptVisit], str]:
    """Tells which of two visits is the earlier one.

    Args:
        kept, now: The visits.
        is_former: Whether the visitor says that the kept one is; where both have dates, these decide.

    Returns:
        The earlier and the later one, and what tells the order, as a sentence.
    """
    has_dates = bool(kept.date and now.date and kept.date != now.date)
    pair = (kept, now) if (kept.date < now.date if has_dates else is_former) else (now, kept)
    if has_dates:
        return pair, "The order is that of the study dates."
    why = "Both have one date" if kept.date and now.date else "No date tells the order"
    told = f"{why}: it is as you say."
    if None not in (names := [each.found.scan.visit for each in pair]) and is_later(*names):
        told += f" Their names say otherwise: {names[0]} is taken as earlier than {names[1]}."
    return pair, told


def compare(pair: tuple[KeptVisit, KeptVisit], *, register: bool = False) -> Compared:
    """Compares two visits, the earlier one first.

    Raises:
        MetsegError: They are the same scan, or cannot be laid on each other; see `follow_up`.
    """
    one, other = (each.found.visit.volume for each in pair)
    if not any(each.is_mask for each in pair) and one.grid == other.grid and (one.array == other.array).all():
        raise MetsegError("both visits are the same scan; open another visit of the patient")
    names = [each.name for each in pair]
    if names[0] == names[1]:
        names = [each.found.scan.case_id for each in pair]
    if names[0] == names[1]:
        names = [f"{names[0]} ({which})" for which in ("earlier", "later")]
    found = tuple(
        each.found._replace(visit=replace(each.found.visit, name=name))
        for each, name in zip(pair, names, strict=True)
    )
    changes = compare_visits(found, register=register)
    by = [each.found.origin.network for each in pair]
    cautions = unlike(found)
    if any(each.found.prob_map is None for each in pair):
        cautions.append(
            f"The lesions of {names[0]} are marked by {by[0]}, those of {names[1]} by {by[1]}: where the two "
            "differ, that looks like growth or shrinkage."
        )
    return Compared(found, changes, cautions, reading_notes(found))


def rows_of(changes: FollowUp) -> list[dict]:
    """Returns what became of each lesion as plain values, mm, mm³ and percent; None where there is none."""
    return [
        {
            "kind": each.kind,
            "former": list(each.former),
            "now": list(each.now),
            "former_mm": each.former_mm if each.former else None,
            "now_mm": each.now_mm if each.now else None,
            "growth_mm": each.growth_mm if each.former and each.now else None,
            "growth_percent": each.growth_percent if each.now else None,
            "former_mm3": each.former_mm3 if each.former else None,
            "now_mm3": each.now_mm3 if each.now else None,
            "volume_percent": each.volume_growth_percent if each.now else None,
        }
        for each in changes.changes
    ]


def _results(files: Sequence[SentFile]) -> tuple[str, bytes, dict] | None:
    """Returns name, mask and record of a ZIP of results; None of anything else."""
    mask = record = None
    for name, content in unpacked(files):
        if name.endswith(_MASK) and "/" not in name:
            mask = name, content
        elif name.endswith(_RECORD) and name.count("/") == 1:
            record = content
        elif mask is None and content[128:132] == b"DICM":
            return None
        if mask and record:
            break
    try:
        found = json.loads(record or b"null")
    except ValueError:
        found = None
    return (*mask, found) if mask and isinstance(found, dict) and "metseg" in found else None


def _of_mask(name: str, content: bytes, record: dict | None = None) -> KeptVisit:
    """Measures a mask on its own grid; `record` is the `report.json` that lies beside it."""
    from metseg.data.grid import to_axial
    from metseg.data.readers import nifti

    stored = nifti.read_grid(content, name)
    mask, notes = read_reference_volume(content, name, stored)
    case_id = case_of(name)
    known = identify(case_id)
    who = {"patient_id": known.patient_id, "visit": known.visit} | _texts(record or {})
    origin = Origin(_texts((record or {}).get("origin")).get("network", "an unknown hand"))
    volume = to_axial(stored)
    scan = OpenScan(Scan(volume, stored, "", []), case_id, who["patient_id"], who["visit"])
    visit = Visit.of_mask(who["visit"] or case_id, volume, mask)
    told = (f"{name} is taken as the mask of its visit.", *(f"{name}: {note}" for note in notes))
    found = Segmented(scan, visit, mask, None, origin, told)
    patient = "" if who["patient_id"] == NAMELESS else who["patient_id"]
    date = who["visit"] if record and (who["visit"] or "").isdigit() and len(who["visit"]) == 8 else ""
    return KeptVisit(found, patient, "its report" if record else "its file's name", date)


def _texts(record: object) -> dict[str, str]:
    """Returns those values of a record that are short texts."""
    given = record if isinstance(record, dict) else {}
    return {key: value for key, value in given.items() if isinstance(value, str) and 0 < len(value) < 200}
