"""The volumes of a data set become cases, each with its sequences and its reference."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from metseg.base.errors import MetsegError
from metseg.data.layouts import volumes
from metseg.data.layouts.own import OWN, read_layout
from metseg.data.layouts.volumes import REFERENCE, Layout
from metseg.data.patients import Identity, identify
from metseg.data.readers.picture_folder import folders_of_pictures, slices_of

NIFTI_SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True)
class VolumeFiles:
    """The files of one case of volumes.

    Attributes:
        identity: Whose it is.
        layout: The data set's name, or `layout.yml`.
        sequences: {sequence: NIfTI file, or folder of numbered pictures}.
        reference: The same of the reference; None where there is none.
        known: The reference's numbers that the layout knows; none if every number may be.
        target: {region: which of them it is}, the main one first; none if every number above 0 is.
        guess: See `Layout`.
    """

    case_id: str
    identity: Identity
    layout: str
    sequences: Mapping[str, Path] = field(hash=False)
    reference: Path | None
    known: frozenset[int]
    target: Mapping[str, frozenset[int]] = field(hash=False)
    guess: str = ""

    @property
    def files(self) -> list[Path]:
        """All files of a complete case."""
        places = [path for _, path in sorted(self.sequences.items())] + [self.reference]
        nested = ([*slices_of(each).values()] if each and each.is_dir() else [each] for each in places)
        return [path for paths in nested for path in paths]

    @property
    def home(self) -> Path:
        """The folder of the sequences, or of one of them."""
        return next(iter(self.sequences.values())).parent

    @property
    def lesion(self) -> str:
        """The main region in words: "TC (1, 3)"."""
        return self._told(next(iter(self.target)))

    @property
    def regions(self) -> str:
        """All regions in words: "TC (1, 3), with ET (3), WT (1, 2, 3)"."""
        main, *others = map(self._told, self.target)
        return f"{main}, with {', '.join(others)}" if others else main

    def _told(self, name: str) -> str:
        return f"{name} ({', '.join(map(str, sorted(self.target[name]))) or 'every label'})"


def is_nifti(path: Path) -> bool:
    """Returns whether a file's name says that it is NIfTI."""
    return path.name.lower().endswith(NIFTI_SUFFIXES)


def volume_cases(
    files: Iterable[Path], folder: Path, target: str = ""
) -> tuple[list[VolumeFiles], list[Path]]:
    """Sorts the NIfTI files of a data set, and its folders of numbered pictures, into cases.

    Args:
        files: All files below the data set's folder.
        folder: The data set's. A `layout.yml` in it says how its files are named, see `layouts.own`.
        target: Which region, or which numbers (`1,3`), are a lesion; the layout's first region if left out.
            Or several regions, `TC+ET+WT`, the main one first.

    Returns:
        The cases by name, and the NIfTI files that belong to none; folders that no layout knows are slices.

    Raises:
        MetsegError: Two files are the same sequence of a case, a case has a reference alone, or `layout.yml`
            is wrong, or there is no such target.
    """
    pictures = folders_of_pictures(files := list(files))
    files = [path for path in files if is_nifti(path) or path.name == OWN]
    own = Path(folder) / OWN
    place_of = read_layout(own) if own in files else volumes.place_of
    layouts: dict[str, Layout] = {}
    people: dict[str, Identity] = {}
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    left = []
    for path in [*files, *(each for each in pictures if each != Path(folder))]:
        if path.name == OWN:
            continue
        place = place_of(path.relative_to(folder).as_posix())
        if place is None:
            left += [path] * is_nifti(path)
            continue
        case_id, kind, layout, people[case_id] = place
        if layouts.setdefault(case_id, layout) is not layout:
            raise MetsegError(
                f"{path} is named as in {layout.name}, other files of {case_id} as in "
                f"{layouts[case_id].name}; name them alike, or say how they are named in {OWN}"
            )
        if (there := found[case_id].setdefault(kind, path)) != path:
            raise MetsegError(
                f"{there} and {path} are both {kind} of {case_id}; remove one of them, or say which in {OWN}"
            )
    cases = []
    for case_id, kinds in sorted(found.items()):
        layout = layouts[case_id]
        reference = kinds.pop(REFERENCE, None)
        if not kinds:
            raise MetsegError(
                f"{reference} is a reference without its scan; add it or remove {reference.name}"
            )
        meant = people[case_id], layout.name, kinds, reference, _known(layout), _regions(target, layout)
        cases.append(VolumeFiles(case_id, *meant, layout.guess))
    return cases, left


def reference_alone(path: Path, target: str = "") -> VolumeFiles:
    """Tells what the labels of a reference mean that a user names by itself, without its scan.

    Args:
        path: The file; a name as in a public data set says which labels it has.
        target: As in `volume_cases`; without a known name it can only be numbers.

    Raises:
        MetsegError: There is no such target.
    """
    place = volumes.place_of(path.resolve().as_posix())
    if place is None or place.kind != REFERENCE:
        layout = Layout("a mask by itself", re.compile(""), {}, {"lesion": volumes.POSITIVE})
        place = volumes.Place(path.name, REFERENCE, layout, identify(path.name))
    known = _known(place.layout)
    meant = place.who, place.layout.name, {}, path, known, _regions(target, place.layout)
    return VolumeFiles(place.case_id, *meant)


def _known(layout: Layout) -> frozenset[int]:
    """Returns the labels that a layout knows; none where each number is a lesion."""
    return frozenset().union(*layout.regions.values())


def _regions(target: str, layout: Layout) -> dict[str, frozenset[int]]:
    """Returns {region: its labels} of a target."""
    name = target.replace(" ", "") or next(iter(layout.regions))
    if re.fullmatch(r"\d+(,\d+)*", name):
        numbers, known = frozenset(map(int, name.split(","))), _known(layout)
        if 0 in numbers or (known and not numbers <= known):
            labels = f"labels {', '.join(map(str, sorted(known)))}" if known else "labels from 1 on"
            raise MetsegError(f"target={target} is not among the {labels} of {layout.name}; choose of them")
        return {"labels": numbers}
    names = name.split("+")
    if not layout.regions.keys() >= set(names):
        choice, hint = ", ".join(layout.regions), "numbers go as 1,3, several regions as TC+ET"
        raise MetsegError(f"target={target} is none of {layout.name}'s regions ({choice}); {hint}")
    if len(set(names)) < len(names):
        raise MetsegError(f"target={target} names a region twice; name each once, the main one first")
    return {each: layout.regions[each] for each in names}
