"""Slices to try the dashboard with: drawn by metseg, so that nothing of a patient is shipped.

They are files because drawing one takes a second; `write_examples` draws them anew.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metseg.data.images import decode
from metseg.encode import encode_png, mask_png
from metseg.serve.upload import Upload

FOLDER = Path(__file__).with_name("example_slices")
_SPACING_MM = (5.0, 1.25, 1.25)


@dataclass(frozen=True)
class Example:
    """One example.

    Attributes:
        name: What its files are called.
        title: What a visitor reads.
        patient, slice_index: Which patient of the default phantom, counted from 1, and which slice, from 0.
    """

    name: str
    title: str
    patient: int
    slice_index: int


EXAMPLES = (
    Example("ring", "One ring", 18, 9),
    Example("frontal", "Frontal, with oedema", 21, 3),
    Example("several", "Several", 11, 6),
)


def load_example(name: str) -> tuple[Upload, np.ndarray]:
    """Returns an example as if it had been uploaded, and the (H, W) bool mask of the lesions drawn.

    Raises:
        KeyError: There is none of that name.
    """
    example = {example.name: example for example in EXAMPLES}[name]
    image, mask = (
        decode((FOLDER / f"{example.name}{end}.png").read_bytes(), example.title)[0] for end in ("", "_mask")
    )
    return Upload(image, _SPACING_MM, (), "PNG"), mask > 0


def write_examples(folder: Path = FOLDER) -> None:
    """Draws the examples into a folder: `<name>.png` and `<name>_mask.png`."""
    from metseg.data.phantom import draw_phantom  # its SciPy would slow the dashboard's start

    folder.mkdir(parents=True, exist_ok=True)
    for example in EXAMPLES:
        case = draw_phantom(example.patient)
        z = example.slice_index
        (folder / f"{example.name}.png").write_bytes(encode_png(case.image[z]))
        (folder / f"{example.name}_mask.png").write_bytes(mask_png(case.mask[z]))
