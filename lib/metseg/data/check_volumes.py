"""What is wrong with one scan of volumes; see `metseg.data.check`."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from metseg.data.cases import CaseFiles
from metseg.data.check_people import Finding, Seen, take_note
from metseg.data.scan import RESCALED, read_files, read_reference
from metseg.data.volume import SEQUENCES


def check_volumes(
    case: CaseFiles,
    findings: list[Finding],
    contents: Seen,
    complaints: Callable[[Path], AbstractContextManager],
) -> dict:
    """Reads one scan and its reference.

    Args:
        case: The scan.
        findings: Receives what is wrong.
        contents: Receives what tells people apart.
        complaints: Takes note of a `MetsegError` raised within it.

    Returns:
        The scan's row of `DataReport.cases`, but for who is who.
    """
    files, first = case.volumes, case.volumes.first
    row = {"slices": 0, "tumour_slices": 0, "lesion_px": 0, "height": 0, "width": 0, "spacing_mm": None}
    row["missing"] = ", ".join(case.missing)
    with complaints(first):
        case.complain_if_incomplete()
    notes = [f"{case.case_id}: {note}" for note in files.notes]
    scan = None
    with complaints(first):
        if len(case.missing) < len(SEQUENCES):  # `keep_usable` tells who lacks what; the rest is looked at
            scan = read_files(files, partial=True)
    if scan is None:
        findings += _findings(notes, case.case_id)
        return row
    depth, height, width = scan.volume.grid
    notes += [f"{case.case_id}: {note}" for note in scan.notes] if files.is_dicom else scan.notes
    row |= {"slices": depth, "height": height, "width": width, "spacing_mm": scan.volume.spacing_mm}
    take_note(contents, "slice", scan.volume.channels_last[depth // 2], case.patient_id, first)
    if files.reference is not None:
        with complaints(files.reference):
            labels, told = read_reference(files, scan.stored)
            notes += [f"{files.reference}: {note}" for note in told]
            per_slice = np.count_nonzero(labels.mask, axis=(1, 2))
            row |= {"tumour_slices": np.count_nonzero(per_slice), "lesion_px": int(per_slice.sum())}
            take_note(contents, "mask", labels.mask[per_slice.argmax()], case.patient_id, files.reference)
            if not per_slice.any():
                notes.append(f"{case.case_id} has no {files.lesion}; its volume Dice is undefined")
    findings += _findings(notes, case.case_id)
    return row


def _findings(notes: list[str], case_id: str) -> list[Finding]:
    told = (note for note in notes if not note.endswith(RESCALED))
    return [Finding(False, note, note.rpartition(": ")[2].replace(case_id, "")) for note in told]
