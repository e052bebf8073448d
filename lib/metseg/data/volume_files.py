"""The volumes of a data set become cases, each with its sequences and its reference."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metseg.base.errors import MetsegError
from metseg.data.layouts import volumes
from metseg.data.layouts.own import OWN, read_layout
from metseg.data.layouts.targets import known_labels, regions_of
from metseg.data.layouts.volumes import REFERENCE, Layout
from metseg.data.own_results import is_result
from metseg.data.patients import Identity, identify
from metseg.data.readers.picture_folder import folders_of_pictures, slices_of

NIFTI_SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True)
class SeriesFiles:
    """One DICOM series by its headers, as `readers.dicom_series.Series` tells; its pixels are not read.

    Attributes:
        key: Names it among the series of its files.
        files: The files under its UID.
        called: What to call it in a sentence.
        description: SeriesDescription, else ProtocolName.
        modality: Modality.
        sequence, by: What it may be, and what tells so.
        is_derived: Whether it was computed from others.
        refusal: Why it makes no volume; None if it does.
        frame_of_reference: FrameOfReferenceUID.
        grid: Its axial (Z, Y, X); if refused, the number of images and their size.
    """

    key: str
    files: tuple[Path, ...]
    called: str
    description: str
    modality: str
    sequence: str
    by: str
    is_derived: bool
    refusal: str | None
    frame_of_reference: str
    grid: tuple[int, int, int]

    def __str__(self) -> str:
        return self.called


@dataclass(frozen=True)
class VolumeFiles:
    """The files of one case of volumes.

    Attributes:
        identity: Whose it is.
        layout: The data set's name, or `layout.yml`.
        sequences: {sequence: NIfTI file, folder of numbered pictures, or DICOM series}.
        reference: The same of the reference, of DICOM a SEG or RTSTRUCT; None where there is none.
        known: The reference's numbers that the layout knows; none if every number may be.
        target: {region: which of them it is}, the main one first; none if every number above 0 is.
        guess: See `Layout`.
        refusal: Why it can be neither trained on nor scored with, where that is known before it is read.
        notes: What was left out of it, as sentences.
        called: {region: what its parts are called}, where numbers differ from case to case.
    """

    case_id: str
    identity: Identity
    layout: str
    sequences: Mapping[str, Path | SeriesFiles] = field(hash=False)
    reference: Path | None
    known: frozenset[int]
    target: Mapping[str, frozenset[int]] = field(hash=False)
    guess: str = ""
    refusal: str = ""
    notes: tuple[str, ...] = ()
    called: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    @property
    def is_dicom(self) -> bool:
        """Whether its sequences are DICOM series."""
        return any(isinstance(each, SeriesFiles) for each in self.sequences.values())

    @property
    def files(self) -> list[Path]:
        """All files of a complete case."""
        return [*self.image_files, *_files_of(self.reference)]

    @property
    def image_files(self) -> list[Path]:
        """All files of its sequences; one may hold several of DICOM."""
        places = (each for _, each in sorted(self.sequences.items()))
        return list(dict.fromkeys(path for place in places for path in _files_of(place)))

    @property
    def series_keys(self) -> dict[str, str]:
        """Which DICOM series of `image_files` is which sequence."""
        return {sequence: series.key for sequence, series in self.sequences.items()}

    @property
    def home(self) -> Path:
        """The folder of the sequences, or of one of them."""
        return self.first.parent

    @property
    def first(self) -> Path:
        """The file or folder of a sequence."""
        sequence = next(iter(self.sequences.values()))
        return sequence.files[0] if isinstance(sequence, SeriesFiles) else sequence

    def complain_if_incomplete(self) -> None:
        """Raises a `MetsegError` where it can be neither trained on nor scored with, as far as is known."""
        for series in self.sequences.values():
            if isinstance(series, SeriesFiles) and series.refusal:
                raise MetsegError(f"{series} {series.refusal}")
        if self.refusal:
            raise MetsegError(self.refusal)
        if self.reference is None:
            text = f"{self.home} has no reference for {self.case_id}"
            raise MetsegError(f"{text}; add it as the others are named, or tell its name in layout.yml")

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
        if name in self.called:
            return f"{name} ({', '.join(self.called[name])})"
        return f"{name} ({', '.join(map(str, sorted(self.target[name]))) or 'every label'})"


def _files_of(place: Path | SeriesFiles | None) -> Sequence[Path | None]:
    if isinstance(place, SeriesFiles):
        return place.files
    return [*slices_of(place).values()] if place and place.is_dir() else [place]


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
    if not pictures and not any(map(is_nifti, files)):
        return [], []  # `layout.yml` may be of DICOM
    place_of = read_layout(own) if own in files else volumes.place_of
    layouts: dict[str, Layout] = {}
    people: dict[str, Identity] = {}
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    results: dict[str, list[str]] = defaultdict(list)
    left = []
    for path in [*files, *(each for each in pictures if each != Path(folder))]:
        if path.name == OWN:
            continue
        place = place_of(path.relative_to(folder).as_posix())
        if place is None:
            left += [path] * is_nifti(path)
            continue
        case_id, kind, layout, who = place
        if kind == REFERENCE and is_result(path):
            results[case_id].append(f"{path.name} is left out: metseg wrote it, so it is no reference.")
            continue
        people[case_id] = who
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
                f"{reference} is a reference without its scan; add it, as NIfTI (DICOM takes a SEG), or "
                f"remove {reference.name}"
            )
        meant = (
            people[case_id],
            layout.name,
            kinds,
            reference,
            known_labels(layout),
            regions_of(target, layout),
        )
        cases.append(VolumeFiles(case_id, *meant, layout.guess, notes=tuple(results[case_id])))
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
    known = known_labels(place.layout)
    meant = place.who, place.layout.name, {}, path, known, regions_of(target, place.layout)
    return VolumeFiles(place.case_id, *meant)
