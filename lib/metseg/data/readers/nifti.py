"""One NIfTI file (.nii, .nii.gz) becomes a `Volume` of one channel, or the reference of one.

Nothing is decompressed beyond what the header says, and what the header says is bounded first.
"""

import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.grid import SAME_VOXEL, grid_corners, order_between, reorder
from metseg.data.readers.image_errors import DamagedImage, UnusablePixels
from metseg.data.readers.inflated import Inflated
from metseg.data.readers.nifti_header import HEADER_BYTES, data_offset, grid_of, parse_header, place_of
from metseg.data.volume import Labels, Volume

if TYPE_CHECKING:
    from nibabel import Nifti1Header

SUFFIXES = (".nii", ".nii.gz")
MAX_VOXELS = 2**28  # of a file on the user's own disk: 512 × 512 × 1024; a service sets a limit of its own
_CHUNK = 2**24  # bytes read at once
_WHOLE = 1e-3  # a label stored with a slope is whole within this
_LARGEST = 65_535  # label
_NEAREST = 0.5  # within half a voxel, the nearest voxel is the one of the same number
_LISTED = 8  # labels in a sentence
_LESION = {"lesion": frozenset({1})}


def read(
    source: Path | bytes, name: str = "", *, channel: str = "grey", max_voxels: int = MAX_VOXELS
) -> tuple[Volume, list[str]]:
    """Reads one volume.

    Args:
        source: The file, or its content.
        name: What to call it in an error; a file goes by its path.
        channel: Which sequence it is: `t1`, `t1c`, `t2`, `flair`.
        max_voxels: The most voxels that the header may claim.

    Returns:
        The volume, array (1, Z, Y, X) in the file's dtype and order of voxels, or float32 where the file has
        a slope; and a sentence on each thing that was changed, guessed or may surprise.

    Raises:
        MetsegError: The file cannot be opened. `NotAnImage`, `DamagedImage` or `UnusablePixels`, which are
            such: it is no NIfTI, is damaged or has another size than it says, or holds no real volume.
    """
    name = name or _name_of(source)
    with _opened(source, name) as stream:
        head = stream.read(HEADER_BYTES)
        header = parse_header(head, name)
        grid, offset = grid_of(header), data_offset(header, name)
        size = " × ".join(map(str, grid[::-1]))
        voxels = int(np.prod(grid, dtype=object))
        if voxels > max_voxels:
            raise UnusablePixels(f"{name} says it is {size} voxels; the most is {max_voxels}, so crop it")
        dtype = header.get_data_dtype()
        content = np.empty(voxels * dtype.itemsize, np.uint8)  # no memory is taken before it is filled
        stream.read(max(0, offset - HEADER_BYTES))
        begun = head[offset:]
        at = min(len(begun), len(content))
        content[:at] = memoryview(begun)[:at]
        while at < len(content) and (chunk := stream.read(min(_CHUNK, len(content) - at))):
            content[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
            at += len(chunk)
        # One byte more also makes gzip check its sum.
        more = stream.read(1) or len(begun) > at
    if at < len(content) or more:
        holds = "more" if more else f"only {at:,}"
        raise DamagedImage(
            f"{name} says it is {size} voxels of {dtype.newbyteorder('=')}, thus {len(content):,} bytes, "
            f"but holds {holds}; copy or export it again"
        )
    affine, spacing_mm, notes = place_of(header, name)
    stored = content.view(dtype).reshape(1, *grid)
    array, done = _scaled(stored.astype(dtype.newbyteorder("="), copy=False), header, name)
    return Volume(array, (channel,), affine=affine, spacing_mm=spacing_mm), notes + done


def read_header(source: Path | bytes, name: str = "") -> "Nifti1Header":
    """Reads the header of a file that `read` can read; raises as it does."""
    name = name or _name_of(source)
    with _opened(source, name) as stream:
        return parse_header(stream.read(HEADER_BYTES), name)


def read_grid(source: Path | bytes, name: str = "") -> Volume:
    """Returns the grid of a file that `read` can read, from its header; raises as `read` does."""
    name = name or str(source)
    header = read_header(source, name)
    affine, spacing_mm, _ = place_of(header, name)
    return Volume.of_grid(grid_of(header), affine=affine, spacing_mm=spacing_mm)


def read_labels(
    source: Path | bytes,
    image: Volume,
    name: str = "",
    *,
    regions: Mapping[str, frozenset[int]] = _LESION,
    expected: Collection[int] | None = None,
    max_voxels: int = MAX_VOXELS,
) -> tuple[Labels, list[str]]:
    """Reads the reference of an image.

    Args:
        source: The file, or its content.
        image: The volume on whose grid it is wanted. A reference in another axis order is reordered.
        name: What to call it in an error; a file goes by its path.
        regions: Which numbers make a region.
        expected: The numbers that may occur beside 0; None for any.
        max_voxels: The most voxels that the header may claim.

    Returns:
        Labels on the image's grid; and a sentence on each thing that was changed or may surprise.

    Raises:
        MetsegError: As by `read`; or `UnusablePixels`: it holds other than whole numbers from 0, or
            unexpected ones, or its grid is not that of the image.
    """
    name = name or _name_of(source)
    stored, notes = read(source, name, max_voxels=max_voxels)
    array = _whole_numbers(stored.array[0], name)
    found = set(np.unique(array).tolist()) - {0}
    if expected is not None and (other := found - set(expected)):
        raise UnusablePixels(
            f"{name} marks with {_listed(other)}, but only {_listed(expected)} are known; "
            "say what the numbers mean, or give another reference"
        )
    array, done = _on_grid_of(image, stored, array, name)
    if not found:
        done.append("It marks no voxel.")
    elif regions and (idle := found - set().union(*regions.values())):
        done.append(f"It marks with {_listed(idle)} what belongs to no region ({', '.join(regions)}).")
    return Labels(array, regions, stored=frozenset(map(float, found))), notes + done


def _name_of(source: Path | bytes) -> str:
    return "the file" if isinstance(source, bytes) else str(source)


@contextmanager
def _opened(source: Path | bytes, name: str) -> Iterator[BinaryIO | Inflated]:
    """Opens a file or its content, decompressed on reading, and says in a sentence what goes wrong."""
    try:
        with BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            yield Inflated(raw, name) if zipped else raw
    except (EOFError, zlib.error) as error:
        raise DamagedImage(f"{name} is truncated or damaged; copy it again from its source") from error
    except OSError as error:
        reason = error.strerror or error
        raise MetsegError(f"{name} cannot be opened ({reason}); check its name and permissions") from error


def _scaled(array: np.ndarray, header: "Nifti1Header", name: str) -> tuple[np.ndarray, list[str]]:
    """Applies the header's slope and intercept, if they change anything, and counts what is not finite."""
    from nibabel.spatialimages import HeaderDataError

    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise UnusablePixels(f"{name} has an intercept that is no number; export it again") from error
    notes = []
    if slope is not None and (slope, intercept) != (1, 0):
        notes.append(f"Its stored {array.dtype} values were scaled: times {slope:.6g}, plus {intercept:.6g}.")
        array = array.astype(
            np.promote_types(np.float32, array.dtype) if array.dtype.kind == "f" else np.float32
        )
        array *= slope
        array += intercept
    if array.dtype.kind == "f" and (strange := array.size - int(np.isfinite(array).sum())):
        notes.append(f"{strange} of its {array.size} voxels are no finite number.")
    return array, notes


def _whole_numbers(values: np.ndarray, name: str) -> np.ndarray:
    """Returns labels as the smallest unsigned integers that hold them."""
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise UnusablePixels(f"{name} holds NaN or infinity; save the reference as whole numbers")
        whole = np.rint(values)
        if (off := np.abs(values - whole)).max() > _WHOLE:
            example = values.ravel()[off.argmax()]
            raise UnusablePixels(
                f"{name} holds values that are no whole numbers, such as {example:.4g}: it was interpolated "
                "or is a map of probabilities; give the reference itself"
            )
        values = whole
    if values.min() < 0:
        raise UnusablePixels(f"{name} holds negative labels ({values.min():g}); save them from 0 on")
    if values.max() > _LARGEST:
        raise UnusablePixels(f"{name} holds labels up to {values.max():g}: it is no reference; give that")
    return values.astype(np.min_scalar_type(int(values.max())))


def _on_grid_of(image: Volume, stored: Volume, array: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """Brings labels to an image's grid where that takes a change of axis order at most."""
    order = order_between(stored, image, tolerance=_NEAREST)
    if order is not None:
        notes = []
        if stored.grid != image.grid or (order != np.eye(4)).any():
            notes.append("It is stored in another axis order than its image and was turned by their affines.")
        if order_between(stored, image, SAME_VOXEL) is None:
            notes.append("It lies some tenths of a voxel beside its image and was taken voxel by voxel.")
        return reorder(array, order), notes
    if stored.grid == image.grid and (stored.affine is None or image.affine is None):
        which = "It does" if stored.affine is None else "Its image does"
        return array, [f"{which} not tell its orientation; having one size, they were taken to lie alike."]
    apart = ""
    if stored.affine is not None and image.affine is not None:
        ends = [(grid_corners(each.grid) @ each.affine.T).mean(axis=0)[:3] for each in (stored, image)]
        apart = f", their centres {np.linalg.norm(ends[0] - ends[1]):.1f} mm apart"
    raise UnusablePixels(
        f"{name} lies on another grid than its image ({_grid(stored)} and {_grid(image)} voxels{apart}, or "
        "turned); resample it to the image by nearest neighbour, or give the reference that belongs to it"
    )


def _grid(volume: Volume) -> str:
    return " × ".join(map(str, volume.grid[::-1]))


def _listed(numbers: Collection[int]) -> str:
    first = sorted(numbers)[:_LISTED]
    return ", ".join(map(str, first)) + " …" * (len(numbers) > _LISTED)
