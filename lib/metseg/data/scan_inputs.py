"""What a user points at becomes scans of volumes: NIfTI files, a folder of cases, a folder of DICOM."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from metseg.base.errors import MetsegError
from metseg.base.files import files_below
from metseg.data.cases import CaseFiles
from metseg.data.layouts.dicom import HEADER, dicom_cases
from metseg.data.layouts.own import OWN
from metseg.data.patients import TABLE, Identity, file_name_of, identify, read_patients
from metseg.data.readers import nifti
from metseg.data.readers.images import IMAGE_SUFFIXES
from metseg.data.scan import Scan, as_scan, is_dicom, read_nifti_scan
from metseg.data.volume import SEQUENCES
from metseg.data.volume_files import VolumeFiles, is_nifti, volume_cases

if TYPE_CHECKING:
    from metseg.data.readers.dicom_series import Series


@dataclass(frozen=True, eq=False)
class ScanInput:
    """One scan of volumes, not read yet.

    Attributes:
        case_id: The scan's name; a DICOM folder's until it is read.
        sequences: {sequence: NIfTI file or its content}; of DICOM what is told, {sequence: UID, description
            or folder}.
        dicom: The folder of a DICOM study, or its files; None for NIfTI.
        identity: Whose it is, where names, a data set or `patients.csv` tell; None for a folder of DICOM, for
            headers do.
        notes: What of it was guessed from names, as sentences.
        allow_missing: Let another stand in for a sequence that is missing, whatever `open_scan` is told.
    """

    case_id: str
    sequences: Mapping[str, Path | bytes | str]
    dicom: Path | tuple[Path, ...] | None = None
    identity: Identity | None = None
    notes: tuple[str, ...] = ()
    allow_missing: bool = False


@dataclass(frozen=True, eq=False)
class OpenScan:
    """One scan that was read.

    Attributes:
        scan: Its volume for the networks.
        case_id, patient_id, visit: Whose it is; the first can be part of a file's name.
        file: The NIfTI file, or its content, whose grid results go back to; None for DICOM and pictures.
        series: The DICOM series whose grid it is; None for NIfTI.
    """

    scan: Scan
    case_id: str
    patient_id: str
    visit: str | None
    file: Path | bytes | None = None
    series: "Series | None" = None


def scan_inputs(source: Path, sequences: Mapping[str, str] | None = None) -> list[ScanInput]:
    """Lists the scans of volumes that a path holds; none where it holds slices alone.

    Args:
        source: A NIfTI file, a folder of cases in a known layout, or a folder of DICOM, of one study if
            sequences are told.
        sequences: What the user tells: {sequence: NIfTI file, folder of numbered pictures as it is called in
            each case, or a DICOM series' UID, description or folder}.

    Raises:
        MetsegError: A sequence has no such name or no such file, or NIfTI files are of no known layout.
    """
    source, told = Path(source), dict(sequences or {})
    if strangers := told.keys() - SEQUENCES.keys() - {"t2"}:
        raise MetsegError(f"there is no sequence {min(strangers)}; choose of {', '.join(SEQUENCES)}")
    if not source.exists():
        raise MetsegError(f"{source} does not exist; give a scan or a folder of scans")
    home = source if source.is_dir() else source.parent
    if told and all(is_nifti(Path(value)) for value in told.values()):
        files = {sequence: _existing(home, value) for sequence, value in told.items()}
        name = source.name if source.is_dir() else _stem(source)
        return [ScanInput(name, files, identity=_declared(home).get(name, identify(name)))]
    files = files_below(source) if source.is_dir() else [source]
    cases, left = volume_cases(files_below(home), home)
    if not cases and source.is_dir() and not (home / OWN).exists():  # one case's, whom its own name tells?
        cases = volume_cases(files_below(home.absolute()), home.absolute().parent)[0]
    chosen = [case for case in cases if source.is_dir() or source in case.sequences.values()]
    if chosen or any(map(is_nifti, files)):
        if not chosen:
            some = (left or files)[0]
            raise MetsegError(
                f"{some} is named as in no known data set; say which sequence each file is "
                "(--sequence t1c=FILE), or how files are named in layout.yml (see data/README.md)"
            )
        known = _declared(home)
        return [_as_told(each, told, known.get(each.case_id, each.identity)) for each in chosen]
    others = [path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES]
    if any(map(is_dicom, others)):
        studies = dicom_cases(files_below(home), home) if source.is_dir() and not told else []
        if len(studies) < 2:
            return [ScanInput(home.resolve().name, told, dicom=home)]
        known = _declared(home)
        return [_as_study(each, known.get(each.case_id, each.identity)) for each in studies]
    if told:
        raise MetsegError(f"{source} holds neither NIfTI nor DICOM, so it has no sequence to name")
    return []


def scan_input_of(case: CaseFiles) -> ScanInput:
    """Returns one scan of a data set of volumes, with whose it is as the data set tells."""
    who = Identity(case.patient_id, case.visit, case.told_by)
    given = _as_study(case.volumes, who) if case.volumes.is_dicom else _as_told(case.volumes, {}, who)
    return replace(given, allow_missing=case.allow_missing)


def _as_study(case: VolumeFiles, who: Identity) -> ScanInput:
    return ScanInput(case.case_id, case.series_keys, tuple(case.image_files), who, case.notes)


def _as_told(case: VolumeFiles, told: Mapping[str, str], who: Identity) -> ScanInput:
    """Returns a scan with the sequences that its layout says, but for those that the user tells."""
    named = {sequence: case.home / value for sequence, value in told.items()}
    if lost := [path for path in named.values() if not path.exists() or path == case.home]:
        raise MetsegError(f"{lost[0]} does not exist; name a file or a folder as it is called in {case.home}")
    notes = [f"{case.guess[0].upper()}{case.guess[1:]}."] if case.guess and not named else []
    notes += [f"{sequence} is {path}, as you say." for sequence, path in named.items()]
    return ScanInput(case.case_id, {**case.sequences, **named}, identity=who, notes=tuple(notes))


def open_scan(
    given: ScanInput,
    *,
    allow_missing: bool = False,
    partial: bool = False,
    max_voxels: int = nifti.MAX_VOXELS,
    max_parts: int | None = None,
) -> OpenScan:
    """Reads one scan; for `allow_missing`, `partial` and `max_voxels` of a sequence see `read_nifti_scan`.

    `max_parts` is that of DICOM headers, see `list_series`.
    """
    missing = {"allow_missing": allow_missing or given.allow_missing, "partial": partial}
    if given.dicom is None:
        scan = read_nifti_scan(given.sequences, given.case_id, max_voxels=max_voxels, **missing)
        who = given.identity or identify(given.case_id)
        scan.notes[:0] = given.notes
        file = given.sequences[scan.grid_of]
        file = None if isinstance(file, Path) and file.is_dir() else file
        return OpenScan(scan, given.case_id, who.patient_id, who.visit, file=file)
    from metseg.data.readers.dicom import read_dicom_case

    found = read_dicom_case(given.dicom, given.sequences, max_voxels=max_voxels, max_parts=max_parts)
    if who := given.identity:
        name = case_id = given.case_id
    else:
        who = Identity(found.patient_id or given.case_id, found.visit, HEADER)
        name, case_id = str(given.dicom), file_name_of(who.patient_id, who.visit)
    scan = as_scan(list(found.volumes), name, [*found.notes, *given.notes], **missing)
    return OpenScan(scan, case_id, who.patient_id, who.visit, series=found.series[scan.grid_of])


def _declared(home: Path) -> dict[str, Identity]:
    """Returns whom the `patients.csv` of a folder of cases, or of the one that a case lies in, tells."""
    tables = [folder / TABLE for folder in (home.resolve(), home.resolve().parent)]
    return next((read_patients(table) for table in tables if table.is_file()), {})


def _existing(home: Path, value: str) -> Path:
    """Returns the file that a user names, from where he stands or from the input's folder."""
    for path in (Path(value), home / value):
        if path.is_file():
            return path
    raise MetsegError(f"{value} does not exist; name a file, as it is or as it lies in {home}")


def _stem(path: Path) -> str:
    return path.name[: -len(".nii.gz")] if path.name.lower().endswith(".nii.gz") else path.stem
