"""Masks for files: one TIFF beside none of the user's own."""

from pathlib import Path

import numpy as np
import tifffile

from metseg.data.cases import IMAGE_SUFFIXES, read_image
from metseg.errors import MetsegError
from metseg.files import replacing
from metseg.predict import Predictor


def segmentable(source: Path) -> list[tuple[Path, Path]]:
    """Lists the images to segment and where each mask goes, relative to an output folder.

    Args:
        source: An image, or a folder whose tree is mirrored; its masks (`…_mask.*`) are left alone.

    Returns:
        [(image, relative path of its mask)].

    Raises:
        MetsegError: There is nothing to segment.
    """
    source = Path(source)
    if source.is_file():
        return [(source, Path(f"{source.stem}_mask.tif"))]
    if not source.is_dir():
        raise MetsegError(f"{source} does not exist; give an image or a folder of images")
    images = [
        path
        for path in sorted(source.rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.stem.lower().endswith("_mask")
        and path.is_file()
    ]
    if not images:
        raise MetsegError(f"{source} holds no image; expected {', '.join(IMAGE_SUFFIXES)}")
    targets = [path.relative_to(source).with_name(f"{path.stem}_mask.tif") for path in images]
    twice = (
        {str(target) for target in targets if targets.count(target) > 1}
        if len(set(targets)) < len(targets)
        else ()
    )
    if twice:
        raise MetsegError(f"several images would write {', '.join(sorted(twice))}; give each its own name")
    return list(zip(images, targets, strict=True))


def segment_file(predictor: Predictor, image: Path, target: Path) -> None:
    """Writes the mask of one image: uint8, 0 or 255, (H, W) as the image."""
    mask = predictor.mask(read_image(image))
    with replacing(target) as partial:
        tifffile.imwrite(partial, mask.astype(np.uint8) * 255, photometric="minisblack", compression="zlib")
