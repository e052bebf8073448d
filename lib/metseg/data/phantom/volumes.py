"""The phantom as volumes, laid out like BraTS-METS; no figure made from it says anything about patients."""

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

import metseg
from metseg.base.errors import MetsegError
from metseg.base.files import files_below, read_json, taking_apart, whole_folder, write_text
from metseg.data.own_results import DRAWN_BY
from metseg.data.phantom.visits import PhantomVisit, TrueLesion, draw_visits
from metseg.data.readers.images import IMAGE_SUFFIXES
from metseg.data.readers.nifti import read, read_labels
from metseg.data.scan import is_dicom
from metseg.data.volume import Volume
from metseg.data.volume_files import is_nifti
from metseg.data.writers.nifti import write_image, write_mask

GENERATOR_VERSION = 1  # raise it whenever the same seed gives other voxels
FILE_NAMES = {"t1": "t1n", "t1c": "t1c", "t2": "t2w", "flair": "t2f"}  # of the sequences in BraTS-METS
_LIMITS = {
    "patients": (1, 999),
    "seed": (0, 99),
    "slices": (10, 160),
    "size": (56, 336),
    "tilt_degrees": (0, 45),
}
_PARTS = {1: "NETC", 2: "SNFH", 3: "ET"}
_DICOM_LAYOUT = """# What segments and ROIs are called that make a region; the first is the lesion
labels: {TC: [NETC, ET], ET: [ET], WT: [NETC, ET, SNFH]}
"""
_NOTE = "Synthetic images drawn by metseg, not by BraTS; no figure obtained on them is clinical."


def write_volumes(
    folder: Path,
    *,
    patients: int = 6,
    seed: int = 0,
    slices: int = 20,
    size: int = 112,
    tilt_degrees: float = 12.0,
) -> Path:
    """Writes the phantom, or returns at once where the same phantom lies already.

    The tree is built beside `folder` and renamed at the end, so that `folder` holds a whole set or none.

    Args:
        folder: Receives `PHANTOM-MET-00001-000/PHANTOM-MET-00001-000-{t1n,t1c,t2w,t2f,seg}.nii.gz`, … and
            phantom.json. Patients 1, 4, 7 and so on have a second visit, `-001`. With another seed they are
            other patients: their numbers begin at 1000 times it.
        patients: Number of patients, 1 to 999.
        seed: Of the set, 0 to 99.
        slices: Slices a volume, 10 to 160, which span 100 mm.
        size: Height and width in voxels, 56 to 336, which span 168 mm.
        tilt_degrees: By how much a head may be turned in the scanner about each axis, 0 to 45.

    Returns:
        `folder`.

    Raises:
        MetsegError: A parameter is out of range, or `folder` holds something else.
    """
    folder, shape = Path(folder), {"slices": slices, "size": size, "tilt_degrees": tilt_degrees}
    record = {
        "volumes_version": GENERATOR_VERSION,
        "patients": patients,
        "seed": seed,
        **shape,
        "note": _NOTE,
    }
    for name, (low, high) in _LIMITS.items():
        if not low <= record[name] <= high:
            raise MetsegError(f"{name} is {record[name]}; a phantom of volumes needs {low} to {high}")
    if _holds(folder, record):
        return folder
    with whole_folder(folder, is_there=lambda: _holds(folder, record)) as partial:
        lesions = {}
        for index in range(1, patients + 1):
            for visit, scan in enumerate(draw_visits(index, seed=seed, visits=1 + (index % 3 == 1), **shape)):
                case_id = f"PHANTOM-MET-{1000 * seed + index:05d}-{visit:03d}"
                _write_visit(scan, partial / case_id)
                lesions[case_id] = [asdict(lesion) for lesion in scan.lesions]
        (partial / "phantom.json").write_text(json.dumps(record | {"lesions": lesions}, indent=1) + "\n")
    return folder


def write_as_dicom(folder: Path, case_ids: Iterable[str] | None = None) -> Path:
    """Writes a phantom that `write_volumes` wrote as a data set of DICOM, visits that are not there yet.

    Args:
        folder: The phantom's.
        case_ids: Which of its visits; all if left out.

    Returns:
        `folder/dicom`, with a folder a visit and in it one a series, beside it the reference: `seg.dcm`, or
        of patients 2, 7, 12 and so on `rtstruct.dcm`. Its parts are numbered as they come, and `layout.yml`
        says which of them make TC, ET and WT. Visits are a quarter of a year apart.

    Raises:
        MetsegError: `folder` holds no such phantom, or cannot be written to.
    """
    from metseg.data.phantom.dicom import write_dicom_series  # here, for it takes pydicom

    for case_id in true_lesions(folder) if case_ids is None else case_ids:
        target = folder / "dicom" / case_id
        if target.exists():
            continue
        patient_id, _, visit = case_id.rpartition("-")
        who = {"patient_id": patient_id, "visit": f"2024{1 + 3 * int(visit):02d}15"}
        with whole_folder(target, is_there=target.exists) as partial:
            for channel, name in FILE_NAMES.items():
                scan, _ = read(folder / case_id / f"{case_id}-{name}.nii.gz", channel=channel)
                paths = write_dicom_series(scan, partial / channel, **who)
                if channel == "t1c":
                    reference, _ = read_labels(folder / case_id / f"{case_id}-seg.nii.gz", scan, regions={})
                    _write_reference(reference.array, scan, paths, partial)
    write_text(folder / "dicom" / "layout.yml", _DICOM_LAYOUT, durable=False)
    return folder / "dicom"


def _write_reference(array: np.ndarray, scan: Volume, paths: list[Path], folder: Path) -> None:
    """Writes labels on a series' grid as SEG or RTSTRUCT; parts that are not there get no number."""
    from metseg.data.writers.dicom_seg import Maker, write_seg
    from metseg.data.writers.dicom_sources import read_sources
    from metseg.data.writers.rtstruct import write_rtstruct

    found = np.unique(array[array > 0]).tolist()
    labels = np.searchsorted([0, *found], array)
    sources = read_sources(paths, scan.spacing_mm[0])
    contours = int(sources[0].PatientID[-5:]) % 5 == 2
    write, name = (write_rtstruct, "rtstruct.dcm") if contours else (write_seg, "seg.dcm")
    maker, names = Maker(DRAWN_BY, "0", metseg.__version__), [_PARTS[number] for number in found]
    write(labels, scan.affine, sources, folder / name, maker, names=names)


def volumes_or_phantom(folder: Path, phantom: Path) -> Path:
    """Returns a folder if it holds volumes, else the default phantom of volumes, drawn where it is missing.

    Args:
        folder: What a user names. Where it is missing and called as `phantom` is, it is drawn there.
        phantom: Where it is drawn beside a folder of slices.
    """
    if not Path(folder).exists() and folder.name == phantom.name:
        return write_volumes(folder)
    files = files_below(folder)
    others = (path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES)
    return folder if any(map(is_nifti, files)) or any(map(is_dicom, others)) else write_volumes(phantom)


def true_lesions(folder: Path) -> dict[str, list[TrueLesion]]:
    """Returns what `write_volumes` drew: the lesions of each case, by its name, the largest first."""
    with taking_apart(folder / "phantom.json", "have the phantom made anew"):
        cases = read_json(folder / "phantom.json")["lesions"]
        made = {case_id: [TrueLesion(**each) for each in lesions] for case_id, lesions in cases.items()}
    return {
        case_id: [replace(each, centre_mm=tuple(each.centre_mm)) for each in lesions]
        for case_id, lesions in made.items()
    }


def _write_visit(scan: PhantomVisit, folder: Path) -> None:
    """Writes the sequences and the reference of one scan."""
    for channel, pixels in zip(scan.volume.channels, scan.volume.array, strict=True):
        sequence = Volume(pixels[None], (channel,), affine=scan.volume.affine)
        write_image(sequence, folder / f"{folder.name}-{FILE_NAMES[channel]}.nii.gz", durable=False)
    write_mask(scan.labels, scan.volume, folder / f"{folder.name}-seg.nii.gz")


def _holds(folder: Path, record: dict) -> bool:
    """Tells whether `folder` holds exactly this phantom; raises if it holds anything else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        found = json.loads((folder / "phantom.json").read_text())
        del found["lesions"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if found == record:
        return True
    raise MetsegError(
        f"{folder} exists and is not this phantom of volumes; choose another folder, or delete it to have it "
        "made anew"
    )
