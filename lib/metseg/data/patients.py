"""Who is who: the person and the visit that a scan's name tells, or that `patients.csv` says."""

import csv
import io
import re
import unicodedata
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from metseg.base.errors import MetsegError
from metseg.base.files import write_text

if TYPE_CHECKING:
    import pandas as pd

TABLE = "patients.csv"
_COLUMNS = ("case_id", "patient_id")
_LIKE_THE_TABLE = re.compile(r"patients?\W*(\(?\d*\)?)\W*(csv|tsv|xlsx?|txt|csv\.txt)", re.IGNORECASE)


class Identity(NamedTuple):
    """Whose scan it is.

    `by` is what told it: a data set's name, `date`, `visit`, `sequence`, `folder`, `pattern`, `patients.csv`,
    or `name` where the whole name was taken for a person.
    """

    patient_id: str  # one person
    visit: str | None  # which of the person's scans; None where nothing tells
    by: str


# Names of public data sets, whole. Before 2023 BraTS had one scan a person.
_DATA_SETS = {
    "TCGA": r"(?P<patient>TCGA[-_][A-Z\d]{2}[-_][A-Z\d]{4})([-_](?P<visit>\d{8}))?",
    "BraTS": r"(?P<patient>BraTS-[A-Z]+-\d{5})-(?P<visit>\d{3})(-(t1n|t1c|t2w|t2f))?",
    "BraTS before 2023": r"(?P<patient>BraTS(\d\d|20\d\d)_([A-Z][A-Z\d]*_)?\d{3,})(_(t1|t1ce|t2|flair))?",
    # The second part is the site, also where it is a year: Brats18_2013_11_1, BraTS19_CBICA_AAB_1.
    "BraTS before 2020": r"(?P<patient>BraTS1\d_[A-Z\d]+_[A-Z\d]+_\d)(_(t1|t1ce|t2|flair))?",
    "BIDS": r"(?P<patient>sub-[A-Z\d]+)(_(?P<visit>ses-[A-Z\d]+))?(_[A-Z]+-[A-Z\d]+)*(_[A-Z][A-Z\d]*)?",
    "UCSF-BMSR": r"(?P<patient>\d{6})(?P<visit>[A-Z])",
    "phantom's volumes": r"(?P<patient>(PHANTOM|INSERTED)-MET-\d{5})-(?P<visit>\d{3})",
    "phantom": r"(?P<patient>PHANTOM_([A-Z]\d+_)?\d+)(_(?P<visit>\d{8}))?",
}
# With separators any numbers: a date that was made unreal to protect somebody is one as well.
_DATE = r"((19|20)\d\d(?P<between>[-_.])\d\d(?P=between)\d\d|(19|20)\d\d(0\d|1[0-2])([0-2]\d|3[01]))"
_VISIT = r"(visit|session|ses|time-?point|tp|follow-?up|fu|baseline|pre-?op|post-?op)[-_ ]?\d*"
_PERHAPS_VISIT = r"((scan|exam|time|t|v)[-_ ]?\d+|pre|post)"  # only behind a name that has a digit
_SEQUENCE = r"(t1|t1n|t1w|t1c|t1ce|t1gd|t1post|t1pre|t2|t2w|t2f|flair|dwi|adc|swi|pd|subtraction)"


def _compiled(pattern: str) -> re.Pattern:
    return re.compile(pattern, re.IGNORECASE | re.ASCII)


def _ending(pattern: str) -> re.Pattern:
    return _compiled(rf"(?P<rest>.*[^\W_].*?)[-_. ]+(?P<end>{pattern})")


KNOWN = {name: _compiled(pattern) for name, pattern in _DATA_SETS.items()}
_ENDINGS = {"date": _ending(_DATE), "visit": _ending(_VISIT), "sequence": _ending(_SEQUENCE)}
_BEGINNING = _compiled(rf"(?P<end>{_DATE}|{_VISIT})[-_. ]+(?P<rest>.*[^\W_].*)")
_WEAK_ENDING = _ending(_PERHAPS_VISIT)
_VISIT_OR_SEQUENCE = _compiled(rf"{_DATE}|{_VISIT}|{_PERHAPS_VISIT}|{_SEQUENCE}")


@lru_cache(maxsize=100_000)
def is_known(name: str) -> bool:
    """Returns whether a name is one that a public data set gives to a scan, or ends in its date."""
    return any(pattern.fullmatch(name) for pattern in (*KNOWN.values(), _ENDINGS["date"]))


def is_visit(name: str) -> bool:
    """Returns whether a folder or a name tells a visit or a sequence, and no person."""
    return bool(_VISIT_OR_SEQUENCE.fullmatch(name))


@lru_cache(maxsize=100_000)
def identify(case_id: str) -> Identity:
    """Reads person and visit from a scan's name.

    `TCGA_CS_4941_19960909`, `BraTS-MET-00086-001`, `sub-01_ses-1`, `100101A`, `P1_2024-01-15`, `P1_visit2`
    and `002_flair` are scans of `TCGA_CS_4941`, `BraTS-MET-00086`, `sub-01`, `100101`, `P1`, `P1` and `002`.
    """
    for name, pattern in KNOWN.items():
        if found := pattern.fullmatch(case_id):
            return Identity(found["patient"], found.groupdict().get("visit"), name)
    rest, visits, by = case_id, [], None
    while True:
        endings = [(name, pattern.fullmatch(rest)) for name, pattern in _ENDINGS.items()]
        name, found = next(((name, found) for name, found in endings if found), (None, None))
        if found is None and (weak := _WEAK_ENDING.fullmatch(rest)) and re.search(r"\d", weak["rest"]):
            name, found = "visit", weak
        if found is None and (found := _BEGINNING.fullmatch(rest)):
            name = "date" if re.match(_DATE, rest) else "visit"
        if found is None:
            break
        rest = found["rest"]
        if name != "sequence":
            visits.insert(0, found["end"])
        by = by if by not in (None, "sequence") else name
    if by is None:
        return Identity(case_id, None, "name")
    if any(pattern.fullmatch(rest) for pattern in KNOWN.values()):
        known = identify(rest)
        return Identity(known.patient_id, "_".join(filter(None, (known.visit, *visits))) or None, known.by)
    return Identity(rest, "_".join(visits) or None, by)


def file_name_of(patient_id: str, visit: str | None) -> str:
    """Returns what a scan of DICOM is called: PatientID and date, as they may be part of a file's name."""
    return re.sub(r"[^\w.-]+", "_", "_".join(filter(None, (patient_id, visit)))).strip("._-") or "scan"


def declared_among(files: Collection[Path]) -> tuple[Path | None, dict[str, Identity]]:
    """Returns the `patients.csv` among the files, if there is one, and whom it tells."""
    tables = [path for path in files if path.name == TABLE]
    if not tables and (alike := [path for path in files if _LIKE_THE_TABLE.fullmatch(path.name)]):
        raise MetsegError(f"{alike[0]} is not read; call it {TABLE}, with commas, if it says who is who")
    if len(tables) > 1:
        raise MetsegError(f"{tables[0]} and {tables[1]} both say who is who; keep one of them")
    return (tables[0], read_patients(tables[0])) if tables else (None, {})


def by_pattern(case_id: str, pattern: str) -> Identity:
    """Reads person and visit by a regular expression with the groups `patient` and, optionally, `visit`.

    Raises:
        MetsegError: It is no regular expression with a group `patient`, or does not match the name.
    """
    try:
        found = re.match(pattern, case_id)
        patient = found and found["patient"]
    except (re.error, IndexError) as error:
        needed = "no regular expression with a group (?P<patient>…)"
        raise MetsegError(f"the pattern {pattern!r} is {needed} ({error}); mend it") from error
    if not patient:
        raise MetsegError(f"the pattern {pattern!r} tells no patient in {case_id}; widen it")
    return Identity(patient, found.groupdict().get("visit"), "pattern")


def read_patients(path: Path) -> dict[str, Identity]:
    """Reads a `patients.csv`: columns case_id, patient_id and, optionally, visit; commas or semicolons.

    Raises:
        MetsegError: It is unreadable, lacks a column, leaves a name empty, or names a case twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        delimiter = ";" if ";" in text.partition("\n")[0] else ","
        lines = io.StringIO(text, newline="")
        rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        remedy = "save it as UTF-8 text and look at its quotes"
        raise MetsegError(f"{path} cannot be read ({error}); {remedy}") from error
    header = rows[0] if rows else []
    if not {*_COLUMNS} <= {*header} or len({*header}) < len(header):
        raise MetsegError(f"{path} starts with {header}; name {', '.join(_COLUMNS)} there, each column once")
    found: dict[str, Identity] = {}
    for k, row in enumerate(rows[1:], start=2):
        if not any(row):
            continue
        if len(row) > len(header) or any(re.search(r"[\r\n]", cell) for cell in row):
            raise MetsegError(f"{path}, row {k} has more cells than columns, or one of two lines; mend it")
        clean = [unicodedata.normalize("NFC", cell.strip()) for cell in row]
        cells = dict(zip(header, clean, strict=False))  # empty ones at the end may be left out
        case_id, patient_id = (cells.get(name) for name in _COLUMNS)
        if not case_id or not patient_id:
            raise MetsegError(f"{path}, row {k}: case_id or patient_id is empty; fill it in")
        if case_id in found:
            raise MetsegError(f"{path} names case {case_id} twice; remove one of the rows")
        found[case_id] = Identity(patient_id, cells.get("visit") or None, TABLE)
    return found


def write_table(cases: "pd.DataFrame", path: Path) -> None:
    """Writes a `patients.csv` of a table with the columns case_id, patient_id and visit.

    Raises:
        MetsegError: One lies there already, or the folder cannot be written to.
    """
    if Path(path).exists():
        raise MetsegError(f"{path} lies there already; correct it by hand, or move it away")
    write_text(path, cases[[*_COLUMNS, "visit"]].to_csv(index=False))


def spelling_of(name: str) -> str:
    """Returns what tells a name from others: `CS_4941` is `cs4941`, and `site1_1` is not `site11`."""
    return " ".join(re.findall(r"[^\W\d_]+|\d+", unicodedata.normalize("NFKC", name).lower()))
