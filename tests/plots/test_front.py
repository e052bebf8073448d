"""The figure of cost against worth."""

import matplotlib.pyplot as plt
import pandas as pd

from metseg.plots.front import plot_pareto


def test_names_every_variant_and_the_default():
    rows = [("fp32", "fp32", 9.0, 1.0, 0.80, True, False), ("int8", "int8", 3.0, 0.3, 0.79, True, True)]
    columns = ["variant", "precision", "ms_per_slice", "mb", "dice", "on_front", "default"]
    ax = plot_pareto(pd.DataFrame(rows, columns=columns), model="unet")
    assert [text.get_text() for text in ax.texts] == ["fp32", "int8 (default)"]
    front, *keys = ax.lines
    assert len(keys) == 2  # one a precision
    assert front.get_xydata().tolist() == [[3.0, 0.79], [9.0, 0.80]]
    given = plt.subplots()[1]
    assert plot_pareto(pd.DataFrame(rows, columns=columns), model="unet", ax=given) is given
    plt.close("all")
