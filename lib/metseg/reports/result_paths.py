"""Which files the results of a scan go to; none of them may be somebody else's."""

from collections.abc import Collection
from pathlib import Path

from metseg.data.own_results import complain_if_not_result
from metseg.data.scan_inputs import OpenScan
from metseg.data.writers import bids

OF_DICOM = ("seg", "sr", "rtstruct")
_NAMES = {"mask": "mask.nii.gz", "regions": "regions.nii.gz", "probabilities": "probabilities.nii.gz"}
_NAMES |= {each: f"{each}.dcm" for each in OF_DICOM}


def result_paths(case_id: str, folder: Path, also: Collection[str] = ()) -> dict[str, Path]:
    """Returns {what: its path} of a scan's files with voxels or measurements.

    Args:
        case_id: The scan.
        folder: Where they go.
        also: What beside the mask, as in `write_results`.

    Raises:
        MetsegError: One of them lies there, and is no result as metseg wrote it.
    """
    needed = {"mask", *also} | ({"seg"} if "sr" in also else set())  # an SR refers to its SEG
    paths = {what: folder / f"{case_id}_{name}" for what, name in _NAMES.items() if what in needed}
    for path in paths.values():
        complain_if_not_result(path)
    return paths


def bids_path(scan: OpenScan, folder: Path) -> tuple[Path, list[str]]:
    """Returns where the mask lies by its name among BIDS derivatives, and what it was made from."""
    parts = scan.file.parts if isinstance(scan.file, Path) else ()
    entities = bids.entities_of(parts[-1]) if parts else {}
    begin = next((k for k, part in enumerate(parts) if part.startswith("sub-")), len(parts))
    path = folder / bids.derivative_path(entities or {"sub": scan.patient_id, "ses": scan.visit or ""})
    return path, [f"bids:raw:{'/'.join(parts[begin:])}"] if entities else []
