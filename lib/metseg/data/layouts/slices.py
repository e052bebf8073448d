"""Slices `<scan>_<slice>`, and masks `<scan>_<slice>_mask` or in a folder of masks; as the Kaggle LGG set."""

import os
import re
import unicodedata
from collections.abc import Container
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from metseg.base.errors import MetsegError
from metseg.data.patients import KNOWN, Identity, identify, is_known, is_visit
from metseg.data.readers.images import IMAGE_SUFFIXES, TIFF_SUFFIXES

MAX_SLICE = 9_999  # no scan has more slices; a larger number is a date, a time or a UID
_MASK_FOLDER = re.compile(r"masks?|labels?|segs?|segmentations?|annotations?|ground-?_?truth|gt", re.I)
_IMAGE_FOLDER = re.compile(r"images?|imgs?", re.I)
# Folders that hold many people, and names that say of a file no more than that it is one.
_GROUP = re.compile(
    r"train(ing)?|val(id|idation)?|test(ing)?|data(set)?|hgg|lgg|kaggle_3m|tiffs?|pngs?|"
    r"(fold|site|cent(er|re)|hospital|batch|part|cohort)[-_ ]?([A-Z]|[0-9]{1,2})?",
    re.I,
)
_NO_NAME = re.compile(r"(slices?|images?|imgs?|im|pic|picture|frame|scan|axial|brain|mri?|z|s)?", re.I)


class Place(NamedTuple):
    """What name and folders of a slice's file say."""

    case_id: str
    slice_index: int | None  # 1 for a scan's only slice; None where the number can be no slice's
    is_mask: bool
    home: tuple[str, ...]  # the scan's folders below the data set's, without those of images and of masks
    who: Identity
    numbered: bool  # whether the name ends in the slice's number
    in_own_folder: bool  # whether the name before that number is also the folder's

    @property
    def is_of_volume(self) -> bool:
        """Whether it is one slice of a scan by construction: by the folder's name, or a public data set's."""
        return self.numbered and (self.in_own_folder or self.who.by in KNOWN)


class SliceFiles(NamedTuple):
    """One slice's files; one that is missing is None."""

    slice_index: int
    image: Path | None
    mask: Path | None

    def complain_if_incomplete(self) -> None:
        """Raises a `MetsegError` that names the missing file of a pair."""
        if self.mask is None:
            name = f"{self.image.stem}_mask{self.image.suffix}"
            raise MetsegError(f"{self.image} has no mask; add {name} (all black where there is no lesion)")
        if self.image is None:
            raise MetsegError(f"{self.mask} has no image; add the slice it belongs to or remove it")


def place_of(path: Path, folder: Path, *, scans: Container[str] = ()) -> Place:
    """Returns what the name of a slice's file and its folders below the data set's `folder` say.

    A file with one of the names of `scans` is that scan's only slice.
    """
    lies_in, name = os.path.split(path)
    home, in_masks = _home(lies_in, os.fspath(folder))
    stem = unicodedata.normalize("NFC", os.path.splitext(name)[0])
    is_mask = in_masks or stem.lower().endswith("_mask")
    if stem.lower().endswith("_mask"):
        stem = stem[: -len("_mask")]
    name, number, numbered = (stem, 1, False) if stem in scans else _number(stem)
    case_id, who = _scan(name, home)
    return Place(case_id, number, is_mask, home, who, numbered, in_own_folder=name in home[-1:])


def slices_among(files: list[Path], folder: Path, *, scans: Container[str] = ()) -> dict[Path, Place]:
    """Returns the files that are slices; pictures of a scan that is there as TIFF are previews."""
    places: dict[Path, Place] = {}
    for path in files:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            place = place_of(path, folder, scans=scans)
            # A name without a slice's number is a scan's only where a convention or the table says so.
            known = place.who.by not in ("name", "sequence", "folder") or place.case_id in scans
            if place.case_id and (place.numbered or known):
                places[path] = place

    tiffs = {path for path in places if path.suffix.lower() in TIFF_SUFFIXES}
    as_tiff = {_part(places[path]) for path in tiffs}
    # Beside TIFF scans only another one that has masks is a scan of pictures.
    masked = {place.case_id for place in places.values() if place.is_mask}
    alone = all(places[path].is_mask for path in tiffs)
    pictures = {path for path, place in places.items() if alone or place.case_id in masked}
    pictures = {path for path in pictures if _part(places[path]) not in as_tiff}
    return {path: place for path, place in places.items() if path in tiffs | pictures}


def _part(place: Place) -> tuple[str, int | str | None]:
    """Returns of what a picture is a preview where it is there as TIFF: of a mask, or of all images."""
    return place.case_id, place.slice_index if place.is_mask else "image"


def people_folders(home: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the folders that may be one person's each: those below the last that holds many people."""
    groups = [k for k, part in enumerate(home) if _GROUP.fullmatch(part)]
    return home[groups[-1] + 1 :] if groups else home


@lru_cache(maxsize=100_000)
def _home(lies_in: str, folder: str) -> tuple[tuple[str, ...], bool]:
    """Returns the folders below the data set's, images' and masks' left out, and if there is one of masks."""
    parts = [part for part in os.path.relpath(lies_in or ".", folder).split(os.sep) if part != "."]
    masks = [bool(_MASK_FOLDER.fullmatch(part)) for part in parts]
    kept = [p for p, mask in zip(parts, masks, strict=True) if not mask and not _IMAGE_FOLDER.fullmatch(p)]
    return tuple(kept), any(masks)


def _number(stem: str) -> tuple[str, int | None, bool]:
    """Splits `<scan>_<slice>`; a scan that is known by its whole name has one slice."""
    found = re.fullmatch(r"(?:(?P<scan>.+)_)?(?P<number>[0-9]+)", stem, re.DOTALL)
    if found is None:
        return stem, 1, False
    digits = found["number"].lstrip("0") or "0"
    fits = len(digits) <= len(str(MAX_SLICE))
    if fits and (found["scan"] is None or is_known(found["scan"]) or not is_known(stem)):
        return found["scan"] or "", int(digits), True
    return (stem, 1, False) if is_known(stem) else (stem, None, True)


@lru_cache(maxsize=100_000)
def _scan(name: str, home: tuple[str, ...]) -> tuple[str, Identity]:
    """Returns a scan's id and whose it is; a name that tells no person is told by its folders."""
    folders = list(people_folders(home))
    visits = []
    while folders and (is_visit(folders[-1]) or _NO_NAME.fullmatch(folders[-1])):
        visits.insert(0, folders.pop())
    own = identify(name)
    nameless = bool(_NO_NAME.fullmatch(own.patient_id)) or is_visit(name)
    if not folders or not (nameless or visits) or (own.by != "name" and not nameless):
        return name, own
    person = identify(folders[-1])
    told = [*visits, *filter(None, [name if is_visit(name) else own.visit])]
    visit = "_".join(filter(None, [person.visit, *told])) or None
    more = () if nameless or name == folders[-1] else (name,)
    by = "folder" if person.by == "name" else person.by
    return "_".join([folders[-1], *told, *more]), Identity(person.patient_id, visit, by)
