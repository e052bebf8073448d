"""Image files become pixels, or one sentence on what is wrong with them."""

from pathlib import Path

import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.readers import pictures
from metseg.data.readers import tiff_slices as tiff
from metseg.data.readers.image_errors import NotAnImage, UnusablePixels

CHANNELS = ("pre-contrast", "FLAIR", "post-contrast")
TIFF_SUFFIXES = (".tif", ".tiff")
IMAGE_SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jpg", ".jpeg")
ONE_CLASS = {1.0, 255.0, 65_535.0}  # what programs write in a mask for "all of it", whatever the bits
_LOSS = 3  # grey values by which the channels of one grey picture may differ
_MAX_PIXELS = 2**26  # of a file on the user's own disk; a service sets a limit of its own


def kind_of(data: bytes) -> str | None:
    """Returns "TIFF", "PNG" or "JPEG" by a file's first bytes, or None."""
    if data[:4] in tiff.SIGNATURES:
        return "TIFF"
    return next((kind for kind, start in pictures.SIGNATURES.items() if data.startswith(start)), None)


def decode(
    data: bytes, name: str, *, max_pixels: int = _MAX_PIXELS
) -> tuple[np.ndarray, tuple[float, float, float] | None]:
    """Decodes one image file.

    Args:
        data: The file's content: TIFF, PNG or JPEG.
        name: What to call it in an error.
        max_pixels: The most pixels, height by width; the file's header is asked, so that nothing of a
            larger one is decoded.

    Returns:
        Its pixels as stored, and (z, y, x) spacing in mm where a TIFF gives it. The colours of a palette
        are looked up; grey with alpha becomes RGB with alpha.

    Raises:
        NotAnImage: The content is none of the three.
        DamagedImage: The file is truncated or damaged.
        UnusablePixels: It has no pixel, too many, several pages, or is stored in a way no slice is.
    """
    kind = kind_of(data)
    if kind == "TIFF":
        return tiff.read_tiff(data, name, max_pixels=max_pixels)
    if kind is None and data[128:132] == b"DICM":
        raise NotAnImage(f"{name} is a DICOM file; export the slice as TIFF or PNG")
    if kind is None:
        raise NotAnImage(f"{name} is no image or is truncated; expected TIFF, PNG or JPEG")
    return pictures.read_picture(data, kind, name, max_pixels=max_pixels), None


def checked_image(pixels: np.ndarray, name: str) -> np.ndarray:
    """Returns an image the networks can read, or says what is wrong with it.

    Raises:
        UnusablePixels: It is not (H, W, 3) uint8.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        raise UnusablePixels(f"{name} has 4 channels; drop the alpha channel and keep {', '.join(CHANNELS)}")
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        shape = "1 channel" if pixels.ndim == 2 else f"shape {pixels.shape}"
        raise UnusablePixels(f"{name} has {shape}; expected 3 channels: {', '.join(CHANNELS)}")
    if pixels.dtype != np.uint8:
        raise UnusablePixels(
            f"{name} is {pixels.dtype}; rescale it to 8 bits (uint8, 0 to 255) and save it again"
        )
    return pixels


def as_slice(pixels: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """Makes a slice of what people have, and says what was done to it.

    Args:
        pixels: (H, W) or (H, W, C) of any real numbers, C being 1, 3 or 4; a fourth channel is alpha.
        name: What to call it in an error.

    Returns:
        (H, W, 3) uint8, and a sentence for each thing that was changed or may surprise.

    Raises:
        UnusablePixels: There are other channels, no pixel, or no finite number.
    """
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise UnusablePixels(
            f"{name} has shape {pixels.shape}; expected 1 channel, or 3: {', '.join(CHANNELS)}"
        )
    if pixels.size == 0:
        raise UnusablePixels(f"{name} has no pixel; export the slice again")
    notes = []
    if pixels.shape[2] == 4:
        notes.append("Its fourth channel (alpha, transparency) was left out.")
        pixels = pixels[..., :3]
    if pixels.dtype != np.uint8:
        pixels, done = _rescaled(pixels, name)
        notes += done
    elif pixels.max() == 1:
        notes.append("It holds the grey values 0 and 1 only, too few to trust a mask; rescale it to 0 … 255.")
    if stored := _grey(pixels):
        notes.append(
            f"It is grey ({stored}) and was taken as FLAIR, which stands in for the other two as well."
        )
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels), notes


def _grey(pixels: np.ndarray) -> str:
    """Tells how (H, W, 1 or 3) uint8 pixels store one grey picture; nothing if they are no such."""
    if pixels.shape[2] == 1:
        return "one channel"
    unlike = int(np.max(pixels.max(axis=2) - pixels.min(axis=2)))
    if unlike == 0:
        return "three equal channels"
    # What a lossy file makes of grey; a slice with hardly anything in it has channels as much alike.
    return "three channels that hardly differ" if unlike <= _LOSS and pixels.max() > 10 * _LOSS else ""


def _rescaled(pixels: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """Stretches each channel by itself to 0…255, for the contrasts of MRI share no scale.

    A channel goes from its lowest finite value to the 99.9th percentile of its finite values, so that one hot
    pixel does not darken the rest; where that is the lowest value too, to the highest.
    """
    scaled, ranges, strange = np.zeros(pixels.shape, np.uint8), [], 0
    for k in range(pixels.shape[2]):  # one at a time, for they may be large
        channel = pixels[..., k]
        finite = np.isfinite(channel)
        values = channel[finite].astype(np.float64)
        strange += channel.size - values.size
        if values.size == 0:
            ranges.append("nothing finite")
            continue
        low, high = float(values.min()), float(np.percentile(values, 99.9, method="higher"))
        if high == low:
            high = float(values.max())
        ranges.append(f"{low:.5g} to {high:.5g}")
        if high > low:
            largest = max(abs(low), abs(high))  # divided by it, no difference overflows
            values = np.minimum(values, high)
            share = (values / largest - low / largest) / (high / largest - low / largest)
            scaled[finite, k] = np.rint(255 * share)
    if strange == pixels.size:
        raise UnusablePixels(f"{name} holds no finite number; export the slice again")
    each = "" if len(ranges) == 1 else ", each channel by itself"
    notes = [
        f"Its {pixels.dtype} values were rescaled to 0 … 255{each}, "
        f"from the lowest to the 99.9th percentile: {'; '.join(ranges)}."
    ]
    if strange:
        notes.append(f"{strange} values are no finite number and were taken as the lowest.")
    return scaled, notes


def read_pixels(path: Path) -> tuple[np.ndarray, tuple[float, float, float] | None]:
    """Reads one image file; see `decode`."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise MetsegError(
            f"{path} cannot be opened ({error.strerror or error}); check its name and permissions"
        ) from error
    return decode(data, str(path))


def read_image(path: Path) -> np.ndarray:
    """Reads one slice as (H, W, 3) uint8; raises `MetsegError` on anything else."""
    return checked_image(read_pixels(path)[0], str(path))


def read_slice(path: Path) -> tuple[np.ndarray, list[str]]:
    """Reads a slice to be segmented, of any kind that dashboard and service take too; see `as_slice`."""
    return as_slice(read_pixels(path)[0], str(path))


def read_mask(path: Path, shape: tuple[int, int] | None) -> np.ndarray:
    """Reads one reference mask as (H, W) bool; see `read_labels`."""
    return read_labels(path, shape) > 0


def read_labels(path: Path, shape: tuple[int, int] | None) -> np.ndarray:
    """Reads one reference mask as it is stored: 0, and at most one other number where the lesion is.

    Args:
        path: The mask's file.
        shape: (H, W) of its image; None where that could not be read.

    Returns:
        (H, W) of any numbers.

    Raises:
        MetsegError: It is of another size than its image, has channels, or more than two values.
    """
    pixels, _ = read_pixels(path)
    if pixels.ndim != 2:
        raise MetsegError(f"{path} has shape {pixels.shape}; save the mask with one channel, 0 and 255 only")
    if shape is not None and pixels.shape != shape:
        raise MetsegError(f"{path} is {pixels.shape} but its image is {shape}; export both at one size")
    values = np.unique(pixels)
    other = len(values) > 2 or (len(values) == 2 and values[0] != 0) or values[0] < 0
    if other or not np.isfinite(values).all():
        raise MetsegError(f"{path} has {len(values)} grey values; save the mask with 0 and 255 only")
    return pixels
