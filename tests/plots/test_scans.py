"""What is drawn of slices: pictures, contours only where there is something, titles and limits."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.contour import ContourSet

from metseg.data.volume import CHANNELS, Case, Labels, Volume
from metseg.plots import scans
from metseg.plots.style import PREDICTION, REFERENCE, use_style

pytestmark = pytest.mark.usefixtures("never_saved")


@pytest.fixture(autouse=True)
def _style():
    use_style()


def mask_of(*shape: int, side: int = 3) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[..., 2 : 2 + side, 2 : 2 + side] = True
    return mask


def case_of(patient_id: str = "P_1") -> Case:
    """Three slices of 12 by 10; the second one holds most lesion. Channel c of slice z is 10 z + c + 1."""
    image = np.zeros((3, 12, 10, 3), np.uint8) + 10 * np.arange(3).reshape(3, 1, 1, 1) + np.arange(1, 4)
    mask = np.zeros((3, 12, 10), bool)
    mask[1, 2:6, 2:6] = True
    mask[2, 2:4, 2:4] = True
    return Case(Volume.of_slices(image.astype(np.uint8)), Labels.of_mask(mask), f"{patient_id}_1", patient_id)


def contours(ax) -> list[ContourSet]:
    return [each for each in ax.collections if isinstance(each, ContourSet)]


def styles(ax) -> list[str]:
    return ["solid" if c.get_linestyle()[0][1] is None else "dashed" for c in contours(ax)]


def title(ax) -> str:
    return ax.get_title(loc="left")


def render(axes) -> None:
    np.ravel(axes)[0].figure.canvas.draw()


def test_cases():
    empty = case_of("P_2")
    empty.mask[:] = False
    axes = scans.plot_cases([case_of(), empty])
    assert axes.shape == (2, 3)
    assert [title(ax) for ax in axes[0]] == list(CHANNELS)
    assert [title(ax) for ax in axes[1]] == ["", "", ""]
    # the second slice of the first case, the first slice of the one without lesion
    assert [int(ax.images[0].get_array().max()) for ax in axes.flat] == [11, 12, 13, 1, 2, 3]
    assert [len(contours(ax)) for ax in axes.flat] == [1, 1, 1, 0, 0, 0]
    assert [ax.texts[0].get_text() for ax in axes[:, 0]] == ["P_1_1", "P_2_1"]
    render(axes)


def test_cases_of_one_patient_are_told_apart():
    first, other = replace(case_of(), case_id="P_1_2024-01-15"), replace(case_of("P7"), case_id="scan_3")
    labels = [ax.texts[0].get_text() for ax in scans.plot_cases([case_of(), first, other])[:, 0]]
    assert labels == ["P_1_1", "P_1_2024-01-15", "P7\nscan_3"]


def test_lesion_load():
    table = pd.DataFrame({"lesion_px": [0, 100], "tumour_slices": [0, 5], "slices": [10, 20]})
    ax = scans.plot_lesion_load(table)
    assert ax.collections[0].get_offsets().tolist() == [[1, 0], [100, 0.25]]  # none at all is drawn at 1
    assert ax.get_xscale() == "log" and ax.get_ylim() == (0, 1.02)
    render(ax)


def test_lesion_contrast():
    case = case_of()
    case.image[:] = 100
    case.image[:, 9] = 0  # background, which is no tissue
    case.image[case.mask] = 200
    flat = np.full((1, 20, 20, 3), 100, np.uint8)
    larger = Case(Volume.of_slices(flat), Labels.of_mask(np.zeros((1, 20, 20), bool)), "P_2_1", "P_2")
    axes = scans.plot_lesion_contrast([case, larger])
    assert [title(ax) for ax in axes] == list(CHANNELS)
    for ax in axes:
        heights = [bar.get_height() * bar.get_width() for bar in ax.patches if hasattr(bar, "get_width")]
        assert sum(heights) == pytest.approx(1)  # tissue is a density, all of it in one bin
        assert np.count_nonzero(heights) == 1
    assert {t.get_text() for t in axes[-1].get_legend().get_texts()} == {"elsewhere", "lesion"}
    render(axes)


@pytest.mark.filterwarnings("error")
def test_lesion_contrast_without_lesion():
    case = case_of()
    case.mask[:] = False
    render(scans.plot_lesion_contrast([case]))


def test_threshold_curve():
    curves = {name: np.linspace(0, top, 256) for name, top in zip(CHANNELS, (0.2, 0.5, 0.3), strict=True)}
    ax = scans.plot_threshold_curve(curves)
    assert [line.get_label() for line in ax.lines] == [
        "pre-contrast: at best 0.20",
        "FLAIR: at best 0.50",
        "post-contrast: at best 0.30",
    ]
    assert len({line.get_linestyle() for line in ax.lines}) == 3
    assert all(line.get_xdata().tolist() == list(range(256)) for line in ax.lines)
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 255), (0, 1))
    render(ax)


def test_threshold_curve_without_lesion():
    curve = np.where(np.arange(256) < 9, 0.0, np.nan)
    assert scans.plot_threshold_curve({"FLAIR": curve}).lines[0].get_label() == "FLAIR: at best 0.00"


def test_clahe():
    image = np.random.default_rng(0).random((16, 16, 3))
    axes = scans.plot_clahe({0: image, 2.0: image**0.5, 4.5: image**2})
    assert axes.shape == (2, 3)
    assert [title(ax) for ax in axes[0]] == ["without CLAHE", "clip limit 2", "clip limit 4.5"]
    np.testing.assert_array_equal(axes[0, 1].images[0].get_array(), image[..., 1] ** 0.5)
    assert {ax.images[0].get_clim() for ax in axes[0]} == {(0, 1)}
    assert {(ax.get_xlim(), len(ax.patches)) for ax in axes[1]} == {((0, 1), 40)}


def test_noise_gain():
    ax = scans.plot_noise_gain([0, 2, 4], [1, 1.5, 1.4], [1, 1.2, 2])
    lesion, noise, one = ax.lines
    assert lesion.get_xydata().tolist() == [[0, 1], [2, 1.5], [4, 1.4]]
    assert noise.get_ydata().tolist() == [1, 1.2, 2]
    assert set(one.get_ydata()) == {1}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "lesion contrast",
        "noise in even tissue",
    ]
    render(ax)


def test_pairs():
    image = np.full((10, 10, 3), 0.5, np.float32)
    pairs = [(image, mask_of(10, 10)), (image, np.zeros((10, 10), bool)), (image, mask_of(10, 10))]
    axes = scans.plot_pairs(pairs, columns=2)
    assert axes.shape == (2, 2)
    assert [len(ax.images) for ax in axes.flat] == [1, 1, 1, 0]
    assert [len(contours(ax)) for ax in axes.flat] == [1, 0, 1, 0]
    assert [title(ax) for ax in axes.flat] == ["original", "", "", ""]
    assert not any(ax.axison for ax in axes.flat)
    render(axes)


def test_predictions():
    image = np.zeros((10, 10, 3), np.uint8)
    image[..., 1] = 80
    lesion, nothing = mask_of(10, 10), np.zeros((10, 10), bool)
    examples = {
        "both": (image, lesion, np.roll(lesion, 1, axis=0)),
        "missed": (image, lesion, nothing),
        "false alarm": (image, nothing, lesion),
        "healthy": (image, nothing, nothing),
    }
    axes = scans.plot_predictions(examples, columns=3)
    assert axes.shape == (2, 3)
    assert [title(ax) for ax in axes.flat] == [*examples, "", ""]
    assert [styles(ax) for ax in axes.flat] == [["solid", "dashed"], ["solid"], ["dashed"], [], [], []]
    assert all((ax.images[0].get_array() == 80).all() for ax in axes.flat[:4])  # FLAIR
    (legend,) = axes[0, 0].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["reference", "prediction"]
    assert [line.get_color() for line in legend.get_lines()] == [REFERENCE["colors"], PREDICTION["colors"]]
    render(axes)


def test_gates():
    image, gates = np.full((16, 16, 3), 128, np.uint8), [np.full((16, 16), 0.2), np.eye(16)]
    axes = scans.plot_gates(image, mask_of(16, 16), gates)
    assert [len(contours(ax)) for ax in axes] == [1, 0, 0]
    assert {ax.images[0].get_clim() for ax in axes[1:]} == {(0, 1)}
    assert axes[0].figure.axes[-1].get_ylabel() == "coefficient α"
    render(axes)


def test_axes_given_are_the_axes_used():
    table = pd.DataFrame({"lesion_px": [5], "tumour_slices": [1], "slices": [2]})
    calls = [
        lambda ax: scans.plot_lesion_load(table, ax=ax),
        lambda ax: scans.plot_threshold_curve({"FLAIR": np.zeros(256)}, ax=ax),
        lambda ax: scans.plot_noise_gain([0, 1], [1, 2], [1, 3], ax=ax),
    ]
    for ax, call in zip(plt.subplots(1, len(calls))[1], calls, strict=True):
        assert call(ax) is ax and ax.has_data()
    assert len(plt.get_fignums()) == 1
