"""A folder of numbered pictures, 0.png, 1.png and so on, becomes the `Volume` of one sequence.

The functions are those of `metseg.data.readers.nifti`. Pictures tell neither spacing nor orientation.
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.readers.image_errors import UnusablePixels
from metseg.data.readers.images import (
    IMAGE_SUFFIXES,
    complain_of_classes,
    decode,
    read_file,
)
from metseg.data.readers.images import (
    read_labels as read_mask,
)
from metseg.data.volume import Labels, Volume

MAX_VOXELS = 2**28
_LESION = {"lesion": frozenset({1})}


def folders_of_pictures(files: Iterable[Path]) -> list[Path]:
    """Returns the folders among whose files the pictures all have a number as their name."""
    numbered: dict[Path, bool] = {}
    for path in files:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            numbered[path.parent] = numbered.get(path.parent, True) and _is_number(path.stem)
    return sorted(folder for folder, alone in numbered.items() if alone)


def slices_of(folder: Path) -> dict[int, Path]:
    """Returns {number: picture} of a folder, by number and not by name: 9.png goes before 10.png.

    Raises:
        MetsegError: There is none, two have one number, or a number is left out.
    """
    paths = [path for path in Path(folder).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    found: dict[int, Path] = {}
    for path in sorted(path for path in paths if not path.name.startswith(".")):
        if not _is_number(path.stem):
            raise MetsegError(f"{path} is among numbered slices; name it by its number, or remove it")
        if (there := found.setdefault(int(path.stem), path)) != path:
            raise MetsegError(f"{there} and {path} have one number; remove one of them")
    if not found:
        raise MetsegError(f"{folder} holds no picture; expected slices such as 0.png, 1.png")
    numbers = sorted(found)
    if lost := [a + 1 for a, b in pairwise(numbers) if b > a + 1]:
        raise MetsegError(f"{folder} lacks slice {lost[0]}; copy the whole folder")
    return {number: found[number] for number in numbers}


def complain_if_unlike(folders: Iterable[Path]) -> None:
    """Raises a `MetsegError` where slices of one number would not lie at one place of their stacks."""
    first = None
    for folder in folders:
        numbers = list(slices_of(folder))
        first = first or (folder, numbers)
        if numbers != first[1]:
            told = " but ".join(f"{where} has slices {own[0]} to {own[-1]}" for where, own in
                                (first, (folder, numbers)))  # fmt: skip
            raise MetsegError(f"{told}; export the same slices of all sequences and of the reference")


def read(
    folder: Path, name: str = "", *, channel: str = "grey", max_voxels: int = MAX_VOXELS
) -> tuple[Volume, list[str]]:
    """Reads one sequence, (1, Z, Y, X) in the files' dtype, of unknown spacing; see `nifti.read`."""
    slices = []
    for path in (paths := slices_of(folder)).values():
        slices.append(_grey(path))
        if slices[-1].shape != slices[0].shape or slices[-1].dtype != slices[0].dtype:
            kinds = " but ".join(f"{each.dtype} {each.shape}" for each in (slices[-1], slices[0]))
            raise UnusablePixels(f"{path} is {kinds} in the first slice of {folder}; export all alike")
        if len(paths) * slices[0].size > max_voxels:
            raise UnusablePixels(f"{folder} has more than {max_voxels} voxels, the most; crop them")
    return Volume(np.stack(slices)[None], (channel,)), []


def read_grid(folder: Path, name: str = "") -> Volume:
    """Returns the grid; of the pictures one is read."""
    paths = slices_of(folder)
    return Volume.of_grid((len(paths), *_grey(next(iter(paths.values()))).shape))


def read_labels(
    folder: Path,
    image: Volume,
    name: str = "",
    *,
    regions: Mapping[str, frozenset[int]] = _LESION,
    expected: Collection[int] | None = None,
) -> tuple[Labels, list[str]]:
    """Reads a reference, one number for the lesion in all slices; see `nifti.read_labels`."""
    paths, numbers = slices_of(folder), set[float]()
    if len(paths) != image.grid[0]:
        raise UnusablePixels(f"{folder} has {len(paths)} slices but its scan has {image.grid[0]}")
    slices = []
    for path in paths.values():
        slices.append(read_mask(path, image.grid[1:]))
        numbers |= {float(slices[-1].max())} - {0.0}
        complain_of_classes(numbers, f"{path} and other masks of {folder}")
    notes = [] if numbers else ["It marks no voxel."]
    return Labels(np.stack(slices).astype(np.uint16), regions, stored=frozenset(numbers)), notes


def _grey(path: Path) -> np.ndarray:
    """Returns a picture's one channel, (Y, X)."""
    array = decode(read_file(path), str(path)).array[:, 0]
    colours = array[:3] if len(array) > 2 else array[:1]  # a fourth, or a second, is transparency
    if (colours != colours[0]).any():
        raise UnusablePixels(f"{path} is in colour; a folder of slices holds one sequence, in grey")
    return colours[0]


def _is_number(stem: str) -> bool:
    return stem.isascii() and stem.isdigit()
