"""The images of a folder, scan by scan, and where each mask goes: none of the user's is overwritten."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from metseg.base.errors import MetsegError
from metseg.base.files import complain_of_path, files_below
from metseg.data.cases import count_scans
from metseg.data.layouts.slices import place_of
from metseg.data.readers.images import IMAGE_SUFFIXES, read_slice
from metseg.data.volume import Volume
from metseg.data.writers.tiff_masks import is_ours, write_mask
from metseg.inference.predictor import Predictor
from metseg.inference.trust import Untrusted

Pairs = list[tuple[Path, Path]]


def segmentable(source: Path, output: Path, *, volumes: bool = False) -> list[Pairs]:
    """Lists the images to segment, scan by scan, and where each mask goes.

    Args:
        source: An image, or a folder whose tree is mirrored; its masks and hidden files are left alone.
        output: Folder for the masks.
        volumes: Whether images named `<name>_<n>` in one folder are one person's scan. Else they are only in
            a folder of that name, or by the name of a public data set.

    Returns:
        For each scan [(image, its mask's path below `output`)] in slice order.

    Raises:
        MetsegError: There is nothing to segment, two masks would have one name, a file that metseg did not
            write would be lost, or a path is none for scans (`complain_of_path`).
    """
    source, output = Path(source), Path(output)
    complain_of_path(source)
    complain_of_path(output)
    if source.is_file():
        images, home = [source], source.parent
    elif source.is_dir():
        images = [path for path in files_below(source) if path.suffix.lower() in IMAGE_SUFFIXES]
        images, home = [path for path in images if not place_of(path, source).is_mask], source
    else:
        raise MetsegError(f"{source} does not exist; give an image or a folder of images")
    if not images:
        raise MetsegError(f"{source} holds no image; expected {', '.join(IMAGE_SUFFIXES)}")
    targets = [output / path.relative_to(home).with_name(f"{path.stem}_mask.tif") for path in images]
    if twice := sorted(str(target) for target, times in Counter(targets).items() if times > 1):
        raise MetsegError(f"several images would write {', '.join(twice)}; give each its own name")
    for target in targets:
        if target.exists() and not is_ours(target):
            raise MetsegError(f"{target} lies there already and may be a reference; choose another output")
    above = Path(os.path.abspath(home)).parent  # for the folder that was named may be the scan's own
    scans: dict[object, list] = defaultdict(list)
    for image, target in zip(images, targets, strict=True):
        place = place_of(image, above)
        together = place.numbered and place.slice_index is not None and (volumes or place.is_of_volume)
        scan = (image.parent, place.case_id) if together else image
        scans[scan].append((place.slice_index if together else 0, image, target))
    return [[pair[1:] for pair in sorted(scan)] for scan in scans.values()]


class Segmented(NamedTuple):
    """What came of the images of one or more scans."""

    masks: int  # written
    notes: list[str]  # what was done to make slices of files, and how they are unlike the training's
    failed: list[str]  # a sentence for each file that could not be segmented


def segment_scans(predictor: Predictor, scans: Iterable[Pairs], *, trust_anyway: bool = False) -> Segmented:
    """Segments scans of `segmentable` and writes their masks; what cannot be read stops no other scan.

    For `trust_anyway` see `Predictor.trusted_map`.
    """
    written, changes, failed = 0, {}, []
    for scan in scans:
        slices, bad = {}, []
        for path, target in scan:
            try:
                slices[target], changes[path] = read_slice(path)
            except MetsegError as error:
                bad.append(str(error))
        if len({each.grid for each in slices.values()}) > 1:
            bad.append(f"{scan[0][0]} and other slices of its scan differ in size; export it at one size")
        if bad and len(scan) > 1:  # a slice's neighbours would be taken for each other's
            failed += [f"{text}; no slice of its scan was segmented" for text in bad]
            continue
        failed += bad
        if not slices:
            continue
        path, volume = scan[0][0], Volume.stacked([*slices.values()])
        try:
            prob_map, notes = predictor.trusted_map(volume, str(path), trust_anyway=trust_anyway)
        except Untrusted as error:
            failed.append(str(error))
            continue
        changes[path] = [*changes.get(path, ()), *notes]
        for mask, target in zip(predictor.mask_of(prob_map), slices, strict=True):
            write_mask(mask, target)
        written += len(slices)
    return Segmented(written, _told(changes), failed)


def how_read(scans: list[Pairs]) -> str:
    """Returns in words how files were read: "36 files: 1 scan of 36 slices"."""
    lengths = [len(scan) for scan in scans]
    kinds = [each for each in lengths if each > 1], [each for each in lengths if each == 1]
    parts = [count_scans(kind) for kind in kinds if kind]
    return f"{sum(lengths)} file{'s' * (sum(lengths) != 1)}: {', '.join(parts)}"


def _told(changes: Mapping[Path, Sequence[str]]) -> list[str]:
    """Returns what is to be known of files, a line a kind, from {file: its notes}."""
    alike: dict[str, list[tuple[Path, str]]] = defaultdict(list)
    for path, notes in changes.items():
        for note in notes:
            alike[note.partition(":")[0]].append((path, note))  # behind the colon are an image's own figures
    return [
        f"{path} and {len(others)} more: {kind.rstrip('.')}." if others else f"{path}: {note}"
        for kind, ((path, note), *others) in alike.items()
    ]
