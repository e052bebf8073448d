"""Masks for files: one TIFF beside none of the user's own."""

from collections import Counter
from pathlib import Path

import numpy as np
import tifffile

from metseg.data.images import IMAGE_SUFFIXES
from metseg.errors import MetsegError
from metseg.files import replacing


def segmentable(source: Path, output: Path) -> list[tuple[Path, Path]]:
    """Lists the images to segment and where each mask goes.

    Args:
        source: An image, or a folder whose tree is mirrored; its masks (`…_mask.*`) and hidden files are
            left alone.
        output: Folder for the masks.

    Returns:
        [(image, its mask's path below `output`)].

    Raises:
        MetsegError: There is nothing to segment, two masks would have one name, or a mask that lies beside
            its image would be lost.
    """
    source, output = Path(source), Path(output)
    if source.is_file():
        images, home = [source], source.parent
    elif source.is_dir():
        images, home = [path for path in sorted(source.rglob("*")) if _is_image(path)], source
    else:
        raise MetsegError(f"{source} does not exist; give an image or a folder of images")
    if not images:
        raise MetsegError(f"{source} holds no image; expected {', '.join(IMAGE_SUFFIXES)}")
    targets = [output / path.relative_to(home).with_name(f"{path.stem}_mask.tif") for path in images]
    twice = sorted(str(target) for target, times in Counter(targets).items() if times > 1)
    if twice:
        raise MetsegError(f"several images would write {', '.join(twice)}; give each its own name")
    for image, target in zip(images, targets, strict=True):
        if target.exists() and target.parent.samefile(image.parent):
            raise MetsegError(f"{target} lies there already and may be a reference; choose another output")
    return list(zip(images, targets, strict=True))


def _is_image(path: Path) -> bool:
    is_mask, is_hidden = path.stem.lower().endswith("_mask"), path.name.startswith(".")
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_mask and not is_hidden and path.is_file()


def write_mask(mask: np.ndarray, target: Path) -> None:
    """Writes an (H, W) bool mask as a TIFF: uint8, 0 or 255."""
    with replacing(target) as partial:
        tifffile.imwrite(partial, mask.astype(np.uint8) * 255, photometric="minisblack", compression="zlib")
