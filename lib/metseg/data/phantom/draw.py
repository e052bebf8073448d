"""The phantom: drawn brain slices with metastases, so that every step runs without a download.

Its files lie as those of the Kaggle LGG set. A mask marks enhancing tumour and necrotic core, not oedema. No
figure reached on it says anything about patients.
"""

import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import tifffile

from metseg.base.errors import MetsegError
from metseg.base.files import whole_folder
from metseg.data.phantom.anatomy import make_anatomy, smooth_noise
from metseg.data.phantom.lesions import (
    paint_lesions,
    paint_vessels,
    paint_white_matter_disease,
    place_lesions,
)

GENERATOR_VERSION = 1  # raise it whenever the same seed gives other pixels
FIELD_OF_VIEW_MM = 200.0
SLICE_MM = 5.0
_USUAL = {"size": 160, "slices": 16, "pixel_mm": 1.25, "slice_mm": SLICE_MM}
_GLIOMA, _GLIOMA_CORE = (0.44, 0.86, 0.46), (0.30, 0.72, 0.33)  # (T1, FLAIR, post-contrast T1)
_NOTE = "Synthetic images drawn by metseg; no figure obtained on them is clinical."


class PhantomCase(NamedTuple):
    """A phantom scan with its reference."""

    image: np.ndarray  # (Z, H, W, 3) uint8
    mask: np.ndarray  # (Z, H, W) bool


def draw_phantom(
    index: int,
    *,
    seed: int = 0,
    size: int = 160,
    slices: int = 16,
    pixel_mm: float = 1.25,
) -> PhantomCase:
    """Draws one patient, the same whichever others are drawn.

    Args:
        index: The patient's number, from 0.
        seed: Of the whole set.
        size: Height and width in pixels; the head needs about 200 mm.
        slices: Number of axial slices, `SLICE_MM` apart, from below the ventricles towards the vertex.
        pixel_mm: Spacing in the plane.
    """
    rng = np.random.default_rng([seed, index])
    anatomy = make_anatomy(rng, size, slices, pixel_mm, SLICE_MM)
    paint_white_matter_disease(rng, anatomy)
    lesions = place_lesions(rng, anatomy, SLICE_MM)
    mask = paint_lesions(rng, anatomy, lesions)
    touched = [lesion.centre_mm + (lesion.diameter_mm / 2, 0, 0) for lesion in lesions if rng.random() < 0.3]
    paint_vessels(rng, anatomy, np.reshape(touched, (-1, 3)))
    return PhantomCase(acquire(rng, anatomy.signal, anatomy.points_mm), mask)


def draw_glioma(
    index: int, *, centre_mm: tuple[float, float, float], radii_mm: tuple[float, float, float]
) -> PhantomCase:
    """Draws a head with a lesion like a lower-grade glioma: large, bright in FLAIR, without enhancement.

    Args:
        centre_mm: Of the lesion, in the head's frame: x from left to right, y to the front, z to the vertex.
        radii_mm: Of the ellipsoid that it is before its surface is roughened.

    Returns:
        A case of the usual size; its mask is of what is bright in FLAIR.
    """
    rng = np.random.default_rng([index, 1])  # not the numbers that a phantom of metastases is drawn with
    anatomy = make_anatomy(rng, **_USUAL)
    points = anatomy.points_mm
    scaled = np.linalg.norm((points - np.float32(centre_mm)) / np.float32(radii_mm), axis=-1)
    within = (1 - scaled) * np.float32(min(radii_mm))
    within += 3.0 * smooth_noise(rng, points, 16) + 0.8 * smooth_noise(rng, points, 6)
    # It fills white matter, takes the cortex in, and stops at the skull and the ventricles.
    within = np.minimum.reduce([within, anatomy.depth_mm - 1.0, anatomy.ventricle_mm - 0.5])
    anatomy.paint(within / 2, _GLIOMA, opacity=0.92)  # its edge is soft
    anatomy.paint((within - 6 + 3.0 * smooth_noise(rng, points, 12)) / 3, _GLIOMA_CORE, opacity=0.7)
    return PhantomCase(acquire(rng, anatomy.signal, points), within > 0)


def acquire(rng: np.random.Generator, signal: np.ndarray, points_mm: np.ndarray) -> np.ndarray:
    """Turns painted signal into an image: blur, coil shading, contrast of the day, Rician noise, 8 bits.

    Reference:
        Gudbjartsson & Patz 1995, Magn Reson Med 34:910: magnitude noise in MRI is Rician.
    """
    sharp = np.moveaxis(signal, -1, 1)
    blurred = np.stack([[cv2.GaussianBlur(plane, (0, 0), 0.55) for plane in channels] for channels in sharp])
    signal = np.moveaxis(blurred, 1, -1)
    # Both T1 series share the coil's shading; each channel adds a little of its own.
    shared = 0.09 * smooth_noise(rng, points_mm, 110)
    shading = np.stack([shared + 0.04 * smooth_noise(rng, points_mm, 90) for _ in range(3)], axis=-1)
    gain, gamma = rng.uniform(0.78, 1.0, 3), rng.uniform(0.85, 1.2, 3)
    signal = gain * np.maximum(signal, 0) ** gamma * np.exp(shading)
    sigma = rng.uniform(0.015, 0.035)
    real, imaginary = rng.standard_normal((2, *signal.shape), dtype=np.float32) * np.float32(sigma)
    return np.clip(255 * np.hypot(signal + real, imaginary), 0, 255).round().astype(np.uint8)


def write_phantom(
    folder: Path, *, patients: int = 24, seed: int = 0, slices: int = 16, size: int = 160
) -> Path:
    """Writes the phantom into a folder, whole or not at all, and returns it; one that lies there stays.

    Args:
        folder: Receives one folder a case, PHANTOM_0001_20000101 and so on, and phantom.json. With another
            seed they are other patients: PHANTOM_S7_0001_20000101 and so on.
        patients: Number of patients.
        seed: Of the set.
        slices: Slices a patient, 5 mm apart; 16 span the brain above the skull base.
        size: Height and width in pixels of a field of view of 200 mm.

    Raises:
        MetsegError: `folder` holds something else, or cannot be written to.
    """
    folder, record = Path(folder), {"generator_version": GENERATOR_VERSION}
    record |= {"patients": patients, "seed": seed, "slices": slices, "size": size}
    record |= {"pixel_mm": FIELD_OF_VIEW_MM / size, "slice_mm": SLICE_MM, "note": _NOTE}
    if seed:
        record["first"] = _case_id(1, seed)  # older versions gave all seeds the same names
    if _holds_phantom(folder, record):
        return folder
    with whole_folder(folder, is_there=lambda: _holds_phantom(folder, record)) as partial:
        for index in range(1, patients + 1):
            _write_case(partial, index, seed=seed, slices=slices, size=size)
        (partial / "phantom.json").write_text(json.dumps(record, indent=2) + "\n")
    return folder


def draw_phantom_if_missing(folder: Path) -> None:
    """Draws the default phantom where a notebook expects it; any other folder is the user's own business."""
    if Path(folder).name == "phantom" and not Path(folder).exists():
        write_phantom(folder)


def _case_id(index: int, seed: int) -> str:
    of_seed = f"S{seed}_" if seed else ""  # two phantoms must not look like the same patients
    return f"PHANTOM_{of_seed}{index:04d}_20000101"


def _write_case(tree: Path, index: int, *, seed: int, slices: int, size: int) -> None:
    pixel_mm = FIELD_OF_VIEW_MM / size
    case = draw_phantom(index, seed=seed, size=size, slices=slices, pixel_mm=pixel_mm)
    case_id = _case_id(index, seed)
    (tree / case_id).mkdir()
    tags = {"compression": "zlib", "resolution": (10 / pixel_mm,) * 2, "resolutionunit": "CENTIMETER"}
    tags |= {"description": f"spacing_mm={SLICE_MM}", "metadata": None, "software": "metseg phantom"}
    for number, (plane, truth) in enumerate(zip(case.image, case.mask, strict=True), start=1):
        stem = tree / case_id / f"{case_id}_{number}"
        tifffile.imwrite(f"{stem}.tif", plane, photometric="rgb", **tags)
        tifffile.imwrite(f"{stem}_mask.tif", truth.astype(np.uint8) * 255, photometric="minisblack", **tags)


def _holds_phantom(folder: Path, record: dict) -> bool:
    """Tells whether `folder` holds exactly this phantom; raises if it holds anything else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        found = json.loads((folder / "phantom.json").read_text())
    except (OSError, ValueError):
        found = None
    if found != record:
        what = "something else than this phantom, or one by another version of metseg"
        raise MetsegError(f"{folder} holds {what}; choose another folder, or move it away")
    return True
