"""A file becomes a `Volume`, by whichever reader knows its content, or one sentence on what is wrong with it.

A reader is a module with `SUFFIXES`, `SIGNATURES` (first bytes → what the format is called) and
`read(data, name, *, max_pixels)`, which returns pixels as stored, (H, W) or (H, W, C), and their spacing or
None. It raises `UnusablePixels` with a sentence; whatever else it raises is told as damage.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.readers import pictures, tiff_slices
from metseg.data.readers.image_errors import DamagedImage, NotAnImage, UnusablePixels
from metseg.data.volume import CHANNELS, SEQUENCES, Labels, Volume

READERS = (tiff_slices, pictures)
TIFF_SUFFIXES = tiff_slices.SUFFIXES
IMAGE_SUFFIXES = (*tiff_slices.SUFFIXES, *pictures.SUFFIXES)
_ONE_CLASS = {1.0, 255.0, 65_535.0}  # what programs write in a mask for "all of it", whatever the bits
# What the channels of a picture are called, by their number.
_NAMES = {1: ("grey",), 2: ("grey", "alpha"), 3: tuple(SEQUENCES), 4: (*SEQUENCES, "alpha")}
_LOSS = 3  # grey values by which the channels of one grey picture may differ
_COUNTED = 2**20  # pixels at once, which takes 8 bytes of each
_SQUARE = 0.01  # by which a pixel's sides may differ
_MAX_PIXELS = 2**26  # of a file on the user's own disk; a service sets a limit of its own


def kind_of(data: bytes) -> str | None:
    """Returns "TIFF", "PNG" or "JPEG" by a file's first bytes, or None."""
    signatures = {start: kind for reader in READERS for start, kind in reader.SIGNATURES.items()}
    return next((kind for start, kind in signatures.items() if data.startswith(start)), None)


def decode(data: bytes, name: str, *, max_pixels: int = _MAX_PIXELS) -> Volume:
    """Decodes one image file.

    Args:
        data: The file's content: TIFF, PNG or JPEG.
        name: What to call it in an error.
        max_pixels: The most pixels, height by width; of a file whose header says more, nothing is decoded.

    Returns:
        Its pixels as stored, a volume of one slice; a TIFF may give the spacing. The colours of a palette
        are looked up; grey with alpha becomes RGB with alpha.

    Raises:
        NotAnImage: The content is none of the three.
        DamagedImage: The file is truncated or damaged.
        UnusablePixels: It has no pixel, too many, several pages, or is stored in a way no slice is.
    """
    reader = next((each for each in READERS if data.startswith(tuple(each.SIGNATURES))), None)
    if reader:
        try:
            pixels, spacing_mm = reader.read(data, name, max_pixels=max_pixels)
        except UnusablePixels:
            raise
        except Exception as error:  # the libraries raise many kinds
            remedy = "copy it again from its source"
            raise DamagedImage(f"{name} is truncated or damaged; {remedy}") from error
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        return Volume.of_slice(pixels, _NAMES[pixels.shape[2]], spacing_mm=spacing_mm)
    if data[128:132] == b"DICM":
        raise NotAnImage(f"{name} is a DICOM file; export the slice as TIFF or PNG")
    raise NotAnImage(f"{name} is no image or is truncated; expected TIFF, PNG or JPEG")


def check_sequences(volume: Volume, name: str) -> Volume:
    """Returns a volume that is uint8 with the channels of `SEQUENCES`, else raises `UnusablePixels`."""
    if volume.channels != tuple(SEQUENCES):
        n = len(volume.channels)
        has = f"{n} channel{'s' * (n != 1)} ({', '.join(volume.channels)})"
        raise UnusablePixels(f"{name} has {has}; expected 3 channels: {', '.join(CHANNELS)}")
    if volume.array.dtype != np.uint8:
        raise UnusablePixels(f"{name} is {volume.array.dtype}; rescale it to 8 bits (uint8, 0 to 255)")
    return volume


def as_slice(volume: Volume, name: str) -> tuple[Volume, list[str]]:
    """Makes a slice for the networks of what people have: uint8 with the channels of `SEQUENCES`.

    Returns:
        The slice, and a sentence for each thing that was changed or may surprise.

    Raises:
        UnusablePixels: There are not 1, 3 or 4 channels (the fourth being alpha), or no finite number.
    """
    pixels, notes = volume.channels_last[0], []
    if pixels.shape[2] not in (1, 3, 4):
        has = f"{name} has {pixels.shape[2]} channels"
        raise UnusablePixels(f"{has}; expected 1 channel, or 3: {', '.join(CHANNELS)}")
    if pixels.shape[2] == 4:
        notes.append("Its fourth channel (alpha, transparency) was left out.")
        pixels = pixels[..., :3]
    if pixels.dtype != np.uint8:
        pixels, done = _rescaled(pixels, name)
        notes += done
    elif pixels.max() == 1:
        notes.append("It holds the grey values 0 and 1 only, too few to trust a mask; rescale it to 0 … 255.")
    # Channels of grey hardly differ in a lossy file; nor do those of a slice with hardly anything in it.
    unlike = int(np.max(pixels.max(axis=2) - pixels.min(axis=2)))
    if unlike == 0 or (unlike <= _LOSS and pixels.max() > 10 * _LOSS):
        notes.append("It is grey and was taken as FLAIR, which stands in for the other two as well.")
    _, height, width = volume.spacing_mm or (1, 1, 1)
    if abs(height / width - 1) > _SQUARE:
        notes.append(
            f"Its pixels are {height:.3g} × {width:.3g} mm by the file; the network sees it so stretched."
        )
    pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else np.ascontiguousarray(pixels)
    return Volume.of_slice(pixels, affine=volume.affine, spacing_mm=volume.spacing_mm), notes


def _rescaled(pixels: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """Stretches each channel by itself to 0…255, for the contrasts of MRI share no scale."""
    channels, strange = zip(*[to_8_bits(channel) for channel in np.moveaxis(pixels, -1, 0)], strict=True)
    if sum(strange) == pixels.size:
        raise UnusablePixels(f"{name} holds no finite number; export the slice again")
    each = "" if len(channels) == 1 else ", each channel by itself"
    notes = [f"Its {pixels.dtype} values were rescaled to 0 … 255, from the lowest to 99.9 %{each}."]
    if any(strange):
        notes.append(f"{sum(strange)} values are no finite number and were taken as the lowest.")
    return np.stack(channels, axis=-1), notes


def to_8_bits(channel: np.ndarray) -> tuple[np.ndarray, int]:
    """Stretches a channel to 0…255, from its lowest finite value to the 99.9th percentile of the finite ones.

    So one hot pixel does not darken the rest; where the percentile is the lowest value too, the highest one
    becomes 255.

    Returns:
        uint8 of the same shape, and how many values are no finite number: they become 0.
    """
    if channel.dtype.kind in "biu" and channel.dtype.itemsize <= 2:
        # Few numbers: a table and a histogram, in a tenth of the time.
        above = channel.astype(np.uint16) - np.uint16(int(channel.min()) % 2**16)
        flat, numbers = above.ravel(), int(above.max()) + 1
        parts = (flat[start : start + _COUNTED] for start in range(0, flat.size, _COUNTED))
        upto = sum(np.bincount(part, minlength=numbers) for part in parts).cumsum()
        high = np.searchsorted(upto, _rank(channel.size), side="right")
        return _stretched(np.arange(len(upto)), high or len(upto) - 1)[above], 0
    finite, scaled = np.isfinite(channel), np.zeros(channel.shape, np.uint8)
    values = channel[finite]
    if values.size:
        low, rank = np.float64(values.min()), _rank(values.size)
        values.partition((rank, -1))  # one place alone takes seven times as long where many are equal
        high = np.float64(values[rank]) - low or np.float64(values[-1]) - low
        for part, known, pixels in zip(scaled, finite, channel, strict=True):  # of which few are kept at once
            part[known] = _stretched(pixels[known].astype(np.float64) - low, high)
    return scaled, channel.size - values.size


def _rank(count: int) -> int:
    """Returns the place of the 99.9th percentile among sorted numbers, `higher` in `np.percentile`."""
    return int(np.ceil((count - 1) * (99.9 / 100)))


def _stretched(above: np.ndarray, high: float) -> np.ndarray:
    return np.rint(255 * np.minimum(above / (high or 1), 1)).astype(np.uint8)


def read_file(path: Path) -> bytes:
    """Returns a file's content, or raises a `MetsegError`."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise MetsegError(f"{path} cannot be opened ({reason}); check its name and permissions") from error


def read_image(path: Path) -> Volume:
    """Reads one slice of the networks' sequences, uint8; raises a `MetsegError` on anything else."""
    return check_sequences(decode(read_file(path), str(path)), str(path))


def read_slice(path: Path) -> tuple[Volume, list[str]]:
    """Reads a slice to be segmented, of any kind that dashboard and service take too; see `as_slice`."""
    return as_slice(decode(read_file(path), str(path)), str(path))


def read_labels(path: Path, shape: tuple[int, int] | None) -> np.ndarray:
    """Reads one reference mask as it is stored, (H, W): 0, and at most one other number for the lesion.

    Raises:
        MetsegError: It is of another size than its image (if that is known), has channels, or more than two
            values.
    """
    stored = decode(read_file(path), str(path))
    if len(stored.channels) > 1:
        has = f"{path} has {len(stored.channels)} channels"
        raise MetsegError(f"{has}; save the mask with one channel, 0 and 255 only")
    pixels = stored.array[0, 0]
    if shape is not None and pixels.shape != shape:
        raise MetsegError(f"{path} is {pixels.shape} but its image is {shape}; export both at one size")
    values = np.unique(pixels)
    fits = len(values) == 1 or (len(values) == 2 and values[0] == 0)
    if not (fits and values[0] >= 0 and np.isfinite(values).all()):
        raise MetsegError(f"{path} has {len(values)} grey values; save the mask with 0 and 255 only")
    return pixels


def read_scan(images: Sequence[Path], masks: Sequence[Path], name: str) -> tuple[Volume, Labels]:
    """Reads the slices of one scan, in order, and the mask of each.

    Raises:
        MetsegError: Naming the first file that is wrong, and the scan by `name`.
    """
    slices, lesions, numbers = [], [], set[float]()
    for image, mask in zip(images, masks, strict=True):
        slices.append(read_image(image))
        stored = read_labels(mask, slices[-1].grid[1:])
        numbers |= {float(stored.max())} - {0.0}
        complain_of_classes(numbers, f"{mask} and other masks of {name}")
        lesions.append(stored > 0)
        if slices[-1].grid != slices[0].grid:
            raise MetsegError(
                f"{image} is {slices[-1].grid[1:]} but the first slice of {name} is {slices[0].grid[1:]}; "
                "export the scan at one size"
            )
    return Volume.stacked(slices), Labels.of_mask(np.stack(lesions), stored=frozenset(numbers))


def complain_of_classes(labels: set[float], masks: str) -> None:
    """Raises a `MetsegError` where masks mark a lesion with numbers that may be classes."""
    if len(labels) > 1 and not labels <= _ONE_CLASS:
        numbers = ", ".join(f"{label:g}" for label in sorted(labels))
        remedy = "if they are classes, save the one to find as 255 and all else as 0, else all as 255"
        raise MetsegError(f"{masks} mark with different numbers ({numbers}); {remedy}")
