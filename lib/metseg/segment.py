"""Writes one mask file for each image, and overwrites none of the user's."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tifffile

from metseg.data.cases import slice_of
from metseg.data.images import IMAGE_SUFFIXES
from metseg.encode import mask_tiff
from metseg.errors import MetsegError
from metseg.files import files_below, replacing

_SOFTWARE = "metseg predict"  # the TIFF tag by which a mask of ours is told from a reference
Pairs = list[tuple[Path, Path]]


def segmentable(source: Path, output: Path) -> list[Pairs]:
    """Lists the images to segment, scan by scan, and where each mask goes.

    Args:
        source: An image, or a folder whose tree is mirrored; its masks (`…_mask.*`) and hidden files are
            left alone.
        output: Folder for the masks.

    Returns:
        For each scan [(image, its mask's path below `output`)] in slice order. Images named
        `<case>_<slice>` in one folder are a scan; any other image is one by itself.

    Raises:
        MetsegError: There is nothing to segment, two masks would have one name, or a file that metseg did
            not write would be lost.
    """
    source, output = Path(source), Path(output)
    if source.is_file():
        images, home = [source], source.parent
    elif source.is_dir():
        images, home = [path for path in files_below(source) if _is_image(path)], source
    else:
        raise MetsegError(f"{source} does not exist; give an image or a folder of images")
    if not images:
        raise MetsegError(f"{source} holds no image; expected {', '.join(IMAGE_SUFFIXES)}")
    targets = [output / path.relative_to(home).with_name(f"{path.stem}_mask.tif") for path in images]
    twice = sorted(str(target) for target, times in Counter(targets).items() if times > 1)
    if twice:
        raise MetsegError(f"several images would write {', '.join(twice)}; give each its own name")
    for target in targets:
        if target.exists() and not _is_ours(target):
            raise MetsegError(f"{target} lies there already and may be a reference; choose another output")
    scans: dict[tuple, list] = defaultdict(list)
    for image, target in zip(images, targets, strict=True):
        case_id, number = slice_of(image) or (image.name, 0)
        scans[image.parent, case_id].append((number, image, target))
    return [[pair[1:] for pair in sorted(scan)] for scan in scans.values()]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.stem.lower().endswith("_mask")


def _is_ours(path: Path) -> bool:
    try:
        with tifffile.TiffFile(path) as tif:
            return tif.pages[0].software == _SOFTWARE
    except (tifffile.TiffFileError, OSError, IndexError):
        return False


def told(changes: Mapping[Path, Sequence[str]]) -> list[str]:
    """Returns what was done to make slices of files, a line a kind; `changes` is {file: its notes}."""
    alike: dict[str, list[tuple[Path, str]]] = defaultdict(list)
    for path, notes in changes.items():
        for note in notes:
            alike[note.partition(":")[0]].append((path, note))  # behind the colon are an image's own figures
    lines = []
    for kind, found in alike.items():
        (path, note), others = found[0], len(found) - 1
        lines.append(f"{path} and {others} more: {kind.rstrip('.')}." if others else f"{path}: {note}")
    return lines


def write_mask(mask: np.ndarray, target: Path) -> None:
    """Writes an (H, W) bool mask as a TIFF: uint8, 0 or 255."""
    with replacing(target) as partial:
        partial.write_bytes(mask_tiff(mask, software=_SOFTWARE))
