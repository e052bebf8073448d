"""Slices to try the dashboard with: drawn by metseg, so that nothing of a patient is shipped.

They are files because drawing one takes a second; `write_examples` draws them anew.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from metseg.masks.encode import encode_png, mask_png
from metseg.serve.upload import Upload, read_reference, read_upload

FOLDER = Path(__file__).with_name("example_slices")
_SPACING_MM = (5.0, 1.25, 1.25)
_METASTASES = "Drawn, nobody's head. Metastases, which networks trained on glioma mark poorly."
_GLIOMA = "Drawn, nobody's head. A lesion like a lower-grade glioma."


@dataclass(frozen=True)
class Example:
    """One example.

    Attributes:
        title: What a visitor reads on its button.
        about: What he reads when it is open.
        patient, slice_index: Which patient of the default phantom, counted from 1, and which slice, from 0.
        glioma: Centre and radii, mm, of the glioma that this patient has in the place of metastases.
    """

    title: str
    about: str
    patient: int
    slice_index: int
    glioma: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None


EXAMPLES = {
    "glioma": Example("Like a glioma", _GLIOMA, 1, 9, ((-32, 22, 26), (19, 23, 18))),
    "ring": Example("One ring", _METASTASES, 18, 9),
    "frontal": Example("Frontal, with oedema", _METASTASES, 21, 3),
    "several": Example("Several", _METASTASES, 11, 6),
}


def load_example(name: str) -> tuple[Upload, np.ndarray]:
    """Returns an example as if it had been uploaded, and the (H, W) bool mask of the lesions drawn."""
    slice_, mask = ((FOLDER / f"{name}{end}.png").read_bytes() for end in ("", "_mask"))
    upload = read_upload(slice_, name)
    known = replace(upload, volume=replace(upload.volume, spacing_mm=_SPACING_MM))
    return known, read_reference(mask, name, upload.image.shape[:2])


def write_examples(folder: Path = FOLDER) -> None:
    """Draws the examples into a folder: `<name>.png` and `<name>_mask.png`."""
    from metseg.data.phantom.draw import (  # its SciPy would slow the dashboard's start
        draw_glioma,
        draw_phantom,
    )

    for name, example in EXAMPLES.items():
        if example.glioma:
            centre_mm, radii_mm = example.glioma
            image, mask = draw_glioma(example.patient, centre_mm=centre_mm, radii_mm=radii_mm)
        else:
            image, mask = draw_phantom(example.patient)
        z = example.slice_index
        (folder / f"{name}.png").write_bytes(encode_png(image[z]))
        (folder / f"{name}_mask.png").write_bytes(mask_png(mask[z]))
