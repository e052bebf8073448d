"""A fixed set of real brains with synthetic metastases, laid out like BraTS-METS, for validation."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import files_below, read_json, taking_apart, whole_folder
from metseg.data.cases import CaseFiles
from metseg.data.grid import mm_to_voxel, resample_like, same_grid
from metseg.data.patients import TABLE, write_table
from metseg.data.phantom.insert import InsertedLesion, Insertion, insert_metastases
from metseg.data.phantom.insert_sites import find_sites
from metseg.data.phantom.volumes import FILE_NAMES
from metseg.data.readers.nifti import read, read_labels
from metseg.data.volume import Case, Labels, Volume
from metseg.data.volume_files import VolumeFiles, volume_cases
from metseg.data.writers.nifti import write_image, write_mask
from metseg.masks.components import label_lesions

RECORD = "insertions.json"
INSERTION_VERSION = 2  # raise it whenever the same seed gives other voxels
_REGIONS = ("TC", "ET", "WT")
_CORE = (1, 3)  # the numbers of a written reference that are TC, whatever region is asked for
_NOTE = "Metastases drawn by metseg into real brains; no figure made from them is one of metastases."


def write_insertions(
    folder: Path,
    source: Path,
    *,
    cases: int | None = None,
    seed: int = 0,
    count: int | None = None,
    on_case: Callable[[str], None] = lambda case_id: None,
) -> Path:
    """Writes real scans with synthetic metastases; `folder` holds the whole set or nothing.

    Args:
        folder: New. Receives `INSERTED-MET-00001-000/INSERTED-MET-00001-000-{t1n,t1c,t2w,t2f,seg}.nii.gz`, …
            and insertions.json: which scan each case is of, its lesions and what is to be known of it; and
            patients.csv, by which each case is its scan's patient: whoever learned from one knows the other.
        source: Folder of real skull-stripped volumes with t1c, in a layout that `volume_cases` knows. Their
            references, where there are any, must have the regions ET, TC and WT.
        cases: How many to write, going round the scans; each scan once if left out.
        seed: Of the set; a case depends on it, on its scan's number and its visit alone.
        count: Metastases a case; drawn if left out.
        on_case: Called with the name of each case that is written.

    Returns:
        `folder`.

    Raises:
        MetsegError: `source` holds no scan that can be taken, or `folder` exists or cannot be written.
    """
    folder, scans = Path(folder), list_scans(source)
    cases = len(scans) if cases is None else cases
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise MetsegError(f"{folder} exists; choose another folder, or delete it to have the set made anew")
    people: list[dict] = []
    record = {"insertion_version": INSERTION_VERSION, "seed": seed, "note": _NOTE, "cases": {}}
    with whole_folder(folder) as partial:
        for number, (files, regions) in enumerate(scans[:cases], 1):
            volume, labels, notes = read_scan(files, regions)
            sites = find_sites(volume, labels)
            for visit in range(-(-(cases - number + 1) // len(scans))):
                case_id = f"INSERTED-MET-{number:05d}-{visit:03d}"
                rng = np.random.default_rng([seed, number, visit])
                made = insert_metastases(volume, labels, rng, sites=sites, count=count)
                _write(made, partial / case_id)
                who = {"patient_id": files.identity.patient_id, "visit": f"{number}-{visit}"}
                people.append({"case_id": case_id, **who})
                record["cases"][case_id] = {
                    "scan": files.case_id,
                    "lesions": [asdict(lesion) for lesion in made.lesions],
                    "notes": notes + made.notes,
                }
                on_case(case_id)
        write_table(pd.DataFrame(people).sort_values("case_id"), partial / TABLE)
        (partial / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return folder


def inserted_lesions(folder: Path) -> dict[str, list[InsertedLesion]]:
    """Returns the lesions of each case that `write_insertions` wrote, by its name."""
    with taking_apart(folder / RECORD, "have the set made anew"):
        cases = read_json(folder / RECORD)["cases"]
        return {
            case_id: [
                InsertedLesion(**{k: tuple(v) if isinstance(v, list) else v for k, v in lesion.items()})
                for lesion in case["lesions"]
            ]
            for case_id, case in cases.items()
        }


def read_insertion(folder: Path, case_id: str) -> Insertion:
    """Reads back a case that `write_insertions` wrote, as `insert_metastases` had returned it.

    Where metastases touch, all of them have the number of one.

    Raises:
        MetsegError: There is no such case, or a file is missing or damaged.
    """
    written = inserted_lesions(folder)
    found = [scan for scan in list_scans(folder) if scan[0].case_id == case_id]
    if not found or case_id not in written:
        raise MetsegError(f"{folder} holds no case {case_id} with a line in {RECORD}; name another")
    volume, labels, notes = read_scan(*found[0])
    components, inserted = label_lesions(labels.region("TC")), np.zeros(volume.grid, np.uint8)
    for lesion in written[case_id]:
        if at := component_at(components, lesion.centroid_voxel):
            inserted[components == at] = lesion.number
    return Insertion(volume, labels, inserted, written[case_id], notes)


def own_tumour(files: CaseFiles, case: Case) -> np.ndarray:
    """Returns what of a case's main region was there before metastases were drawn in, (Z, Y, X) bool.

    It is no metastasis, and its reference is strewn with specks. False everywhere in a case that is none of a
    set of `write_insertions`.
    """
    folder = files.volumes.home.parent if files.volumes else None
    known = inserted_lesions(folder) if folder and (folder / RECORD).is_file() else {}
    if files.case_id not in known:
        return np.zeros(case.mask.shape, bool)
    numbers = label_lesions(case.mask)
    drawn = numbers_drawn(known[files.case_id], numbers, case.labels, case.volume)
    return (numbers > 0) & ~np.isin(numbers, drawn)


def numbers_drawn(
    lesions: Sequence[InsertedLesion], numbers: np.ndarray, labels: Labels, place: Volume
) -> np.ndarray:
    """Returns which of the numbers that `label_lesions` gave to a region are inserted lesions.

    A lesion is sought in its core and rim together: its middle is no voxel of ET alone where it is necrotic.
    """
    core = label_lesions(np.isin(labels.array, _CORE))
    voxels = (
        mm_to_voxel(np.array(each.centroid_mm), place) if each.centroid_mm else each.centroid_voxel
        for each in lesions
    )
    at = [component_at(core, voxel) for voxel in voxels]
    return np.unique(numbers[(core > 0) & (numbers > 0) & np.isin(core, at)])


def component_at(components: np.ndarray, voxel: Sequence[float]) -> int:
    """Returns the number that `label_lesions` gave to what lies at a place or touches its voxel; else 0."""
    at = np.rint(voxel).astype(int)
    if number := int(components[tuple(at)]):
        return number
    return int(components[tuple(slice(max(k - 1, 0), k + 2) for k in at)].max(initial=0))


def list_scans(source: Path) -> list[tuple[VolumeFiles, dict[str, frozenset[int]]]]:
    """Lists a folder's scans that have t1c, each with the numbers of its reference's regions.

    Raises:
        MetsegError: There is none, or a layout with other regions.
    """
    source = Path(source)
    if not source.is_dir():
        raise MetsegError(f"{source} is not a folder; give the one that holds the scans")
    found, _ = volume_cases(files_below(source), source, "+".join(_REGIONS))
    scans = [(case, dict(case.target)) for case in found if "t1c" in case.sequences]
    if not scans:
        what = "no NIfTI volume with post-contrast T1 (t1c), and DICOM is not taken here"
        raise MetsegError(f"{source} holds {what}; give such a folder")
    return scans


def read_scan(
    files: VolumeFiles, regions: dict[str, frozenset[int]]
) -> tuple[Volume, Labels | None, list[str]]:
    """Reads all sequences of a scan in their own values, on the grid of t1c, and its reference, if any."""
    notes, volumes = [], []
    t1c, _ = read(files.sequences["t1c"], channel="t1c")
    for name in (each for each in FILE_NAMES if each in files.sequences):
        volume, told = read(files.sequences[name], channel=name)
        notes += [f"{name}: {note}" for note in told]
        if not same_grid(volume, t1c):
            volume = resample_like(volume, t1c)
            notes.append(f"{name} lies on another grid and was resampled to that of t1c.")
        volumes.append(volume)
    array = np.concatenate([volume.array for volume in volumes])
    volume = Volume(array, tuple(each.channels[0] for each in volumes), affine=t1c.affine)
    if files.reference is None:
        return volume, None, notes
    labels, told = read_labels(files.reference, t1c, regions=regions, expected=files.known or None)
    return volume, labels, notes + told


def _write(made: Insertion, folder: Path) -> None:
    for name, pixels in zip(made.volume.channels, made.volume.array, strict=True):
        sequence = Volume(pixels[None], (name,), affine=made.volume.affine)
        write_image(sequence, folder / f"{folder.name}-{FILE_NAMES[name]}.nii.gz", durable=False)
    write_mask(made.labels.array, made.volume, folder / f"{folder.name}-seg.nii.gz")
