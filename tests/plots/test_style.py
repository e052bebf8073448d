"""Colours and contours that tell apart, and figures saved whole."""

import matplotlib.colors
import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pytest

from metseg.base.errors import MetsegError
from metseg.base.labels import label_of
from metseg.plots.style import (
    MODEL_COLOURS,
    PREDICTION,
    REFERENCE,
    axes_or_new,
    colour_of,
    outline,
    picture,
    save_figure,
    use_style,
)
from metseg.training.find import MODELS


def lightness(colour: str) -> float:
    """CIE L*, 0 to 100."""
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return 116 * np.cbrt(y) - 16


def test_every_network_has_a_colour_and_a_label_of_its_own():
    assert set(MODEL_COLOURS) == set(MODELS)
    assert len(set(MODEL_COLOURS.values())) == len({label_of(model) for model in MODELS}) == len(MODELS)
    other = colour_of("another")
    assert other not in MODEL_COLOURS.values()


def test_run_and_network():
    assert colour_of("first/unet") == colour_of("unet") != colour_of("first/nested_unet")
    assert label_of("nested_unet") == "U-Net++"
    assert label_of("first/unet") == "first · U-Net"
    assert label_of("another") == "another"


def test_contours_tell_apart_without_colour():
    assert REFERENCE["linestyles"] != PREDICTION["linestyles"]
    assert lightness(REFERENCE["colors"]) - lightness(PREDICTION["colors"]) > 20


def test_use_style_sets_what_figures_rely_on():
    use_style()
    assert plt.rcParams["image.cmap"] == "gray"
    assert plt.rcParams["figure.constrained_layout.use"] is True


def test_use_style_leaves_nothing_of_a_users_matplotlibrc():
    """LaTeX is on few machines, and where it is, an underscore in a name stops it."""
    plt.rcParams.update({"text.usetex": True, "savefig.format": "pdf", "savefig.bbox": "tight"})
    use_style()
    assert plt.rcParams["text.usetex"] is False
    assert (plt.rcParams["savefig.format"], plt.rcParams["savefig.bbox"]) == ("png", None)


def test_axes_or_new():
    ax = plt.subplots()[1]
    assert axes_or_new(ax) is ax
    new = axes_or_new(None, (3, 2))
    assert new is not ax and new.figure.get_size_inches().tolist() == [3, 2]


def test_outline_follows_the_border():
    ax = plt.subplots()[1]
    mask = np.zeros((8, 9), bool)
    mask[2:5, 3:7] = True
    outline(ax, mask, REFERENCE)
    (contour,) = ax.collections
    (path,) = contour.get_paths()
    # half way between the pixels inside and outside, x along columns
    assert path.vertices.min(axis=0).tolist() == [2.5, 1.5]
    assert path.vertices.max(axis=0).tolist() == [6.5, 4.5]
    assert len(contour.get_path_effects()) == 2


def test_outline_of_nothing():
    ax = plt.subplots()[1]
    outline(ax, np.zeros((8, 8), bool), REFERENCE)
    assert len(ax.collections) == 0


def test_picture():
    use_style()
    ax = plt.subplots()[1]
    assert picture(ax, np.array([[0, 50], [100, 20]], np.uint8), "title") is ax
    assert ax.images[0].get_clim() == (0, 100)
    assert ax.images[0].get_cmap().name == "gray"
    assert ax.get_title(loc="left") == "title" and not ax.axison
    picture(ax, np.zeros((2, 2)), upper=1)
    assert ax.images[1].get_clim() == (0, 1)


@pytest.mark.parametrize("many", [False, True])
def test_save_figure_writes_and_closes(tmp_path, many):
    axes = plt.subplots(2, 2, figsize=(2, 1))[1] if many else plt.subplots(figsize=(2, 1))[1]
    number = np.ravel(axes)[0].figure.number
    path = tmp_path / "new" / "figure.png"
    assert save_figure(axes, path) == path
    height, width = matplotlib.image.imread(path).shape[:2]
    assert width == pytest.approx(2 * height, abs=2)
    assert [each.name for each in path.parent.iterdir()] == ["figure.png"]
    assert not plt.fignum_exists(number)


def test_save_figure_keeps_the_old_one_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    ax = plt.subplots()[1]

    def fail(partial, **_):
        partial.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ax.figure, "savefig", fail)
    with pytest.raises(MetsegError, match="No space left on device"):
        save_figure(ax, path)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("figure.png", b"old")]
