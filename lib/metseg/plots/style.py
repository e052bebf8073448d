"""What all figures share: one colour per network, contours that tell apart without colour."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke

from metseg.base.files import replacing
from metseg.data.volume import CHANNELS
from metseg.masks.colours import PREDICTION_COLOUR, REFERENCE_COLOUR

# Okabe & Ito's palette: distinct for the colour-blind; the networks' also differ in lightness.
MODEL_COLOURS = {"nested_unet": "#0072B2", "attention_unet": "#D55E00", "unet": "#7F7F7F"}
REFERENCE = {"colors": REFERENCE_COLOUR, "linestyles": "solid", "linewidths": 1.3}
PREDICTION = {"colors": PREDICTION_COLOUR, "linestyles": "dashed", "linewidths": 1.3}
FLAIR = CHANNELS.index("FLAIR")
LESION = "#AA3377"  # of no network
INK, PALE = "#222222", "#BBBBBB"


def use_style() -> None:
    """Sets fonts, spines and sizes for the session, whatever a user's matplotlibrc says."""
    plt.style.use("default")
    plt.rcParams.update({
        "figure.dpi": 110,
        "savefig.dpi": 150,
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": PALE,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "legend.frameon": False,
        "image.cmap": "gray",
    })  # fmt: skip


def colour_of(label: str) -> str:
    """Returns a network's colour; `run/network` has that of its network."""
    return MODEL_COLOURS.get(label.rsplit("/", 1)[-1], "#CC79A7")


def axes_or_new(ax: Axes | None, size: tuple[float, float] = (4.5, 3.2)) -> Axes:
    """Returns the Axes given, or those of a new figure of that size in inches."""
    return plt.subplots(figsize=size)[1] if ax is None else ax


def outline(ax: Axes, mask: np.ndarray, style: dict) -> None:
    """Draws the border of an (H, W) bool mask, if it has any, haloed to show on bright tissue."""
    if mask.any():
        lines = ax.contour(mask, levels=[0.5], **style)
        lines.set_path_effects(
            [Stroke(linewidth=style["linewidths"] + 1.2, foreground="black", alpha=0.6), Normal()]
        )


def contour_legend(figure: Figure, names: Sequence[str] = ("reference", "prediction")) -> None:
    """Says below a figure which contour is the reference and which the prediction."""
    styles = {"reference": REFERENCE, "prediction": PREDICTION}
    lines = [
        Line2D([], [], color=styles[name]["colors"], linestyle=styles[name]["linestyles"], label=name)
        for name in names
    ]
    box = {"ncols": 2, "facecolor": "#555555", "labelcolor": "white", "frameon": True}
    figure.legend(handles=lines, loc="outside lower center", **box)


def picture(ax: Axes, image: np.ndarray, title: str = "", *, upper: float | None = None) -> Axes:
    """Shows an (H, W) image in grey, without ticks; `upper` is shown white."""
    ax.imshow(image, vmin=0, vmax=upper)
    ax.set_title(title)
    ax.set_axis_off()
    return ax


def save_figure(axes: Axes | np.ndarray, path: Path) -> Path:
    """Saves the figure that these Axes belong to, whole or not at all, and closes it."""
    figure = np.ravel(axes)[0].figure
    with replacing(path) as partial:
        figure.savefig(partial)
    plt.close(figure)
    return path
