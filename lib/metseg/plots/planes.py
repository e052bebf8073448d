"""A volume in three planes through one voxel, as a radiologist sees them."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import Normal, Stroke

from metseg.data.volume import SEQUENCES, Volume
from metseg.plots.style import PALE, PREDICTION, REFERENCE, contour_legend, outline, picture

# Of an axial grid (Z to the head, Y to the back, X to the patient's left), shown with the head above:
# the axis that a plane is across, then the letters at its left, right, upper and lower edge.
_PLANES = {"axial": (0, "RLAP"), "coronal": (1, "RLSI"), "sagittal": (2, "APSI")}
_EDGES = ((0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center"))
_EDGES += ((0.5, 0.98, "center", "top"), (0.5, 0.02, "center", "bottom"))


def plot_planes(
    volume: Volume,
    mask_ref: np.ndarray | None = None,
    mask_pred: np.ndarray | None = None,
    *,
    channels: Sequence[str] = ("t1c",),
    voxel: tuple[int, int, int] | None = None,
) -> np.ndarray:
    """Shows an axial, a coronal and a sagittal plane, with the contours of masks and each other's lines.

    Voxels are drawn at their true proportions where the files tell them. Letters at the edges say which side
    of the patient is there; where the files do not tell the orientation, there are none.

    Args:
        volume: On an axial grid, see `metseg.data.grid.to_axial`.
        mask_ref, mask_pred: (Z, Y, X) bool, or None.
        channels: Which of the volume's sequences, a row each.
        voxel: (z, y, x) that the planes meet in; if left out, in the middle of the slice with most lesion.

    Returns:
        (channels, 3) Axes.
    """
    given = {"reference": (mask_ref, REFERENCE), "prediction": (mask_pred, PREDICTION)}
    masks = {name: (mask, style) for name, (mask, style) in given.items() if mask is not None}
    voxel = _busiest([mask for mask, _ in masks.values()], volume.grid) if voxel is None else voxel
    spacing = volume.spacing_mm or (1, 1, 1)
    sides = {plane: [k for k in range(3) if k != across] for plane, (across, _) in _PLANES.items()}
    widths = [volume.grid[column] * spacing[column] for _, column in sides.values()]
    tallest = max(volume.grid[row] * spacing[row] for row, _ in sides.values())
    size = (9, 9 * len(channels) * tallest / sum(widths) + 0.6)
    axes = plt.subplots(len(channels), 3, figsize=size, width_ratios=widths, squeeze=False)[1]
    for row_of_axes, channel in zip(axes, channels, strict=True):
        image = volume.array[volume.channels.index(channel)]
        for ax, (plane, (across, letters)) in zip(row_of_axes, _PLANES.items(), strict=True):
            row, column = sides[plane]
            upright = slice(None, None, -1 if row == 0 else 1)  # the head is above

            def cut(array: np.ndarray, across: int = across, upright: slice = upright) -> np.ndarray:
                return array.take(voxel[across], axis=across)[upright]

            title = f"{plane}, {voxel[across] + 1} of {volume.grid[across]}"
            picture(ax, cut(image), title if channel == channels[0] else "", upper=image.max())
            ax.set_aspect(spacing[row] / spacing[column])
            at_row = volume.grid[0] - 1 - voxel[0] if row == 0 else voxel[row]
            ax.axhline(at_row, color=PALE, linewidth=0.5, alpha=0.6)
            ax.axvline(voxel[column], color=PALE, linewidth=0.5, alpha=0.6)
            for mask, style in masks.values():
                outline(ax, cut(mask), style)
            if volume.affine is not None:
                _letter(ax, letters)
        first = row_of_axes[0]
        place = {"rotation": 90, "va": "center", "ha": "right", "transform": first.transAxes}
        first.text(-0.03, 0.5, SEQUENCES.get(channel, channel), fontsize=8, **place)
    if masks:
        contour_legend(axes[0, 0].figure, [*masks])
    return axes


def _busiest(masks: Sequence[np.ndarray], grid: tuple[int, int, int]) -> tuple[int, int, int]:
    """Returns a voxel of the first mask that has any, in the slice with most; or the middle of the grid."""
    for mask in masks:
        if mask.any():
            z = int(mask.sum(axis=(1, 2)).argmax())
            places = np.argwhere(mask[z])
            nearest = np.linalg.norm(places - places.mean(axis=0), axis=1).argmin()
            return z, *places[nearest].tolist()
    return tuple(side // 2 for side in grid)


def _letter(ax: Axes, letters: str) -> None:
    for letter, (x, y, ha, va) in zip(letters, _EDGES, strict=True):
        drawn = ax.text(x, y, letter, color="white", fontsize=8, ha=ha, va=va, transform=ax.transAxes)
        drawn.set_path_effects([Stroke(linewidth=2, foreground="black"), Normal()])
