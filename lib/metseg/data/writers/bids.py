"""Where a result lies in a BIDS derivative data set, and what is said of it beside it.

Reference: BIDS 1.11, "Derivatives: imaging data types" (masks, probabilistic segmentations), and the order of
entities in its schema (rules/entities.yaml).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import metseg
from metseg.base.errors import MetsegError
from metseg.base.files import write_json

BIDS_VERSION = "1.11.1"
# The last entities of a name, in their order; those of the acquisition come before, in the source's order.
_LAST = ("space", "split", "recording", "chunk", "atlas", "seg", "scale", "res", "den", "label", "desc")
_ENTITY = re.compile(r"([a-z]+)-([0-9A-Za-z+]+)")


def entities_of(name: str) -> dict[str, str]:
    """Returns the entities of a BIDS name, such as `sub-01_ses-1_T1w.nii.gz`; none if it is no such."""
    *parts, _ = Path(name).name.split("_")
    found = [_ENTITY.fullmatch(part) for part in parts]
    return dict(each.groups() for each in found) if found and all(found) and found[0][1] == "sub" else {}


def derivative_path(
    entities: Mapping[str, str], *, label: str = "lesion", suffix: str = "mask"
) -> PurePosixPath:
    """Returns where a result lies below the derivative data set.

    That is, `sub-01/ses-1/anat/sub-01_ses-1_space-orig_label-lesion_mask.nii.gz`.

    Args:
        entities: The source's, `sub` at least; of any other scan, {"sub": patient_id, "ses": visit}, from
            which what BIDS forbids in a name is left out.
        label: What is marked.
        suffix: `mask`, or `probseg` for probabilities.

    Raises:
        MetsegError: There is no `sub`, or nothing is left of one.
    """
    named = {name: re.sub(r"[^0-9A-Za-z+]", "", value) for name, value in entities.items() if value}
    if not named.get("sub") or not all(named.values()):
        raise MetsegError(f"{dict(entities)} makes no BIDS name; name the patient in letters and digits")
    named = {"space": "orig"} | named | {"label": label}
    first = [name for name in ("sub", "ses") if name in named]
    order = first + [name for name in named if name not in (*first, *_LAST)]
    order += [name for name in _LAST if name in named]
    folders = [f"{name}-{named[name]}" for name in first]
    stem = "_".join(f"{name}-{named[name]}" for name in order)
    return PurePosixPath(*folders, "anat", f"{stem}_{suffix}.nii.gz")


def write_sidecar(path: Path, *, sources: Sequence[str], description: str) -> None:
    """Writes the `.json` beside a lesion mask or map.

    Args:
        path: The mask's or map's own path.
        sources: What it was made from, as BIDS URIs (`bids:raw:sub-01/anat/sub-01_T1w.nii.gz`).
        description: What it is, in a sentence: which network, which threshold.
    """
    record = {"Description": description, "Sources": list(sources), "Manual": False}
    if "_space-orig_" in Path(path).name:
        record["SpatialReference"] = "orig"
    if Path(path).name.endswith("_mask.nii.gz"):
        record["Type"] = "Lesion"
    write_json(Path(str(path).removesuffix(".nii.gz") + ".json"), record)


def write_dataset_description(root: Path) -> None:
    """Writes the file that makes a folder a BIDS derivative data set, if it has none."""
    path = Path(root) / "dataset_description.json"
    if not path.exists():
        made_by = [{"Name": "metseg", "Version": metseg.__version__}]
        kind = {"Name": "Lesions found by metseg", "BIDSVersion": BIDS_VERSION, "DatasetType": "derivative"}
        write_json(path, kind | {"GeneratedBy": made_by})
